// Package schema brings what a store holds to the form that this panel reads, or refuses it.
//
// The version is at meta/schema. Each step of a migration is a function that may be repeated: it runs
// while this panel leads under the name "schema", and the new version is committed after it, with the
// leader's condition, so that a panel that dies in the middle leaves a step to be done again, and two
// panels that start together do it once.
//
// What it keeps: a panel never works on a store that is newer than it, that is being migrated by
// another one, or whose restore was cut.
//
// Rejected: going back. A panel that is to be older again gets the backup that was made before.
package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"slipstream/adminpanel/store"
)

const (
	// Key is where the version is.
	Key = "meta/schema"
	// KeyRestoring is there while a store is being restored, and after a restore that was cut.
	KeyRestoring = "meta/restoring"
)

// Current is the version that this panel writes.
var Current = len(steps)

// steps lead from each version to the next.
var steps = []Step{
	func(context.Context, store.Store) error { return nil }, // 1: the first
}

// Step brings a store from one version to the next. It may be cut at any commit and run again.
type Step func(ctx context.Context, s store.Store) error

// Errors that callers tell apart.
var (
	ErrNewer     = errors.New("the store was written by a newer panel: start that one, or restore the backup that was made before")
	ErrRestoring = errors.New("a restore into this store was cut: make an empty one and restore again")
)

// State is what meta/schema says.
type State struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"` // since when
}

// Read returns a store's version; 0 is one that no panel has worked on.
func Read(ctx context.Context, s store.Store) (State, int64, error) {
	item, err := s.Get(ctx, Key)
	if errors.Is(err, store.ErrNotFound) {
		return State{}, 0, nil
	}
	if err != nil {
		return State{}, 0, err
	}
	var state State
	if err := json.Unmarshal(item.Value, &state); err != nil || state.Version < 1 {
		return State{}, 0, fmt.Errorf("%s does not say a version: %q", Key, item.Value)
	}
	return state, item.Rev, nil
}

// Prepare brings a store to [Current]. A panel calls it before anything else.
func Prepare(ctx context.Context, s store.Store) error { return Migrate(ctx, s, steps) }

// Migrate is [Prepare] with steps of the caller's.
func Migrate(ctx context.Context, s store.Store, steps []Step) error {
	done, err := look(ctx, s, len(steps))
	if done || err != nil {
		return err
	}
	term, err := s.Lead(ctx, "schema")
	if err != nil {
		return fmt.Errorf("migrate the store: %w", err)
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = term.Resign(last) // it ends with the store in any case
	}()
	for {
		// Another panel may have done it while this one waited.
		if done, err := look(ctx, s, len(steps)); done || err != nil {
			return err
		}
		if err := step(ctx, s, term, steps); err != nil {
			return err
		}
	}
}

func look(ctx context.Context, s store.Store, newest int) (done bool, err error) {
	if _, err := s.Get(ctx, KeyRestoring); !errors.Is(err, store.ErrNotFound) {
		return false, errors.Join(ErrRestoring, err)
	}
	state, _, err := Read(ctx, s)
	if err == nil && state.Version > newest {
		err = fmt.Errorf("%w (version %d; this one knows %d)", ErrNewer, state.Version, newest)
	}
	return state.Version == newest, err
}

func step(ctx context.Context, s store.Store, term store.Term, steps []Step) error {
	state, rev, err := Read(ctx, s)
	if err != nil {
		return err
	}
	if err := steps[state.Version](ctx, s); err != nil {
		return fmt.Errorf("migrate the store to version %d: %w", state.Version+1, err)
	}
	value, err := json.Marshal(State{Version: state.Version + 1, At: time.Now().UTC()})
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, []store.Cond{term.Cond(), {Key: Key, Rev: rev}}, []store.Op{{Key: Key, Value: value}})
	if errors.Is(err, store.ErrConflict) {
		select {
		case <-term.Lost():
			return fmt.Errorf("migrate the store: another panel leads now: %w", err)
		default:
			return nil // look again
		}
	}
	return err
}

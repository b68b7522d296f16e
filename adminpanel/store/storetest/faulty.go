package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"slipstream/adminpanel/store"
)

// Faulty is a store in which others seem to be at work all the time: commits conflict and
// watches end at random, by a seed.
type Faulty struct {
	store.Store

	mu        sync.Mutex
	random    *rand.Rand
	conflicts float64
	losses    float64
	faults    int
}

// NewFaulty makes a share of commits conflict that would not, and a share of events
// the last of their watch, which the reader does not get.
func NewFaulty(s store.Store, seed uint64, conflicts, losses float64) *Faulty {
	return &Faulty{Store: s, random: rand.New(rand.NewPCG(seed, 1)), conflicts: conflicts, losses: losses} //nolint:gosec // it has to be repeatable
}

func (f *Faulty) hits(share float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	hit := f.random.Float64() < share
	if hit {
		f.faults++
	}
	return hit
}

// Faults is how many there were.
func (f *Faulty) Faults() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// Commit implements [store.Store].
func (f *Faulty) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	if len(ifs) > 0 && f.hits(f.conflicts) {
		return 0, fmt.Errorf("%w: at random", store.ErrConflict)
	}
	return f.Store.Commit(ctx, ifs, ops)
}

// Watch implements [store.Store].
func (f *Faulty) Watch(ctx context.Context, prefix string, after int64) (<-chan store.Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := f.Store.Watch(ctx, prefix, after)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan store.Event)
	go func() {
		defer close(out)
		defer cancel()
		for e := range events {
			if f.hits(f.losses) {
				return
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

package adminpanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/etcd"
)

const (
	// nameTimeout is how long a panel waits for its name: that of one that was killed is
	// free when its lease has run out.
	nameTimeout = 3 * etcd.LeaseTTL
	// namePause is between two tries to get a name back.
	namePause = time.Second
	// resignTimeout is for the last word to a store.
	resignTimeout = 5 * time.Second
)

// ErrNameTaken is returned when another panel on the same store goes by the same name.
var ErrNameTaken = errors.New("another panel on this store has this name")

// name is what a panel is called among those on its store. Two of the same name would take
// each other's devices for their own, so that one has it at a time, by a lease.
type name struct {
	store store.Store
	text  string
	log   *slog.Logger

	mu   sync.Mutex // guards term
	term store.Term // nil: it has none
}

// claim waits for the name as long as one that was killed might have it.
func (n *name) claim(ctx context.Context) error {
	lead := "panel/" + n.text
	key := "lead/" + lead
	limited, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	if _, err := n.store.Get(limited, key); err == nil {
		n.log.Info("a panel of this name runs, or was killed: waiting for the end of its lease", "panel", n.text, "at_most", nameTimeout)
	}
	term, err := n.store.Lead(limited, lead)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.term = term
		return nil
	}
	if held, failed := n.store.Get(ctx, key); failed == nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %q runs on %s. Give each panel a name of its own: panel = \"…\" in its configuration", ErrNameTaken, n.text, held.Value)
	}
	return fmt.Errorf("claim the panel's name: %w", err)
}

// keep has the name until ctx ends, and gets it back when its lease has run out, as it does
// while the store is out of reach. It fails if another panel has taken it meanwhile.
func (n *name) keep(ctx context.Context) error {
	for {
		n.mu.Lock()
		term := n.term
		n.mu.Unlock()
		select {
		case <-term.Lost():
		case <-ctx.Done():
			return nil
		}
		for {
			err := n.claim(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			if errors.Is(err, ErrNameTaken) {
				return err
			}
			n.log.Warn("the panel's name is not held; trying again", "panel", n.text, "cause", err)
			select {
			case <-time.After(namePause):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// resign frees the name for the panel's successor.
func (n *name) resign() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.term == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resignTimeout)
	defer cancel()
	if err := n.term.Resign(ctx); err != nil {
		n.log.Debug("the name's lease had ended already", "cause", err)
	}
}

package adminpanel

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"

	"slipstream/adminpanel/store/bolt"
)

// A panel whose lease has run out gets its name back, or ends if another one has it.
func TestALostName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		named := func() *name { return &name{store: s, text: "one", log: slog.New(slog.DiscardHandler)} }
		one, twin := named(), named()
		ctx, stop := context.WithCancel(t.Context())
		kept := make(chan error, 1)
		if err := one.claim(ctx); err != nil {
			t.Fatal(err)
		}
		go func() { kept <- one.keep(ctx) }()
		old := one.term
		if err := old.Resign(ctx); err != nil { // as if its lease had ended
			t.Fatal(err)
		}
		synctest.Wait()
		if one.term == old {
			t.Fatal("it has not got its name back")
		}
		stop()
		if err := <-kept; err != nil {
			t.Errorf("it ended with %v", err)
		}

		one.resign()
		if err := twin.claim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := one.keep(t.Context()); !errors.Is(err, ErrNameTaken) {
			t.Errorf("it goes on without its name: %v", err)
		}
	})
}

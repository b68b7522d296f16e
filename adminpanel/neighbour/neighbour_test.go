package neighbour_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/neighbour"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/agent/wire"
)

// panelOn is one panel of those on a store, with no device of its own; all are at another one.
func panelOn(s store.Store, name, other string) *neighbour.Panels {
	log := slog.New(slog.DiscardHandler)
	return neighbour.New(neighbour.Config{
		Store: s, Hub: hub.New(hub.Config{}, log), Panel: name, Log: log,
		At: func(string) (string, bool) { return other, other != "" },
	})
}

// runs has a panel answer until the test ends, or somebody ends it.
func runs(t *testing.T, p *neighbour.Panels) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	end = sync.OnceFunc(func() { cancel(); owned.Wait() })
	t.Cleanup(end)
	return end
}

func left(t *testing.T, s store.Store) []store.Item {
	t.Helper()
	page, err := s.Scan(t.Context(), "far/", store.PrefixEnd("far/"), 100)
	if err != nil {
		t.Fatal(err)
	}
	return page.Items
}

var history = wire.Ask{History: &wire.History{Max: 1}}

func TestErrorsTravel(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	one := panelOn(s, "one", "two")
	runs(t, panelOn(s, "two", "one"))
	if _, err := one.Ask(t.Context(), "cam-1", history); !errors.Is(err, hub.ErrOffline) {
		t.Errorf("of a device that has just gone there: %v", err)
	}
	if _, err := one.Ask(t.Context(), "cam-1", wire.Ask{Leg: &wire.Leg{}}); !errors.Is(err, neighbour.ErrElsewhere) {
		t.Errorf("pictures through this panel: %v", err)
	}
	if status, _ := one.Status(t.Context(), "cam-1"); status != nil {
		t.Errorf("the status is %+v", status)
	}
	if _, err := panelOn(s, "alone", "").Ask(t.Context(), "cam-1", history); !errors.Is(err, hub.ErrOffline) {
		t.Errorf("without another panel: %v", err)
	}
	if items := left(t, s); len(items) > 0 {
		t.Errorf("left in the store: %v", items)
	}
}

// A panel that does not answer costs the time that the asker has, and leaves nothing.
func TestAPanelThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	one := panelOn(s, "one", "two")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := one.Ask(ctx, "cam-1", history); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it is %v", err)
	}
	if items := left(t, s); len(items) > 0 {
		t.Errorf("left in the store: %v", items)
	}
}

// Who has asked a panel that was ended hears of it from the next one of that name, which does
// not do it.
func TestAsksOfBeforeAreDropped(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	events, err := s.Watch(t.Context(), "far/two/", 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := panelOn(s, "one", "two").Ask(context.Background(), "cam-1", history)
		asked <- err
	}()
	<-events // it is in the store
	runs(t, panelOn(s, "two", "one"))
	if err := <-asked; !errors.Is(err, hub.ErrLost) {
		t.Errorf("it is told %v", err)
	}
	if items := left(t, s); len(items) > 0 {
		t.Errorf("left in the store: %v", items)
	}
}

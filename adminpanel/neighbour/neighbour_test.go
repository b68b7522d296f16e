package neighbour_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
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

// relay is another panel's, which says what it is asked or how it is to fail.
type relay struct{ fails error }

func (r relay) Watch(_ context.Context, device, stream string, offer []byte, way live.Way) (live.Session, error) {
	if way != live.Relayed {
		return live.Session{}, errors.New("not through the panel")
	}
	return live.Session{Answer: []byte(device + " answers " + string(offer)), Name: stream + "/relay_s1_x", Tag: `"1"`}, r.fails
}

func (r relay) Tell(_ context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error) {
	return wire.WHEPTold{Status: 200, Tag: what.Match, Body: device + " " + what.Session + " " + what.Fragment}, r.fails
}

func (r relay) End(_ context.Context, _, session string) error {
	if session != "main/relay_s1_x" {
		return live.ErrNoSession
	}
	return r.fails
}

func (r relay) ICEServer(host string) (live.ICEServer, bool) {
	return live.ICEServer{URL: "turns:panel.example.com:443", Username: "host " + host, Password: "p"}, r.fails == nil
}

func TestTheRelayOfAnotherPanel(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	two := panelOn(s, "two", "")
	runs(t, two)
	far, ok := panelOn(s, "one", "two").Relay("cam-1")
	if _, there := two.Relay("cam-1"); !ok || there {
		t.Fatalf("the device is at another panel: %v, and for that one: %v", ok, there)
	}
	watch := func() (live.Session, error) {
		return far.Watch(t.Context(), "cam-1", "main", []byte("v=0"), live.Relayed)
	}
	if _, err := watch(); !errors.Is(err, neighbour.ErrNoRelay) {
		t.Errorf("a panel without a relay: %v", err)
	}
	two.Serve(relay{})
	session, err := watch()
	if err != nil || string(session.Answer) != "cam-1 answers v=0" || session.Name != "main/relay_s1_x" || session.Tag != `"1"` {
		t.Errorf("%+v, %v", session, err)
	}
	told, err := far.Tell(t.Context(), "cam-1", wire.TellWHEP{Session: session.Name, Match: session.Tag, Fragment: "a"})
	if err != nil || told != (wire.WHEPTold{Status: 200, Tag: `"1"`, Body: "cam-1 main/relay_s1_x a"}) {
		t.Errorf("%+v, %v", told, err)
	}
	if err := far.End(t.Context(), "cam-1", session.Name); err != nil {
		t.Error(err)
	}
	if err := far.End(t.Context(), "cam-1", "main/relay_s2_x"); !errors.Is(err, live.ErrNoSession) {
		t.Errorf("no session of it: %v", err)
	}
	if server, ok := far.ICEServer(t.Context(), "cam-1"); !ok || server != (live.ICEServer{URL: "turns:panel.example.com:443", Username: "host ", Password: "p"}) {
		t.Errorf("%+v, %v", server, ok)
	}
	refused := &live.Refusal{Status: 406, Sentence: "no codec"}
	for _, known := range []error{live.ErrFull, live.ErrCrowded, live.ErrBadAnswer, hub.ErrLost, refused} {
		two.Serve(relay{fails: fmt.Errorf("ask the panel's relay: %w", known)})
		_, err := watch()
		if got := (*live.Refusal)(nil); !errors.Is(err, known) && (!errors.As(err, &got) || *got != *refused) {
			t.Errorf("%v is told as %v", known, err)
		}
		if _, err := far.Tell(t.Context(), "cam-1", wire.TellWHEP{}); err == nil {
			t.Errorf("%v is not told", known)
		}
	}
	if _, ok := far.ICEServer(t.Context(), "cam-1"); ok {
		t.Error("a server that is not there")
	}
	if items := left(t, s); len(items) > 0 {
		t.Errorf("left in the store: %v", items)
	}
}

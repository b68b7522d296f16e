package hub_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

func TestMain(m *testing.M) { simtest.Main(m) }

var fleetSize = flag.Int("fleet.devices", 1000, "devices of the tests with a fleet")

// fleetPatience bounds what a whole fleet does, on a machine that is busy with others.
func fleetPatience() time.Duration {
	return 2*time.Minute + time.Duration(*fleetSize)*60*time.Millisecond
}

// TestAFleet links a fleet to one panel over HTTP/2 and TLS, and takes the panel away
// from it: by a crash, after which all devices come back at once, and by a drain.
func TestAFleet(t *testing.T) {
	t.Parallel()
	n := *fleetSize
	p := simtest.New(t, nil)
	s := simtest.Start(t, simulate.Config{Panel: p.URL, Tokens: []wire.Token{p.Token}, Devices: n, Seed: 7})
	p.UntilOnline(n, fleetPatience())
	askAll(t, p, n)

	t.Log("the panel crashes")
	p.Close()
	p.Open(nil)
	p.UntilOnline(n, fleetPatience())
	askAll(t, p, n)

	t.Log("the panel ends in good order")
	began := time.Now()
	p.Hub.Drain(time.Second)
	p.Until(n, fleetPatience(), func(d hub.Device) bool { return !d.Online })
	t.Logf("%d devices were sent away in %v", n, time.Since(began))
	p.Close()
	p.Open(nil)
	p.UntilOnline(n, fleetPatience())
	askAll(t, p, n)
	if c := s.Counts(); c.Enrolled != n || c.Stages > 0 || c.Version["1.0.0"] != n {
		t.Errorf("the devices have done what nobody asked of them: %+v", c)
	}
}

// askAll asks something of every device, of many at once, and wants each one's own answer.
func askAll(t *testing.T, p *simtest.Panel, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fleetPatience())
	defer cancel()
	var under sync.WaitGroup
	free := make(chan struct{}, 64)
	for _, d := range p.Hub.Devices() {
		free <- struct{}{}
		under.Go(func() {
			defer func() { <-free }()
			a, err := p.Hub.Ask(ctx, d.ID, wire.Ask{History: &wire.History{Max: 5}})
			var history []control.Record
			if err == nil {
				err = json.Unmarshal(a.History, &history)
			}
			if err == nil && (len(history) != 1 || history[0].To != "1.0.0") {
				err = fmt.Errorf("its history is %+v", history)
			}
			if err != nil {
				t.Errorf("%s: %v", d.ID, err)
			}
		})
	}
	under.Wait()
	if got := len(p.Hub.Devices()); got != n {
		t.Errorf("the hub knows %d devices, not %d", got, n)
	}
}

package link_test

import (
	"testing"

	"slipstream/agent/wire"
)

// A panel that is gone while TCP still hopes must be given up and called again.
// This test takes wire.SilenceLimit.
func TestASilentPanelIsGivenUp(t *testing.T) {
	t.Parallel()
	s, links := panel(t, false)
	run(t, config(t, s.URL), newDevice())
	first := accept(t, links)
	next(t, first, func(up wire.Up) bool { return up.Ping != nil })
	accept(t, links)
}

func TestAPanelThatPingsIsKept(t *testing.T) {
	t.Parallel()
	s, links := panel(t, false)
	run(t, config(t, s.URL), newDevice())
	end := accept(t, links)
	// The device's own pings are the clock of this test.
	for range wire.SilenceLimit/wire.PingEvery + 1 {
		if err := end.down.Write(wire.Down{Ping: &wire.Ping{}}); err != nil {
			t.Fatal(err)
		}
		next(t, end, func(up wire.Up) bool { return up.Ping != nil })
	}
	select {
	case <-links:
		t.Error("the device called again although the panel pinged")
	default:
	}
}

package link_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"slipstream/agent/wire"
)

// A panel that is gone while TCP still hopes must be given up and called again,
// by a new connection: a network that swallows all that is sent on the old one (a
// NAT that was started anew) must not keep the device away.
// This test takes wire.SilenceLimit.
func TestASilentPanelIsGivenUp(t *testing.T) {
	t.Parallel()
	silent, silentLinks := panel(t)
	run(t, enrolled(t, silent), newDevice())
	cut, cutLinks := panel(t)
	var swallow atomic.Bool
	run(t, enrolledAt(t, cut, "https://"+network(t, strings.TrimPrefix(cut.URL, "https://"), &swallow)), newDevice())
	next(t, accept(t, cutLinks), phaseIs("idle"))
	swallow.Store(true)
	next(t, accept(t, silentLinks), func(up wire.Up) bool { return up.Ping != nil })
	accept(t, silentLinks)
	accept(t, cutLinks)
}

func TestAPanelThatPingsIsKept(t *testing.T) {
	t.Parallel()
	s, links := panel(t)
	run(t, enrolled(t, s), newDevice())
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

// network carries connections to addr. When swallow is set the first of them after
// the enrolment's stays open and carries nothing any more.
func network(t *testing.T, addr string, swallow *atomic.Bool) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	carry := func(to io.Writer, from net.Conn, first bool) {
		buf := make([]byte, 4<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if !first || !swallow.Load() {
				to.Write(buf[:n])
			}
		}
	}
	go func() {
		for n := 0; ; n++ {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				near.Close()
				return
			}
			t.Cleanup(func() { near.Close(); far.Close() })
			go carry(far, near, n == 1)
			go carry(near, far, n == 1)
		}
	}()
	return listener.Addr().String()
}

package gateway

import (
	"runtime"
	"testing"
	"time"
	"weak"
)

// A viewer whom the forwarder has leaves nothing of WebRTC's library behind: it is
// most of the memory that a session takes, and a viewer stays for hours.
func TestReleasedPeerIsForgotten(t *testing.T) {
	p := newTestPeers(t)
	o, err := parseOffer([]byte(chromiumOffer))
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := p.answer(t.Context(), o, []pick{h264Pick(t, o)})
	if err != nil {
		t.Fatal(err)
	}
	connection := weak.Make(v.pc)
	v.release()
	for deadline := time.Now().Add(time.Minute); connection.Value() != nil; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
		runtime.GC()
	}
	v.close() // as the session's end does
	if _, known := p.port.link(v.link.own().ufrag); known {
		t.Error("the port still knows the viewer")
	}
}

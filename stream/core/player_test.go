package core_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// steadyPlayers is a device whose permanent version plays, and its gateway.
func steadyPlayers(t *testing.T) (*world, *gateway) {
	t.Helper()
	w := newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 250)}, Permanent: "a-1"})
	w.camera("a-1", 'a', 20)
	g := w.gateway()
	await(t, "a source", func() bool {
		m := g.ask(handover.Request{Describe: &handover.Describe{ID: "d", Stream: "main"}})
		return m.Described != nil
	})
	return w, g
}

func (g *gateway) ended(id string) handover.Ended {
	g.t.Helper()
	for {
		if m := g.next(); m.Ended != nil && m.Ended.ID == id {
			return *m.Ended
		}
	}
}

// Both kinds of RTSP viewers through a switch and a revert: nothing is missing, and
// nothing is where it does not belong.
func TestPlayersThroughSwitchAndRevert(t *testing.T) {
	t.Parallel()
	w, g := steadyPlayers(t)
	over := map[string]*player{"tcp": g.player(playerSpec("over-tcp")), "udp": g.udpPlayer(playerSpec("over-udp"))}
	for what, p := range over {
		if got := p.replied(); got != "RTSP/1.0 200 OK CSeq 4" {
			t.Fatalf("%s: PLAY: %s", what, got)
		}
		p.until("pictures", 0, func(p picture) bool { return p.letter == 'a' && !p.key })
	}
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 250), src("b-2", 250)}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Minute)})
	b := w.camera("b-2", 'b', 20)
	w.awaitSwitch()
	for _, p := range over {
		p.untilLetter('b', 0)
	}
	b.close()
	w.awaitRevert()
	for what, p := range over {
		at := p.untilLetter('b', 0)
		back := p.untilLetter('a', at)
		p.until("more pictures", back+20, any1)
		p.unbroken()
		for i, method := range []string{"OPTIONS", "GET_PARAMETER", "SET_PARAMETER"} {
			if got, want := p.ask(method, 7+i, "Session: s1\r\n"), "RTSP/1.0 200 OK CSeq "+string(rune('7'+i)); got != want {
				t.Errorf("%s: %s: %s", what, method, got)
			}
		}
		sr := report[*rtcp.SenderReport](p)
		if sr.SSRC != p.spec.Tracks[0].SSRC {
			t.Errorf("%s: report %+v", what, sr)
		}
		if got := p.ask("TEARDOWN", 70, "Session: s1\r\n"); got != "RTSP/1.0 200 OK CSeq 70" {
			t.Errorf("%s: TEARDOWN: %s", what, got)
		}
		if e := g.ended(p.spec.ID); e.Reason != handover.EndedAsked || e.Report.Packets < 100 {
			t.Errorf("%s: ended: %+v", what, e)
		}
		<-p.done
	}
}

// What is not the forwarder's to answer is the gateway's, in order, one at a time.
func TestRequestsForTheGateway(t *testing.T) {
	t.Parallel()
	w, g := steadyPlayers(t)
	p := g.player(playerSpec("one"))
	p.replied()
	p.send("PAUSE", 10, "Session: s1\r\n")
	p.send("DESCRIBE", 11, "")
	p.send("OPTIONS", 12, "")
	m := g.next()
	if m.Asked == nil || m.Asked.ID != "one" || !strings.HasPrefix(string(m.Asked.Request), "PAUSE rtsp://camera/main RTSP/1.0\r\nCSeq: 10\r\n") {
		t.Fatalf("%+v", m)
	}
	at := p.count()
	p.until("pictures while a request waits", at+20, any1)
	if len(g.events) != 0 || len(p.replies) != 0 {
		t.Error("a request did not wait for the answer to the one before it")
	}
	g.conn.Send(handover.Request{Reply: &handover.Reply{ID: "one", Reply: []byte("RTSP/1.0 455 Method Not Valid in This State\r\nCSeq: 10\r\n\r\n")}})
	if got := p.replied(); got != "RTSP/1.0 455 Method Not Valid in This State CSeq 10" {
		t.Error(got)
	}
	if m := g.next(); m.Asked == nil || !strings.HasPrefix(string(m.Asked.Request), "DESCRIBE") {
		t.Fatalf("%+v", m)
	}

	// The gateway dies with the request: the forwarder answers for it.
	g.conn.Close()
	for _, want := range []string{"RTSP/1.0 503 Service Unavailable CSeq 11", "RTSP/1.0 200 OK CSeq 12"} {
		if got := p.replied(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if got := p.ask("PLAY", 13, "Session: s1\r\n"); got != "RTSP/1.0 503 Service Unavailable CSeq 13" {
		t.Error(got)
	}
	p.until("pictures without a gateway", p.count()+20, any1)

	// The next one is told of the viewer, and may answer and end it.
	g = w.gateway()
	if len(g.known) != 1 || g.known[0].ID != "one" || g.known[0].Kind != handover.KindRTSP || g.known[0].Stream != "main" || g.known[0].Address != p.conn.LocalAddr().String() {
		t.Errorf("known: %+v", g.known)
	}
	if m := g.ask(handover.Request{Reply: &handover.Reply{ID: "one", Reply: []byte("RTSP/1.0 200 OK\r\n\r\n")}}); !strings.Contains(m.Error, "asked nothing") {
		t.Errorf("%+v", m)
	}
	if m := g.ask(handover.Request{End: &handover.End{ID: "one"}}); m.Ended == nil || m.Ended.Reason != handover.EndedAsked {
		t.Errorf("%+v", m)
	}
	<-p.done
	p.unbroken()
}

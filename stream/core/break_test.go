package core_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// breaking declares a source that says that it breaks with the viewers of its stream.
func breaking(id, codec, profile string) orders.Source {
	s := src(id, 0)
	s.Streams[0].Codec, s.Streams[0].Profile, s.Streams[0].Breaks = codec, profile, true
	return s
}

// told is a viewer who knows what it will be sent.
func told(id, codec, profile string) handover.Viewer {
	spec := newSpec(id, handover.AES128)
	spec.Tracks[0].Codec, spec.Tracks[0].Profile = codec, profile
	return spec
}

var h265SDP = sdpHead("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n")

// hevc publishes key frames of H.265 until the test ends.
func (w *world) hevc(id string) {
	w.t.Helper()
	l := w.publish(id, "main", h265SDP, 96)
	quit, done := make(chan struct{}), make(chan struct{})
	w.t.Cleanup(func() { close(quit); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(frameTime)
		defer tick.Stop()
		for n := uint32(0); ; n++ {
			select {
			case <-quit:
				return
			case <-l.conn.Done():
				return
			case <-tick.C:
			}
			pkt := []byte{0x80, 0x80 | 96, byte(n >> 8), byte(n), 0, byte(n >> 4), byte(n << 4), 0, 1, 2, 3, 4, 0x26, 1, 0xaf}
			if l.conn.WriteRTP(pkt) != nil {
				return
			}
		}
	}()
}

// blind hands over a viewer that looks at nothing.
func (g *gateway) blind(spec handover.Viewer) {
	g.t.Helper()
	_, far := connected(g.t)
	if m := g.ask(handover.Request{Viewer: &spec}, far); m.Taken != spec.ID {
		g.t.Fatalf("a viewer of the trial: %+v", m)
	}
}

// A version that declares a break may send another codec. Viewers are closed with the
// reason, come back to the new one, and are closed again when it is reverted.
func TestDeclaredBreakOfTheCodec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := src("a-1", 0), breaking("b-2", orders.H265, "")
	w.order(orders.Orders{Sources: []orders.Source{a}, Permanent: "a-1"})
	w.camera("a-1", 'A', 10)
	v := w.viewer()
	v.untilLetter('A', 0)
	g := w.gateway()
	p := g.peer(newSpec("untold", handover.AES128))
	p.until("a picture", 1, any1)
	players := []*player{g.player(playerSpec("rtsp")), g.udpPlayer(playerSpec("rtsp-udp"))}
	for _, p := range players {
		p.until("a picture", 1, any1)
	}
	w.order(orders.Orders{Sources: []orders.Source{a, b}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	w.hevc("b-2")
	if s := w.awaitSwitch(); s.Streams[0].Viewers != 0 || s.Streams[0].Closed != 4 {
		t.Errorf("the switch: %+v", s.Streams)
	}
	const why = "the version that runs now sends stream main as H265 and not H264; play again"
	for range 3 {
		m := g.next()
		if e := m.Ended; e == nil || e.Reason != handover.EndedStream || e.Detail != why {
			t.Errorf("the end of a viewer: %+v", m)
		}
	}
	select {
	case bye := <-p.byes:
		if bye.Reason != why || len(bye.Sources) != 1 || bye.Sources[0] != p.spec.Tracks[0].SSRC {
			t.Errorf("the WebRTC viewer was told %+v", bye)
		}
	case <-time.After(patience):
		t.Error("the WebRTC viewer was not told")
	}
	for _, p := range players {
		if bye := report[*rtcp.Goodbye](p); bye.Reason != why || bye.Sources[0] != p.spec.Tracks[0].SSRC {
			t.Errorf("an RTSP viewer was told %+v", bye)
		}
	}
	<-v.done
	if d := g.ask(handover.Request{Describe: &handover.Describe{ID: "what", Stream: "main"}}).Described; d == nil || d.Streams[0].Codec != orders.H265 {
		t.Errorf("the stream is described as %+v", d)
	}
	late := told("late", orders.H264, "")
	_, far := connected(t)
	if m := g.ask(handover.Request{Viewer: &late}, far); !strings.Contains(m.Error, "as H265 and not H264") {
		t.Errorf("one who was told of H.264: %+v", m)
	}
	g.blind(told("now", orders.H265, ""))
	w.ask(orders.Request{Revert: &orders.Revert{Trial: "t1", Reason: "operator"}})
	if e := g.ended("now"); e.Reason != handover.EndedStream || !strings.Contains(e.Detail, "as H264 and not H265") {
		t.Errorf("at the revert: %+v", e)
	}
	w.viewer().untilLetter('A', 0)
}

// A greater profile closes those who have not agreed to it, and nobody else.
func TestDeclaredBreakOfTheProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := src("a-1", 0)
	a.Streams[0].Profile = "42e01f"
	secretly := breaking("c-3", orders.H264, "64001f")
	secretly.Streams[0].Breaks = false
	all := []orders.Source{a, breaking("b-2", orders.H264, "64001f"), secretly}
	w.order(orders.Orders{Sources: all, Permanent: "a-1"})
	w.camera("a-1", 'A', 10)
	v := w.viewer()
	v.untilLetter('A', 0)
	var refused *publish.RefusedError
	if _, err := publish.Dial(filepath.Join(w.run, "pub", "c-3.sock"), "main", h264SDP); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "app.breaks") {
		t.Errorf("an undeclared break: %v", err)
	}
	g := w.gateway()
	low, high := g.peer(told("low", orders.H264, "42e01f")), g.peer(told("high", orders.H264, "640028"))
	low.untilLetter('A', 0)
	high.untilLetter('A', 0)
	w.order(orders.Orders{Sources: all, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	w.camera("b-2", 'B', 10)
	if s := w.awaitSwitch(); s.Streams[0].Viewers != 1 || s.Streams[0].Closed != 2 {
		t.Errorf("the switch: %+v", s.Streams)
	}
	if e := g.ended("low"); e.Reason != handover.EndedStream || !strings.Contains(e.Detail, "profile-level-id 64001f") {
		t.Errorf("the end of a viewer: %+v", e)
	}
	<-v.done
	at := high.untilLetter('B', 0)
	w.ask(orders.Request{Revert: &orders.Revert{Trial: "t1", Reason: "operator"}})
	high.untilLetter('A', at)
	high.unbroken()
}

// A crash ends the trial, and with it those who watch what only the trial sends.
func TestForwarderThatCrashesOnABreak(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	o, _ := a.watched(handover.AES128)
	a.order(orders.Orders{Sources: append(o.Sources, breaking("b-2", orders.H265, "")), Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	a.hevc("b-2")
	a.awaitSwitch()
	g := a.gateway()
	g.blind(told("new", orders.H265, ""))
	a.now.kill()
	a.begin()
	if known := a.gateway().known; len(known) != 0 {
		t.Errorf("viewers of the version that does not run: %+v", known)
	}
	v := a.viewer()
	v.untilLetter('a', 0)
	a.order(o) // without the version that broke, nobody loses anything
	v.untilLetter('a', v.count())
}

// A version that broke and became permanent binds those after it.
func TestBreakThatBecomesPermanent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := src("a-1", 0), breaking("b-2", orders.H265, "")
	w.order(orders.Orders{Sources: []orders.Source{a}, Permanent: "a-1"})
	w.camera("a-1", 'A', 10)
	w.viewer().untilLetter('A', 0)
	w.order(orders.Orders{Sources: []orders.Source{a, b}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	w.hevc("b-2")
	w.awaitSwitch()
	g := w.gateway()
	g.blind(told("new", orders.H265, ""))
	w.ask(orders.Request{Settle: &orders.Settle{Trial: "t1", Source: "b-2"}})
	plain, old := src("c-3", 0), src("d-4", 0)
	plain.Streams[0].Codec = orders.H265
	w.order(orders.Orders{Sources: []orders.Source{b, plain, old}, Permanent: "b-2"})
	w.publish("c-3", "main", h265SDP, 96)
	var refused *publish.RefusedError
	if _, err := publish.Dial(filepath.Join(w.run, "pub", "d-4.sock"), "main", h264SDP); !errors.As(err, &refused) {
		t.Errorf("H.264 beside H.265: %v", err)
	}
	if s := w.status(); s.Streams[0].Viewers != 1 {
		t.Errorf("status: %+v", s.Streams)
	}
}

package core_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
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
		if e := g.ended(p.spec.ID); e.Reason != handover.EndedAsked || e.Report.Packets == 0 {
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

// However a viewer goes, the gateway is told why, and others play on.
func TestPlayersEnd(t *testing.T) {
	t.Parallel()
	w, g := steadyPlayers(t)
	stays := g.player(playerSpec("stays"))
	bye, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9}, &rtcp.Goodbye{Sources: []uint32{9}}})
	if err != nil {
		t.Fatal(err)
	}
	short := func(id string) handover.Player {
		spec := playerSpec(id)
		spec.TimeoutMS = 1000
		return spec
	}
	for _, row := range []struct {
		what, reason string
		make         func(handover.Player) *player
		do           func(*player)
		spec         handover.Player
	}{
		{"rubbish", handover.EndedBroken, g.player, func(p *player) { p.say("GET / HTTP/1.1\r\n") }, playerSpec("one")},
		{"a request that is too long", handover.EndedBroken, g.player, func(p *player) { p.send("OPTIONS", 1, "X: "+strings.Repeat("x", 5000)+"\r\n") }, playerSpec("one")},
		{"the end of the connection", handover.EndedClosed, g.player, func(p *player) { p.conn.Close() }, playerSpec("one")},
		{"goodbye", handover.EndedClosed, g.player, func(p *player) { p.say(string(append([]byte{'$', 5, 0, byte(len(bye))}, bye...))) }, playerSpec("one")},
		{"rubbish on the connection, over UDP", handover.EndedBroken, g.udpPlayer, func(p *player) { p.say("\x16\x03\x01") }, playerSpec("one")},
		{"the end of the connection, over UDP", handover.EndedClosed, g.udpPlayer, func(p *player) { p.conn.Close() }, playerSpec("one")},
		{"goodbye, over UDP", handover.EndedClosed, g.udpPlayer, func(p *player) { p.rtcp.WriteTo(bye, p.rtcpTo) }, playerSpec("one")},
		{"silence, over UDP", handover.EndedSilent, g.udpPlayer, func(*player) {}, short("one")},
		{"the gateway's word, over UDP", handover.EndedAsked, g.udpPlayer, func(p *player) {
			g.conn.Send(handover.Request{End: &handover.End{ID: "one"}})
			if b := report[*rtcp.Goodbye](p); len(b.Sources) != 1 || b.Sources[0] != p.spec.Tracks[0].SSRC {
				t.Errorf("goodbye: %+v", b)
			}
		}, playerSpec("one")},
	} {
		p := row.make(row.spec)
		p.until("a picture", 0, any1)
		row.do(p)
		if e := g.ended("one"); e.Reason != row.reason || e.Report.Packets == 0 {
			t.Errorf("%s: %+v", row.what, e)
		}
		p.unbroken()
	}
	stays.until("more pictures", stays.count()+20, any1)
	stays.unbroken()
	w.order(orders.Orders{Sources: []orders.Source{{ID: "a-1", UID: -1, Streams: []orders.Stream{{Name: "other", Codec: "h264"}}}}, Permanent: "a-1"})
	if e := g.ended("stays"); e.Reason != handover.EndedStream {
		t.Errorf("a stream that is gone: %+v", e)
	}
}

// A viewer over UDP that sends reports, or asks for something, is not silent.
func TestSignsOfLife(t *testing.T) {
	t.Parallel()
	_, g := steadyPlayers(t)
	spec := playerSpec("reports")
	spec.TimeoutMS = 1000
	reports := g.udpPlayer(spec)
	spec.ID = "asks"
	asks := g.udpPlayer(spec)
	spec.ID = "silent"
	g.udpPlayer(spec)
	rr, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: spec.Tracks[0].SSRC, TotalLost: 3}}}})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var talk sync.WaitGroup
	talk.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				reports.rtcp.WriteTo(rr, reports.rtcpTo)
				asks.conn.Write([]byte("GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
			}
		}
	})
	if e := g.ended("silent"); e.Reason != handover.EndedSilent {
		t.Errorf("%+v", e)
	}
	// The others were as long without a word, had they not spoken.
	reports.until("more pictures", reports.count()+100, any1)
	asks.until("more pictures", asks.count()+10, any1)
	close(stop)
	talk.Wait()
	g.conn.Send(handover.Request{End: &handover.End{ID: "reports"}})
	if e := g.ended("reports"); e.Reason != handover.EndedAsked || e.Report.Lost != 3 {
		t.Errorf("%+v", e)
	}
	asks.unbroken()
}

// One of fifty readers stops. It is ended in time, and no other notices.
func TestStoppedReaderAmongFifty(t *testing.T) {
	t.Parallel()
	_, g := steadyPlayers(t)
	_, server := tcpPair(t)
	server.SetWriteBuffer(64 << 10) // soon full
	spec := playerSpec("stopped")
	if m := g.askWith(handover.Request{Player: &spec}, server); m.Taken != spec.ID {
		t.Fatalf("%+v", m)
	}
	server.Close()
	var others []*player
	for i := range 49 {
		others = append(others, g.player(playerSpec(fmt.Sprintf("reads-%d", i))))
	}
	if e := g.ended("stopped"); e.Reason != handover.EndedStuck {
		t.Errorf("%+v", e)
	}
	at := others[0].count() + 20
	for _, p := range others {
		p.until("more pictures", at, any1)
		p.unbroken()
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := src("a-1", 250)
	a.Streams[0].Audio = "sound"
	a.Streams = append(a.Streams,
		orders.Stream{Name: "sound", Codec: "h264"}, // the codec does not matter here
		orders.Stream{Name: "later", Codec: "h264"})
	b := src("b-2", 250)
	b.Streams[0].Profile = "640028" // what the permanent version declares holds
	g := w.gateway()
	describe := func(stream string) handover.Message {
		t.Helper()
		m := g.ask(handover.Request{Describe: &handover.Describe{ID: "q", Stream: stream}})
		if m.ID != "q" {
			t.Errorf("an answer to somebody else: %+v", m)
		}
		return m
	}
	if m := describe("main"); m.NotFound || m.Error == "" { // before any orders
		t.Errorf("%+v", m)
	}
	w.order(orders.Orders{Sources: []orders.Source{a, b}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	if m := describe("nosuch"); !m.NotFound || m.Error == "" {
		t.Errorf("%+v", m)
	}
	if m := describe("main"); m.NotFound || m.Error == "" {
		t.Errorf("%+v", m)
	}
	w.camera("a-1", 'a', 20)
	await(t, "a source", func() bool { return describe("main").Described != nil })
	if d := describe("main").Described; len(d.Streams) != 1 || d.Streams[0].Name != "main" || d.Streams[0].Codec != "h264" || d.Streams[0].Profile != "" || d.Streams[0].SDP != string(sdpOf(spsBaseline, ppsBaseline)) {
		t.Errorf("%+v", d)
	}
	w.publisher("a-1", "sound")
	await(t, "its sound", func() bool { return len(describe("main").Described.Streams) == 2 })
	if d := describe("main").Described; d.Streams[1].Name != "sound" || d.Streams[1].SDP == "" {
		t.Errorf("%+v", d)
	}
	if m := describe("later"); m.NotFound || m.Error == "" {
		t.Errorf("%+v", m)
	}
}

// publisher publishes a stream and sends nothing on it.
func (w *world) publisher(id, stream string) {
	w.t.Helper()
	conn, err := publish.Dial(filepath.Join(w.run, "pub", id+".sock"), stream, sdpOf(spsBaseline, ppsBaseline))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
}

func TestPlayerRefusals(t *testing.T) {
	t.Parallel()
	_, g := steadyPlayers(t)
	one := g.player(playerSpec("one"))
	_, tcp := tcpPair(t)
	_, udp := connected(t)
	change := func(edit func(*handover.Player)) handover.Request {
		spec := playerSpec("two")
		edit(&spec)
		return handover.Request{Player: &spec}
	}
	overUDP := func(spec *handover.Player) { spec.UDP = true }
	second := func(t handover.Track) func(*handover.Player) {
		return func(spec *handover.Player) { spec.Tracks = append(spec.Tracks, t) }
	}
	for _, c := range []struct {
		name  string
		ask   handover.Request
		socks []filed
		want  string
	}{
		{"no connection", change(func(*handover.Player) {}), nil, "0 descriptors"},
		{"a datagram socket", change(func(*handover.Player) {}), []filed{udp}, "no stream socket"},
		{"UDP without its sockets", change(overUDP), []filed{tcp}, "1 descriptors came, not 3"},
		{"UDP over TCP", change(overUDP), []filed{tcp, tcp, tcp}, "no UDP socket"},
		{"no timeout", change(func(p *handover.Player) { p.UDP, p.TimeoutMS = true, 0 }), []filed{tcp, udp, udp}, "timeout"},
		{"no reply", change(func(p *handover.Player) { p.Reply = nil }), []filed{tcp}, "reply"},
		{"a huge reply", change(func(p *handover.Player) { p.Reply = make([]byte, 5000) }), []filed{tcp}, "reply"},
		{"more unread than a request may have", change(func(p *handover.Player) { p.Unread = make([]byte, 5000) }), []filed{tcp}, "behind it"},
		{"a session that breaks headers", change(func(p *handover.Player) { p.Session = "a\r\nb" }), []filed{tcp}, "session"},
		{"an unknown stream", change(func(p *handover.Player) { p.Tracks[0].Stream = "nosuch" }), []filed{tcp}, "no source"},
		{"no tracks", change(func(p *handover.Player) { p.Tracks = nil }), []filed{tcp}, "0 tracks"},
		{"one channel for two", change(second(handover.Track{Stream: "x", SSRC: 1, Channel: 5})), []filed{tcp}, "one channel"},
		{"one stream twice", change(second(handover.Track{Stream: "main", SSRC: 1, Channel: 8})), []filed{tcp}, "two tracks"},
		{"a channel without a next one", change(func(p *handover.Player) { p.Tracks[0].Channel = 255 }), []filed{tcp}, "channel 255"},
		{"a viewer twice", change(func(p *handover.Player) { p.ID = "one" }), []filed{tcp}, "served already"},
		{"a reply to nobody", handover.Request{Reply: &handover.Reply{ID: "two", Reply: []byte("x")}}, nil, "not known"},
		{"a reply to nothing", handover.Request{Reply: &handover.Reply{ID: "one", Reply: []byte("x")}}, nil, "asked nothing"},
		{"a move of an RTSP viewer", handover.Request{Moved: &handover.Moved{ID: "one"}}, []filed{udp}, "not known"},
	} {
		if m := g.askWith(c.ask, c.socks...); !strings.Contains(m.Error, c.want) || m.Taken != "" {
			t.Errorf("%s: %+v, want %q", c.name, m, c.want)
		}
	}
	one.until("more pictures", one.count()+10, any1)
	one.unbroken()
}

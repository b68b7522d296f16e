package core_test

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// line is a publisher that the test drives packet by packet.
type line struct {
	t    *testing.T
	conn *publish.Conn
	pt   byte
	seq  uint16
}

func (w *world) publish(id, stream string, sdp []byte, pt byte) *line {
	w.t.Helper()
	conn, err := publish.Dial(filepath.Join(w.run, "pub", id+".sock"), stream, sdp)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &line{t: w.t, conn: conn, pt: pt}
}

// send publishes one packet that ends a unit, captured now; number counts ticks.
func (l *line) send(ts uint32, payload ...byte) {
	l.t.Helper()
	pkt := []byte{0x80, 0x80 | l.pt, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
	binary.BigEndian.PutUint16(pkt[2:], l.seq)
	binary.BigEndian.PutUint32(pkt[4:], ts)
	l.seq++
	if err := l.conn.WriteClock(ts, publish.Monotonic(), publish.FramesUnknown); err != nil {
		l.t.Fatal(err)
	}
	if err := l.conn.WriteRTP(append(pkt, payload...)); err != nil {
		l.t.Fatal(err)
	}
}

// withSound declares a source with a picture and its sound.
func withSound(id, codec string, stallMS int64) orders.Source {
	s := src(id, 0)
	s.Streams[0].Audio = "mic"
	s.Streams = append(s.Streams, orders.Stream{Name: "mic", Codec: codec, StallMS: stallMS})
	return s
}

func sdpHead(medium string) []byte {
	return []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + medium)
}

var (
	opusSDP = sdpHead("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n")
	h264SDP = sdpHead("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n")
)

func aacSDP(rate, config string) []byte {
	return sdpHead("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/" + rate + "/2\r\n" +
		"a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=" + config + "\r\n")
}

// A trial whose sound is silent by design is switched to by its picture alone, once
// the sound is published at all, and sound goes with it.
func TestSilentSoundDelaysNoTrial(t *testing.T) {
	w := newWorld(t)
	a, b := withSound("a-1", orders.Opus, 0), withSound("b-2", orders.Opus, 0)
	w.order(orders.Orders{Sources: []orders.Source{a}, Permanent: "a-1"})
	w.camera("a-1", 'A', 10)
	old := w.publish("a-1", "mic", opusSDP, 97)
	old.send(0, 0xfc)
	v := w.viewer()
	v.untilLetter('A', 0)
	ear, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "mic", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	w.order(orders.Orders{Sources: []orders.Source{a, b}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Minute)})
	w.camera("b-2", 'B', 10)
	for n := v.count(); v.count() < n+30; { // three of its key frames
		v.untilLetter('A', v.count())
	}
	if s := w.status(); s.Phase != "armed" {
		t.Fatalf("%s without the sound that is declared", s.Phase)
	}
	sound := w.publish("b-2", "mic", opusSDP, 97)
	at := w.awaitSwitch()
	if len(at.Streams) != 2 || !slices.ContainsFunc(at.Streams, func(s orders.StreamSwitch) bool { return s.Name == "mic" && s.ParameterSets == "" }) {
		t.Fatalf("%+v", at)
	}
	v.untilLetter('B', 0)
	heard, _ := listen(ear)
	sound.sendUntil(heard, 960, 0xfc, 'b')
	w.ask(orders.Request{Revert: &orders.Revert{Trial: "t1", Reason: "operator"}})
	old.sendUntil(heard, 960, 0xfc, 'a')
}

// listen gives the last byte of every packet, and at the end why it ended.
func listen(conn *subscribe.Conn) (heard <-chan byte, ended <-chan error) {
	out, end := make(chan byte, 1000), make(chan error, 1)
	go func() {
		defer close(out)
		buf := make([]byte, 20<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				end <- err
				return
			}
			out <- buf[n-1]
		}
	}()
	return out, end
}

// sendUntil publishes sound in real time until a viewer hears it.
func (l *line) sendUntil(heard <-chan byte, samples uint32, payload ...byte) {
	l.t.Helper()
	timeout, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for n := uint32(1); ; {
		select {
		case last, ok := <-heard:
			if !ok {
				l.t.Fatal("the viewer was closed")
			}
			if last == payload[len(payload)-1] {
				return
			}
		case <-tick.C:
			l.send(n*samples, payload...)
			n++
		case <-timeout:
			l.t.Fatal("the viewer hears nothing of it")
		}
	}
}

// next is the last byte of the next packet.
func next(t *testing.T, conn *subscribe.Conn) byte {
	t.Helper()
	defer time.AfterFunc(patience, func() { conn.Close() }).Stop()
	buf := make([]byte, 20<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[n-1]
}

// A decoder cannot go on with AAC of another configuration: its viewers are told.
func TestSoundInAnotherForm(t *testing.T) {
	w := newWorld(t)
	mic := func(id string) orders.Source {
		return orders.Source{ID: orders.SourceID(id), UID: -1, Streams: []orders.Stream{{Name: "mic", Codec: orders.AAC}}}
	}
	w.order(orders.Orders{Sources: []orders.Source{mic("a-1"), mic("b-2"), mic("c-3")}, Permanent: "a-1"})
	frame := []byte{0, 16, 0, 16, 0x21, 0}
	w.publish("a-1", "mic", aacSDP("44100", "1210"), 97).send(0, frame...)
	ear, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "mic", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	b, c := w.publish("b-2", "mic", aacSDP("44100", "1210"), 97), w.publish("c-3", "mic", aacSDP("48000", "1190"), 97)
	b.send(0, frame...)
	c.send(0, frame...)
	w.order(orders.Orders{Sources: []orders.Source{mic("a-1"), mic("b-2"), mic("c-3")}, Permanent: "b-2"})
	heard, ended := listen(ear)
	b.sendUntil(heard, 1024, append(frame[:5:5], 'b')...)
	w.order(orders.Orders{Sources: []orders.Source{mic("a-1"), mic("b-2"), mic("c-3")}, Permanent: "c-3"})
	defer time.AfterFunc(patience, func() { ear.Close() }).Stop()
	err = <-ended
	var refused *subscribe.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "another form") {
		t.Errorf("the viewer ended with %v", err)
	}
}

// The declaration of a stream binds its codec for as long as somebody has it so.
func TestCodecOfAStreamStays(t *testing.T) {
	w := newWorld(t)
	other := src("b-2", 0)
	other.Streams[0].Codec = orders.H265
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), other}, Permanent: "a-1"})
	w.camera("a-1", 'A', 10)
	v := w.viewer()
	v.untilLetter('A', 0)
	path, sdp := filepath.Join(w.run, "pub", "b-2.sock"), h265SDP
	var refused *publish.RefusedError
	if _, err := publish.Dial(path, "main", sdp); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "give it another name") {
		t.Errorf("H.265 beside H.264: %v", err)
	}
	w.order(orders.Orders{Sources: []orders.Source{other}, Permanent: "b-2"})
	select {
	case <-v.done:
	case <-time.After(patience):
		t.Fatal("the viewer of the codec before was kept")
	}
	w.publish("b-2", "main", sdp, 96).send(0, 0x26, 1, 0xaf)
	conn, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if last := next(t, conn); last != 0xaf {
		t.Errorf("%#x", last)
	}
}

// A switch says how decoders learn of other parameter sets, and brings them.
func TestParameterSetsAtASwitch(t *testing.T) {
	otherPPS := append(slices.Clone(ppsBaseline[:len(ppsBaseline)-1]), 0x24)
	for want, b := range map[string]struct {
		sdp   []byte
		first []byte // of its packets, if it is no key frame
	}{
		orders.SetsSame:     {sdpOf(spsBaseline, ppsBaseline), nil},
		orders.SetsInjected: {sdpOf(spsBaseline, otherPPS), nil},
		orders.SetsInBand:   {h264SDP, stapA(spsBaseline, otherPPS)},
	} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t)
			sources := []orders.Source{src("a-1", 0), src("b-2", 0)}
			w.order(orders.Orders{Sources: sources, Permanent: "a-1"})
			a := w.publish("a-1", "main", sdpOf(spsBaseline, ppsBaseline), 96)
			a.send(0, 0x65, 0x98)
			conn, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for next(t, conn) != 0x98 {
			}
			w.order(orders.Orders{Sources: sources, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Minute)})
			l := w.publish("b-2", "main", b.sdp, 96)
			if b.first != nil {
				pkt := append([]byte{0x80, 96, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4}, b.first...)
				if err := l.conn.WriteRTP(pkt); err != nil {
					t.Fatal(err)
				}
			}
			l.send(0, 0x65, 0x9a)
			if s := w.awaitSwitch().Streams[0]; s.ParameterSets != want {
				t.Errorf("%+v", s)
			}
			brought := false
			for last := byte(0); last != 0x9a; {
				last = next(t, conn)
				brought = brought || last == otherPPS[len(otherPPS)-1]
			}
			if brought != (want != orders.SetsSame) {
				t.Errorf("the other set was sent: %v", brought)
			}
		})
	}
}

func stapA(nals ...[]byte) []byte {
	out := []byte{0x78}
	for _, nal := range nals {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(nal))), nal...)
	}
	return out
}

package core_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// TestPublisherRefusals gives a publisher's every mistake its own sentence, and
// disturbs nobody else.
func TestPublisherRefusals(t *testing.T) {
	w, _, v := steadyWorld(t)
	sized := src("c-3", 0)
	sized.Streams[0].Width, sized.Streams[0].Height = 640, 360
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0), sized}, Permanent: "a-1"})
	h265 := bytes.Replace(sdpOf(spsBaseline, ppsBaseline), []byte("H264"), []byte("H265"), 1)
	h265 = h265[:bytes.Index(h265, []byte("a=fmtp"))]
	two := append(sdpOf(spsBaseline, ppsBaseline), "m=audio 0 RTP/AVP 0\r\n"...)
	for _, c := range []struct {
		name, source, stream string
		sdp                  []byte
		want                 string
	}{
		{"B-frames in the SDP", "b-2", "main", sdpOf(spsReorder, ppsBaseline), "bframes=0"},
		{"another picture size", "c-3", "main", sdpOf(spsBaseline, ppsBaseline), "is 320x180, the manifest declares 640x360"},
		{"another codec", "b-2", "main", h265, "declares it as h264"},
		{"two media", "b-2", "main", two, "exactly one medium"},
		{"no SDP", "b-2", "main", []byte("hello"), "cannot be read"},
		{"a stream that is not declared", "b-2", "sub", sdpOf(spsBaseline, ppsBaseline), "not declared"},
		{"a stream that is published already", "a-1", "main", sdpOf(spsBaseline, ppsBaseline), "published already"},
		{"parameter sets beyond the limit", "b-2", "main", sdpOf(append(spsBaseline, make([]byte, 2000)...), ppsBaseline), "limit"},
	} {
		_, err := publish.Dial(filepath.Join(w.run, "pub", c.source+".sock"), c.stream, c.sdp)
		var refused *publish.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%s: %v, want a refusal with %q", c.name, err, c.want)
		}
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

func TestBrokenMediaEndsTheLineWithItsReason(t *testing.T) {
	w, _, v := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	packet := func(payload ...byte) []byte {
		return append([]byte{0x80, 0x80 | 96, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}, payload...)
	}
	for _, c := range []struct {
		name string
		send []byte
		want string
	}{
		{"a B slice", packet(0x01, 0b1_010_0000), "B-frames"},
		{"a payload structure of another mode", packet(29, 0, 0, 0, 0), "packetization"},
		{"a STAP-A that lies about its length", packet(24, 0xff, 0xff, 1), "packetization"},
		{"an empty payload", packet(), "malformed"},
		{"padding longer than the packet", append([]byte{0xa0}, packet(1, 0xff)[1:]...), "malformed"},
		{"an extension beyond the packet", append([]byte{0x90}, packet(1, 2, 0xff, 0xff, 0)[1:]...), "malformed"},
		{"a broken parameter set", packet(0x67, 0xff), "broken sequence parameter set"},
		{"a message that is none", []byte("hello"), "neither RTP"},
		{"a packet over the limit", packet(make([]byte, 3000)...), "limit"},
	} {
		conn := w.raw(t, "pub/b-2.sock")
		conn.Write(append([]byte("Smain\n"), sdpOf(spsBaseline, ppsBaseline)...))
		expect(t, conn, publish.MsgAccepted, "")
		conn.Write(c.send)
		if got := expect(t, conn, publish.MsgError, c.name); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		lost := w.await("lost", func(m orders.Message) bool { return m.Lost != nil }).Lost
		if lost.Cause != orders.CauseMedia || !strings.Contains(lost.Detail, c.want) {
			t.Errorf("%s: %+v", c.name, lost)
		}
		conn.Close()
	}
	v.unbroken()
}

// A frame without end must not eat the arena.
func TestEndlessFrameIsRefused(t *testing.T) {
	w, _, _ := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	conn, err := publish.Dial(filepath.Join(w.run, "pub", "b-2.sock"), "main", sdpOf(spsBaseline, ppsBaseline))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pkt := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0x7c, 0x05}, make([]byte, 1400)...)
	for i := range 5000 {
		binary.BigEndian.PutUint16(pkt[2:], uint16(i))
		if conn.WriteRTP(pkt) != nil {
			break
		}
	}
	select {
	case <-conn.Done():
	case <-time.After(patience):
		t.Fatal("a frame without end was taken")
	}
	if err := conn.Err(); !strings.Contains(err.Error(), "a frame of more than") {
		t.Errorf("%v", err)
	}
}

// A clock that lies is ignored: viewers' times stay near the arrival.
func TestLyingClockIsIgnored(t *testing.T) {
	w, a, v := steadyWorld(t)
	for range 5 {
		a.conn.WriteClock(a.base, publish.Monotonic()+time.Hour, 1)
		a.conn.WriteClock(a.base, 0, 1)
		v.until("another picture", v.count(), func(picture) bool { return true })
	}
	v.until("more pictures", v.count()+20, func(picture) bool { return true })
	v.unbroken()
	_ = w
}

func TestOrderRefusals(t *testing.T) {
	w, _, v := steadyWorld(t)
	a := src("a-1", 0)
	twice := src("b-2", 0)
	twice.Streams = append(twice.Streams, twice.Streams[0])
	bare := src("b-2", 0)
	bare.Streams = nil
	many := []orders.Source{}
	for _, c := range "abcdefghi" {
		many = append(many, src(string(c), 0))
	}
	pidfd := src("b-2", 0)
	pidfd.Pidfd = 1
	for name, o := range map[string]orders.Orders{
		"a path as a source's name":       {Sources: []orders.Source{src("../a", 0)}},
		"one source twice":                {Sources: []orders.Source{a, a}},
		"a stream twice":                  {Sources: []orders.Source{twice}},
		"no streams":                      {Sources: []orders.Source{bare}},
		"nine sources":                    {Sources: many},
		"a descriptor that did not come":  {Sources: []orders.Source{pidfd}},
		"a permanent source that is none": {Sources: []orders.Source{a}, Permanent: "b-2"},
		"a trial of no source":            {Sources: []orders.Source{a}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)},
		"a trial of the permanent source": {Sources: []orders.Source{a}, Permanent: "a-1", Trial: trialOf("t1", "a-1", time.Hour)},
	} {
		if r := w.ask(orders.Request{Orders: &o}); r.Result != orders.ResultError || r.Error == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, r := range map[string]orders.Request{
		"settle of an unknown source": {Settle: &orders.Settle{Trial: "t1", Source: "b-2"}},
		"a lease without end":         {Hold: &orders.Hold{Trial: "t1", LeaseMS: 1 << 40}},
		"nothing asked":               {},
	} {
		if r := w.ask(r); r.Result != orders.ResultError {
			t.Errorf("%s: %+v", name, r)
		}
	}
	garbage := w.raw(t, "orders.sock")
	garbage.Write([]byte("{"))
	if got := expect(t, garbage, '{', "what is not JSON"); !strings.Contains(got, "error") {
		t.Errorf("answer to what is not JSON: %s", got)
	}
	w.connect()
	if st := w.status(); st.Permanent != "a-1" || st.Phase != "steady" {
		t.Errorf("refused orders changed something: %+v", st)
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

func TestViewerRefusals(t *testing.T) {
	w, _, v := steadyWorld(t)
	var refused *subscribe.RefusedError
	if _, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "nosuch", nil); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	conn := w.raw(t, "viewers.sock")
	conn.Write([]byte("garbage"))
	conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 10)); n != 0 && err == nil {
		t.Errorf("%d bytes in answer to garbage", n)
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

func (w *world) raw(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: filepath.Join(w.run, socket), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// expect reads messages until one of a kind comes, past key frame requests.
func expect(t *testing.T, conn *net.UnixConn, kind byte, what string) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			t.Fatalf("%s: no message %q: %v", what, kind, err)
		}
		if buf[0] == kind {
			return string(buf[1:n])
		}
	}
}

// Orders without any source hold viewers for the source that will come.
func TestNoSourceHoldsViewers(t *testing.T) {
	w, a, v := steadyWorld(t)
	w.order(orders.Orders{})
	a.close()
	w.order(orders.Orders{Sources: []orders.Source{src("a-9", 0)}, Permanent: "a-9"})
	w.camera("a-9", 'c', 10)
	v.untilLetter('c', 0)
	v.unbrokenButHoles()
}

// A publisher that connects again and again has only so much memory.
func TestPublishingWithoutEnd(t *testing.T) {
	w, _, v := steadyWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{src("a-1", 0), src("b-2", 0)}, Permanent: "a-1"})
	var refused *publish.RefusedError
	for n := 0; refused == nil; n++ {
		conn, err := publish.Dial(filepath.Join(w.run, "pub", "b-2.sock"), "main", sdpOf(spsBaseline, ppsBaseline))
		if err == nil {
			conn.Close()
		} else if errors.As(err, &refused) && strings.Contains(refused.Reason, "published already") {
			refused = nil // its end was not seen yet
		}
		if n > 1000 {
			t.Fatal("it may go on for ever")
		}
	}
	if !strings.Contains(refused.Reason, "keep the connection") {
		t.Errorf("refused: %v", refused)
	}
	v.until("more of a", v.count()+5, func(picture) bool { return true })
	v.unbroken()
}

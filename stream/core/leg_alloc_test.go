package core

import (
	"encoding/binary"
	"testing"

	pionsrtp "github.com/pion/srtp/v2"
	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// newPipedLeg is a framed leg of allocWorld's stream over a pair of unix sockets.
func newPipedLeg(t *testing.T, c *Core) (p *peer, far int, in *pionsrtp.Context) {
	t.Helper()
	c.streams["main"].sdp = []byte("v=0")
	c.streams["main"].followed = c.sources["a-1"].lines["main"]
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	spec := handover.Viewer{
		ID: "leg", Tracks: []handover.Track{{Stream: "main", SSRC: 7, PayloadType: 102}},
		ICE: handover.ICE{LocalUfrag: "local", RemoteUfrag: "remote", LocalPwd: "a password of some length"},
	}
	s := &spec.SRTP
	s.Profile = handover.AES128
	s.LocalKey, s.LocalSalt = masterKey(s.Profile)
	s.RemoteKey, s.RemoteSalt = masterKey(s.Profile)
	if in, err = pionsrtp.CreateContext(s.LocalKey, s.LocalSalt, profiles[s.Profile]); err != nil {
		t.Fatal(err)
	}
	if p, err = c.serveLeg(&orders.Leg{Viewer: spec, Framed: true}, pair[:1], c.now()); err != nil {
		t.Fatal(err)
	}
	return p, pair[1], in
}

func TestFramedLegAllocs(t *testing.T) {
	c, l, fill := allocWorld(t)
	p, far, _ := newPipedLeg(t, c)
	sink := make([]byte, 1<<20)
	frame := func() {
		fill()
		l.ready(c, c.now())
		p.tend(c, c.now())
		unix.Read(far, sink)
		p.ready(c, c.now())
	}
	for range 200 {
		frame()
	}
	packets := p.sent()
	if n := testing.AllocsPerRun(500, frame); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if p.sent() < packets+2000 {
		t.Errorf("%d packets", p.sent()-packets)
	}
}

// Whatever is left of a packet in two pieces is kept as it is.
func TestRestOfAPacket(t *testing.T) {
	head, body := []byte("ab"), []byte("cdefg")
	for n := range len(head) + len(body) + 1 {
		var o outflow
		o.rest(head, body, n)
		if got, want := string(o.buf[o.from:o.to]), "abcdefg"[n:]; got != want {
			t.Errorf("%q of %q is left behind %d bytes", got, want, n)
		}
	}
}

// When the stream is full, packets wait; they come whole, once, and open.
func TestFullStreamOfALeg(t *testing.T) {
	c, l, fill := allocWorld(t)
	p, far, in := newPipedLeg(t, c)
	var all []byte
	buf := make([]byte, 1<<20)
	blocked := 0
	for round := range 1000 {
		fill()
		l.ready(c, c.now())
		if p.blockedAt != 0 {
			blocked++
		}
		p.tend(c, c.now())
		if n, err := unix.Read(far, buf[:1+round*7%9973]); err == nil {
			all = append(all, buf[:n]...)
		}
		if p.ready(c, c.now()); p.fd < 0 {
			t.Fatal("the leg was closed")
		}
	}
	for before := -1; before < len(all) || p.blockedAt != 0; {
		before = len(all)
		if n, err := unix.Read(far, buf); err == nil {
			all = append(all, buf[:n]...)
		}
		p.ready(c, c.now())
	}
	packets, reports := 0, 0
	var next uint16
	for {
		msg, size := nextFramed(all)
		if size == 0 {
			break
		}
		all = all[size:]
		if msg[1] == rtcpSender {
			reports++
			if _, err := in.DecryptRTCP(nil, msg, nil); err != nil {
				t.Fatal(err)
			}
			continue
		}
		plain, err := in.DecryptRTP(nil, msg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if seq := binary.BigEndian.Uint16(plain[2:]); packets > 0 && seq != next {
			t.Fatalf("packet %d instead of %d", seq, next)
		} else {
			next = seq + 1
		}
		packets++
	}
	if len(all) != 0 || packets < 200 || reports < 5 || blocked < 100 {
		t.Errorf("%d bytes left, %d packets, %d reports, %d times blocked", len(all), packets, reports, blocked)
	}
}

// FuzzFramed gives a leg whatever its far side may send.
func FuzzFramed(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent []byte) {
		msg, size := nextFramed(sent)
		if len(msg) > maxDatagram || size < 0 || size > 0 && msg != nil && (size != lengthPrefix+len(msg) || size > len(sent)) {
			t.Fatalf("%d bytes of %d", len(msg), size)
		}
	})
}

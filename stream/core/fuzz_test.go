package core

import (
	"testing"

	"slipstream/stream/orders"
)

// FuzzPacket gives a line whatever an app may send: it must be taken or refused,
// and what viewers could be shown must lie inside the arena.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x65, 0x98}, []byte{0x80, 0x60, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4, 24, 0, 1, 0x67})
	f.Add([]byte{0xb1, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 28, 0x85, 0x98, 2}, []byte{'C'})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := &Core{poll: &poller{}}
		l := bareLine(1)
		l.params.sets[setSPS].n, l.params.sets[setPPS].n = 2, 2
		for range 3 {
			for _, msg := range [][]byte{first, second} {
				buf := l.arena.space()
				if n := copy(buf, msg); n == 0 || l.take(c, buf[:n]) != "" {
					return
				}
			}
		}
		a := l.arena
		for n := a.unitTail; n < a.unitHead; n++ {
			for p := range uint64(a.unit(n).count) {
				if got := a.bytes(a.unit(n).first + p); len(got) < rtpHeader || got[0]>>6 != 2 {
					t.Fatalf("unit %d has a packet that is not RTP", n)
				}
			}
		}
	})
}

// FuzzDescribe gives a line any SDP.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"))
	f.Fuzz(func(t *testing.T, sdp []byte) {
		l := bareLine(1)
		if l.describe(sdp) == nil && len(l.sdp) != int(l.memory.data.sdp.n) {
			t.Fatal("an SDP over the limit was taken")
		}
	})
}

// FuzzOrders gives the core any request.
func FuzzOrders(f *testing.F) {
	f.Add("a-1", "main", int64(250), "a-1", "t1", "b-2")
	f.Add("..", "", int64(-1), "", "", "")
	f.Fuzz(func(t *testing.T, id, stream string, stall int64, permanent, trial, source string) {
		o := &orders.Orders{
			Sources:   []orders.Source{{ID: orders.SourceID(id), Streams: []orders.Stream{{Name: stream, Codec: orders.H264, StallMS: stall}}}},
			Permanent: orders.SourceID(permanent),
			Trial:     &orders.Trial{ID: orders.TrialID(trial), Source: orders.SourceID(source)},
		}
		if check(o, 0) == nil && (!identifier.MatchString(id) || o.Trial.Source == o.Permanent) {
			t.Fatal("orders that would leave the socket directory or try the permanent source were taken")
		}
	})
}

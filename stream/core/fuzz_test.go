package core

import (
	"maps"
	"slices"
	"testing"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// FuzzPacket gives a line whatever an app may send: it must be taken or refused,
// and what viewers could be shown must lie inside the arena.
func FuzzPacket(f *testing.F) {
	names := slices.Sorted(maps.Keys(codecs))
	f.Add(uint8(1), []byte{0x80, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x65, 0x98}, []byte{0x80, 0x60, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4, 24, 0, 1, 0x67})
	f.Add(uint8(1), []byte{0xb1, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 28, 0x85, 0x98, 2}, []byte{'C'})
	for n := range names {
		f.Add(uint8(n), []byte{0x80, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0x26, 1, 0xaf}, []byte{0x80, 0xe0, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0x10, 0, 0x10, 0x21, 0})
	}
	f.Fuzz(func(t *testing.T, pick uint8, first, second []byte) {
		c := &Core{poll: &poller{}}
		l := bareLineOf(1, codecs[names[int(pick)%len(names)]])
		for kind := range l.params.sets {
			l.params.sets[kind].n = 2
		}
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

// FuzzHello gives a source any first message of a publisher: what is taken names a
// stream that it declares.
func FuzzHello(f *testing.F) {
	for _, codec := range slices.Sorted(maps.Keys(codecs)) {
		f.Add(append([]byte("Smain\n"), sdpHead+sdps[codec]...))
	}
	f.Add([]byte("Smain"))
	f.Add([]byte("S../../x\nv=0"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) == 0 {
			return
		}
		c := &Core{poll: &poller{}, streams: map[string]*stream{}, lines: map[uint64]*line{}}
		var err error
		if c.records, err = newRecords(); err != nil {
			t.Fatal(err)
		}
		defer c.records.memory.close()
		for _, codec := range slices.Sorted(maps.Keys(codecs)) {
			spec := orders.Stream{Name: "main", Codec: codec}
			c.streams["main"] = &stream{name: "main", codec: codecs[codec]}
			src := &source{spec: orders.Source{ID: "a-1", Streams: []orders.Stream{spec}}, lines: map[string]*line{}}
			l, err := (&publisher{source: src, fd: -1}).hello(c, msg[:min(len(msg), publish.MaxHello)], len(msg))
			if err != nil {
				continue
			}
			if l.spec.Name != "main" || len(msg) > publish.MaxHello || len(l.sdp) != int(l.memory.data.sdp.n) {
				t.Errorf("taken: stream %q, %d bytes", l.spec.Name, len(msg))
			}
			l.memory.close()
		}
	})
}

// FuzzDescribe gives a line any SDP.
func FuzzDescribe(f *testing.F) {
	names := slices.Sorted(maps.Keys(codecs))
	for n, name := range names {
		f.Add(uint8(n), []byte(sdpHead+sdps[name]))
	}
	f.Fuzz(func(t *testing.T, pick uint8, sdp []byte) {
		l := bareLineOf(1, codecs[names[int(pick)%len(names)]])
		if l.describe(sdp) == nil && len(l.sdp) != int(l.memory.data.sdp.n) {
			t.Fatal("an SDP over the limit was taken")
		}
		if l.rate <= 0 {
			t.Fatalf("an RTP clock of %d Hz", l.rate)
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

package ingest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"pgregory.net/rapid"
)

// Whatever sizes a publisher packs with, the same access units come out, in
// packets that are small enough and numbered without a hole.
func TestFragmenterKeepsAccessUnits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out []*rtp.Packet
		f := fragmenter{send: func(pkt []byte) error {
			p := &rtp.Packet{}
			out = append(out, p)
			return p.Unmarshal(bytes.Clone(pkt))
		}}
		encoder := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: rapid.IntRange(100, 5000).Draw(t, "size"), PacketizationMode: 1}
		if err := encoder.Init(); err != nil {
			t.Fatal(err)
		}
		decoder := &rtph264.Decoder{PacketizationMode: 1}
		if err := decoder.Init(); err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "units") {
			in := accessUnit(t)
			packets, err := encoder.Encode(in)
			if err != nil {
				t.Fatal(err)
			}
			out = nil
			for _, p := range packets {
				p.Timestamp = uint32(i)
				if err := f.take(p); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(in, decode(t, decoder, out)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func accessUnit(t *rapid.T) [][]byte {
	var au [][]byte
	for range rapid.IntRange(1, 5).Draw(t, "nals") {
		nal := bytes.Repeat([]byte{0xab}, rapid.IntRange(2, 9000).Draw(t, "length"))
		nal[0] = byte(0x60 | rapid.SampledFrom([]int{1, 5, 6, 7, 8}).Draw(t, "type"))
		nal[1] = rapid.Byte().Draw(t, "first byte")
		au = append(au, nal)
	}
	return au
}

func decode(t *rapid.T, d *rtph264.Decoder, packets []*rtp.Packet) (au [][]byte) {
	for i, p := range packets {
		if n := p.MarshalSize(); n > maxPacket {
			t.Fatalf("packet %d has %d bytes", i, n)
		}
		if i > 0 && p.SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("packet %d has sequence number %d after %d", i, p.SequenceNumber, packets[i-1].SequenceNumber)
		}
		if p.Marker != (i == len(packets)-1) {
			t.Fatalf("packet %d of %d has marker %v", i, len(packets), p.Marker)
		}
		got, err := d.Decode(p)
		if err != nil && !errors.Is(err, rtph264.ErrMorePacketsNeeded) {
			t.Fatal(err)
		}
		au = append(au, got...)
	}
	return au
}

// A packet that the publisher left out must stay visible to the forwarder.
func TestFragmenterKeepsHoles(t *testing.T) {
	var seqs []uint16
	f := fragmenter{send: func(pkt []byte) error {
		seqs = append(seqs, uint16(pkt[2])<<8|uint16(pkt[3]))
		return nil
	}}
	large := append([]byte{0x61}, make([]byte, 2500)...) // three packets
	for _, seq := range []uint16{65534, 65535, 2} {
		if err := f.take(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq}, Payload: large}); err != nil {
			t.Fatal(err)
		}
	}
	want := []uint16{65534, 65535, 0, 1, 2, 3, 6, 7, 8} // 4 and 5 stand for 0 and 1
	if diff := cmp.Diff(want, seqs); diff != "" {
		t.Error(diff)
	}
}

func FuzzFragmenter(f *testing.F) {
	f.Add(uint16(1), true, []byte{0x7c, 0x85, 1}, []byte{0x7c, 0x45, 2})
	f.Add(uint16(9), true, []byte{0x78, 0, 2, 0x67, 1, 0, 1, 0x68}, []byte{0x61})
	f.Add(uint16(9), false, bytes.Repeat([]byte{0x78, 0x07, 0xd0, 1}, 600), bytes.Repeat([]byte{0x1d}, 1300))
	f.Fuzz(func(t *testing.T, seq uint16, marker bool, a, b []byte) {
		cutter := fragmenter{send: func(pkt []byte) error {
			if len(pkt) <= rtpHeader || len(pkt) > maxPacket {
				t.Fatalf("packet of %d bytes", len(pkt))
			}
			return nil
		}}
		for i, payload := range [][]byte{a, b, a} {
			h := rtp.Header{Version: 2, SequenceNumber: seq + uint16(i), Marker: marker}
			_ = cutter.take(&rtp.Packet{Header: h, Payload: payload})
		}
	})
}

package ingest

import (
	"bytes"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"pgregory.net/rapid"
)

// packer is a library's way from access units to packets and back.
type packer struct {
	encode func([][]byte) ([]*rtp.Packet, error)
	decode func(*rtp.Packet) ([][]byte, error)
	types  []byte
}

func packH264(t *rapid.T, size int) packer {
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	enc.PayloadMaxSize = size
	dec, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return packer{enc.Encode, dec.Decode, []byte{1, 5, 6, 7, 8}}
}

func packH265(t *rapid.T, size int) packer {
	f := &format.H265{PayloadTyp: 96}
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	enc.PayloadMaxSize = size
	dec, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return packer{enc.Encode, dec.Decode, []byte{1, 19, 20, 21, 32, 33, 34, 39}}
}

// Whatever sizes a publisher packs with, the same access units come out, in
// packets that are small enough and numbered without a hole.
func TestCutterKeepsAccessUnits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec nalCodec
		pack  func(*rapid.T, int) packer
	}{"H.264": {h264, packH264}, "H.265": {h265, packH265}} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var out []*rtp.Packet
			cutter := nalCutter{codec: c.codec, sender: sender{send: func(pkt []byte) error {
				p := &rtp.Packet{}
				out = append(out, p)
				return p.Unmarshal(bytes.Clone(pkt))
			}}}
			library := c.pack(t, rapid.IntRange(100, 5000).Draw(t, "size"))
			for i := range rapid.IntRange(1, 4).Draw(t, "units") {
				in := accessUnit(t, c.codec, library.types)
				packets, err := library.encode(in)
				if err != nil {
					t.Fatal(err)
				}
				out = nil
				for _, p := range packets {
					p.Timestamp = uint32(i)
					if err := cutter.take(p); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(in, decode(t, library, out)); diff != "" {
					t.Fatal(diff)
				}
			}
		}))
	}
}

func accessUnit(t *rapid.T, codec nalCodec, types []byte) [][]byte {
	var au [][]byte
	for range rapid.IntRange(1, 5).Draw(t, "nals") {
		nal := bytes.Repeat([]byte{0xab}, rapid.IntRange(3, 9000).Draw(t, "length"))
		nal[0] = 0x60 &^ codec.mask
		nal[1] = 0x01
		nal[0] |= rapid.SampledFrom(types).Draw(t, "type") << codec.shift
		nal[2] = rapid.Byte().Draw(t, "first byte")
		au = append(au, nal)
	}
	return au
}

func decode(t *rapid.T, library packer, packets []*rtp.Packet) (au [][]byte) {
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
		got, err := library.decode(p)
		if err != nil && i == len(packets)-1 {
			t.Fatal(err)
		}
		au = append(au, got...)
	}
	return au
}

// A packet that the publisher left out must stay visible to the forwarder.
func TestCutterKeepsHoles(t *testing.T) {
	t.Parallel()
	var seqs []uint16
	cutter := nalCutter{codec: h264, sender: sender{send: func(pkt []byte) error {
		seqs = append(seqs, uint16(pkt[2])<<8|uint16(pkt[3]))
		return nil
	}}}
	large := append([]byte{0x61}, make([]byte, 2500)...) // three packets
	for _, seq := range []uint16{65534, 65535, 2} {
		if err := cutter.take(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq}, Payload: large}); err != nil {
			t.Fatal(err)
		}
	}
	want := []uint16{65534, 65535, 0, 1, 2, 3, 6, 7, 8} // 4 and 5 stand for 0 and 1
	if diff := cmp.Diff(want, seqs); diff != "" {
		t.Error(diff)
	}
}

func FuzzCutter(f *testing.F) {
	f.Add(uint16(1), true, []byte{0x7c, 0x85, 1}, []byte{0x7c, 0x45, 2})
	f.Add(uint16(9), true, []byte{0x78, 0, 2, 0x67, 1, 0, 1, 0x68}, []byte{0x61})
	f.Add(uint16(9), true, []byte{0x62, 0x01, 0x93, 1}, []byte{0x62, 0x01, 0x53, 2})
	f.Add(uint16(9), false, bytes.Repeat([]byte{0x78, 0x07, 0xd0, 1}, 600), bytes.Repeat([]byte{0x1d}, 1300))
	f.Add(uint16(9), false, bytes.Repeat([]byte{0x60, 0x01, 0x00, 0x02}, 600), bytes.Repeat([]byte{0x26}, 1300))
	f.Add(uint16(9), false, append([]byte{0, 0, 0, 0, 65, 255, 8, 8, 0, 1, 0xff, 0xff, 0, 0, 0, 128}, make([]byte, 1500)...), []byte{0})
	f.Fuzz(func(t *testing.T, seq uint16, marker bool, a, b []byte) {
		limit := maxPacket
		out := sender{send: func(pkt []byte) error {
			if len(pkt) <= rtpHeader || len(pkt) > limit {
				t.Fatalf("packet of %d bytes", len(pkt))
			}
			return nil
		}}
		for _, cut := range []func(sender) cutter{cutH264, cutH265, cutJPEG, cutNever} {
			c := cut(out)
			if _, never := c.(*whole); never {
				limit = len(out.buf)
			}
			for i, payload := range [][]byte{a, b, a} {
				h := rtp.Header{Version: 2, SequenceNumber: seq + uint16(i), Marker: marker}
				_ = c.take(&rtp.Packet{Header: h, Payload: payload})
			}
		}
	})
}

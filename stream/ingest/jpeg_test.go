package ingest

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
)

// noise is a picture that needs many packets.
func noise(t *testing.T) []byte {
	picture := image.NewYCbCr(image.Rect(0, 0, 160, 120), image.YCbCrSubsampleRatio420)
	random := rand.NewChaCha8([32]byte{})
	random.Read(picture.Y)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The same picture comes out, whatever size its packets had.
func TestJPEGIsCut(t *testing.T) {
	t.Parallel()
	f := &format.MJPEG{}
	in := noise(t)
	for _, size := range []int{500, maxPayload, maxPayload + 1, 1460, 1900} {
		enc, err := f.CreateEncoder()
		if err != nil {
			t.Fatal(err)
		}
		enc.PayloadMaxSize = size
		packets, err := enc.Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		var cut []*rtp.Packet
		c := cutJPEG(sender{send: func(pkt []byte) error {
			p := &rtp.Packet{}
			cut = append(cut, p)
			if len(pkt) > maxPacket {
				t.Errorf("packet of %d bytes", len(pkt))
			}
			return p.Unmarshal(bytes.Clone(pkt))
		}})
		for _, p := range packets {
			if err := c.take(p); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(joinJPEG(t, f, packets), joinJPEG(t, f, cut)); diff != "" {
			t.Errorf("packets of %d: %s", size, diff)
		}
	}
}

func joinJPEG(t *testing.T, f *format.MJPEG, packets []*rtp.Packet) []byte {
	dec, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		picture, err := dec.Decode(p)
		if i == len(packets)-1 {
			if err != nil {
				t.Fatal(err)
			}
			return picture
		}
	}
	t.Fatal("no packets")
	return nil
}

// A chunk of restart intervals that is cut says in each part whether it is the
// first or the last, and where the scan goes on (RFC 2435 §3.1.7).
func TestRestartIntervalsAreCut(t *testing.T) {
	t.Parallel()
	chunk := func(flags uint16) []byte {
		head := []byte{0, 0, 1, 0, 65, 50, 20, 15, 0, 4, 0, 0}
		binary.BigEndian.PutUint16(head[10:], flags)
		return append(head, make([]byte, 3000)...)
	}
	for in, want := range map[uint16][]uint16{
		0xc005: {0x8005, 0x0005, 0x4005}, // a whole chunk
		0x8005: {0x8005, 0x0005, 0x0005}, // the first part of one
		0xffff: {0xffff, 0xffff, 0xffff}, // no chunks: the frame is put together first
	} {
		var got, offsets []uint16
		c := cutJPEG(sender{send: func(pkt []byte) error {
			offsets = append(offsets, binary.BigEndian.Uint16(pkt[rtpHeader+2:]))
			got = append(got, binary.BigEndian.Uint16(pkt[rtpHeader+10:]))
			return nil
		}})
		if err := c.take(&rtp.Packet{Payload: chunk(in)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%#x: %s", in, diff)
		}
		if diff := cmp.Diff([]uint16{256, 256 + 1176, 256 + 2352}, offsets); diff != "" {
			t.Error(diff)
		}
	}
}

// FuzzJPEG cuts whatever a publisher sends: each part is small enough, and together they
// are the scan.
func FuzzJPEG(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 65, 255, 20, 15, 0, 8, 0xff, 0xff, 0, 0, 0, 128}, uint16(3000))
	f.Add([]byte{0, 0xff, 0xff, 0xff, 1, 90, 20, 15}, uint16(5000))
	f.Fuzz(func(t *testing.T, head []byte, length uint16) {
		payload := append(bytes.Clone(head), make([]byte, length)...)
		sent := 0
		c := cutJPEG(sender{send: func(pkt []byte) error {
			p := &rtp.Packet{}
			if len(pkt) > maxPacket {
				t.Errorf("packet of %d bytes", len(pkt))
			}
			sent += len(pkt)
			return p.Unmarshal(bytes.Clone(pkt))
		}})
		err := c.take(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true}, Payload: payload})
		if err == nil && sent < len(payload) {
			t.Errorf("%d of %d bytes were sent", sent, len(payload))
		}
	})
}

package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"

	"slipstream/stream/publish"
)

// A viewer over TLS that stops reading is disconnected; another one misses nothing.
func TestSlowTLSViewerDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t))
	w.forward(t)
	stop := w.flood(t)
	defer stop()
	w.awaitPicture(t)
	slow, quick := talkTLS(t, w), talkTLS(t, w)
	slow.play(t, w.rtsps(""))
	quick.play(t, w.rtsps(""))
	next := quick.firstSeq(t)
	for n := 0; !w.log.contains("i/o timeout"); n++ {
		channel, pkt := quick.packet(t)
		if channel == 1 {
			continue
		}
		if seq := binary.BigEndian.Uint16(pkt[2:]); seq != next {
			t.Fatalf("packet %d of the quick viewer has sequence number %d, not %d", n, seq, next)
		}
		if pt := pkt[1] & 0x7f; pt != 96 { // the publisher's is another
			t.Fatalf("packet %d has payload type %d", n, pt)
		}
		next++
	}
}

// flood publishes 12 Mbyte/s of key frames until stop is called.
func (w *world) flood(t *testing.T) (stop func()) {
	t.Helper()
	sps, pps := []byte("\x67\x42\xc0\x0d\xd9\x01\x41\x9f\x9f\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x42\xa4\x80"), []byte("\x68\xcb\x83\xcb\x20")
	b64 := base64.StdEncoding.EncodeToString
	conn, err := publish.Dial(w.publishSocket(), "main", []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 100\r\n"+
		"a=rtpmap:100 H264/90000\r\na=fmtp:100 packetization-mode=1;sprop-parameter-sets="+b64(sps)+","+b64(pps)+"\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return background(t, func(ctx context.Context) error {
		defer conn.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var seq uint16
		for ts := uint32(0); ; ts += 900 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			for i := range 100 {
				pkt := append([]byte{0x80, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x7c, 5}, bytes.Repeat([]byte{0x88}, 1180)...)
				pkt[13] |= map[int]byte{0: 0x80, 99: 0x40}[i]
				pkt[1] |= map[int]byte{99: 0x80}[i]
				binary.BigEndian.PutUint16(pkt[2:], seq)
				binary.BigEndian.PutUint32(pkt[4:], ts)
				seq++
				if err := conn.WriteRTP(pkt); err != nil {
					return err
				}
			}
		}
	})
}

func (b *logBuffer) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.text.Bytes(), []byte(text))
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

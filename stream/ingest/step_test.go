package ingest_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"slipstream/stream/orders"
	"slipstream/stream/subscribe"
)

// blink is a picture that is white, and a sound that is loud, in the first tenth of
// each second: the picture in MJPEG, the sound in G.711, which can be looked at here.
var blink = command(strings.Fields("ffmpeg -hide_banner -re -f lavfi -i color=black:size=64x64:rate=30,drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'" +
	" -re -f lavfi -i aevalsrc='if(lt(mod(t,1),0.1),sin(2*PI*1000*t),0)':s=8000" +
	" -c:v mjpeg -huffman default -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000 -ac 1 -f rtsp URL"))

// A flash and its click are captured at the same time.
func TestPictureAndSoundComeInStep(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, orders.Stream{Name: "main", Codec: orders.MJPEG, Audio: "mic"}, orders.Stream{Name: "mic", Codec: orders.PCMU})
	defer w.explain(t, blink.start(t, w.url))
	picture, sound := w.watch(t, "main", 0), w.watch(t, "mic", 0)
	flashes := make(chan time.Duration, 100)
	go func() {
		defer close(flashes)
		d, err := (&format.MJPEG{}).CreateDecoder()
		edges(picture, flashes, func(pkt *rtp.Packet) (bright, whole bool, at int) {
			if err != nil {
				return
			}
			data, err := d.Decode(pkt)
			if err != nil {
				return
			}
			frame, err := jpeg.Decode(bytes.NewReader(data))
			return err == nil && frame.(*image.YCbCr).Y[0] > 128, err == nil, 0
		})
	}()
	clicks := make(chan time.Duration, 100)
	go func() {
		defer close(clicks)
		edges(sound, clicks, func(pkt *rtp.Packet) (loud, whole bool, at int) {
			var samples g711.Mulaw
			samples.Unmarshal(pkt.Payload)
			for i := 0; i+1 < len(samples); i += 2 {
				if s := int16(uint16(samples[i])<<8 | uint16(samples[i+1])); s > 1000 {
					return true, true, i / 2
				}
			}
			return false, true, 0
		})
	}()
	const frame = time.Second / 30
	for range 2 {
		flash, click := w.edge(t, flashes), w.edge(t, clicks)
		for flash-click > time.Second/2 {
			click = w.edge(t, clicks)
		}
		for click-flash > time.Second/2 {
			flash = w.edge(t, flashes)
		}
		if off := click - flash; off < -frame || off > frame {
			t.Errorf("the sound comes %v after its picture", off)
		}
	}
}

func (w *world) edge(t *testing.T, edges <-chan time.Duration) time.Duration {
	t.Helper()
	select {
	case at, ok := <-edges:
		if ok {
			return at
		}
		t.Fatal("the stream ended")
	case <-time.After(patience):
		t.Fatal("neither bright nor loud")
	}
	return 0
}

// edges tells when something begins, by its capture time: look says of a packet
// whether it is there, and from which tick of the packet on.
func edges(conn *subscribe.Conn, out chan<- time.Duration, look func(*rtp.Packet) (on, whole bool, at int)) {
	rate := map[bool]int64{true: 90_000, false: 8_000}[bytes.Contains(conn.SDP(), []byte("m=video"))]
	buf, was := make([]byte, 20<<10), true // what is there already began before
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		pkt := &rtp.Packet{}
		if pkt.Unmarshal(bytes.Clone(buf[:n])) != nil {
			return
		}
		on, whole, at := look(pkt)
		if whole && on && !was {
			ticks := pkt.Timestamp - conn.TimeBase() + uint32(at)
			// The clock wraps after hours; both streams are read off near now.
			now := monotonic()
			ago := int64(int32(uint32(int64(now/time.Microsecond)*rate/1e6) - ticks))
			select {
			case out <- now - time.Duration(ago*int64(time.Second)/rate):
			default:
				return
			}
		}
		if whole {
			was = on
		}
	}
}

// A publisher's reports, and not what its packets have to wait for, say when a picture
// and a sound were captured.
func TestReportsTellOfCapture(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, orders.Stream{Name: "main", Codec: orders.MJPEG, Audio: "mic"}, orders.Stream{Name: "mic", Codec: orders.PCMU})
	video := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.MJPEG{}}}
	audio := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}}}
	tcp := gortsplib.ProtocolTCP
	c := gortsplib.Client{Protocol: &tcp}
	if err := c.StartRecording(w.url, &description.Session{Medias: []*description.Media{video, audio}}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began, wall := monotonic(), time.Now()
	for _, m := range []*description.Media{video, audio} {
		report := &rtcp.SenderReport{SSRC: 1, NTPTime: ntp(wall), RTPTime: 1000} // captured when it began
		if err := c.WritePacketRTCP(m, report); err != nil {
			t.Fatal(err)
		}
	}
	send := func(m *description.Media, seq uint16, after, delay time.Duration, payload []byte) {
		t.Helper()
		<-time.After(began + after + delay - monotonic())
		f := m.Formats[0]
		pkt := &rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: f.PayloadType(), SequenceNumber: seq, SSRC: 1, Marker: true,
			Timestamp: 1000 + uint32(after*time.Duration(f.ClockRate())/time.Second),
		}, Payload: payload}
		if err := c.WritePacketRTP(m, pkt); err != nil {
			t.Fatal(err)
		}
	}
	frame, samples := []byte{0, 0, 0, 0, 1, 50, 8, 8, 0xff}, make([]byte, 160)
	const encoder, microphone = 300 * time.Millisecond, 20 * time.Millisecond // what they take
	send(video, 0, 0, encoder, frame)
	send(audio, 0, encoder-microphone, microphone, samples)
	picture, sound := w.watch(t, "main", 0), w.watch(t, "mic", 0)
	for i := range uint16(10) {
		after := time.Duration(i+1) * 100 * time.Millisecond
		if i == 9 { // by which the last ones are known
			frame, samples = append(frame, 0), samples[:80]
		}
		send(video, i+1, after, encoder, frame)
		send(audio, i+1, after+encoder-microphone, microphone, samples)
	}
	for _, c := range []struct {
		conn *subscribe.Conn
		rate int64
		size int
		last time.Duration
	}{{picture, 90_000, 10, time.Second}, {sound, 8_000, 80, time.Second + encoder - microphone}} {
		pkt := packetOf(t, c.conn, c.size)
		want := c.conn.TimeBase() + uint32(int64((began+c.last)/time.Microsecond)*c.rate/1e6)
		if off := time.Duration(int32(pkt.Timestamp-want)) * time.Second / time.Duration(c.rate); off < -5*time.Millisecond || off > 5*time.Millisecond {
			t.Errorf("captured %v after it was (RTP clock of %d Hz)", off, c.rate)
		}
	}
}

// packetOf reads up to the packet with a payload of that size.
func packetOf(t *testing.T, conn *subscribe.Conn, size int) *rtp.Packet {
	t.Helper()
	defer time.AfterFunc(patience, func() { conn.Close() }).Stop()
	buf, pkt := make([]byte, 20<<10), &rtp.Packet{}
	for len(pkt.Payload) != size {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := pkt.Unmarshal(bytes.Clone(buf[:n])); err != nil {
			t.Fatal(err)
		}
	}
	return pkt
}

func ntp(t time.Time) uint64 {
	ns := uint64(t.UnixNano())
	return (ns/1e9+2_208_988_800)<<32 | ns%1e9<<32/1e9
}

package ingest_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/sdp"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/pion/rtp"
	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/stream/subscribe"
)

// command is a publisher as a vendor would call it; URL stands for where to.
type command []string

func (c command) start(t *testing.T, url string) *program {
	t.Helper()
	args := slices.Clone(c[1:])
	for i := range args {
		args[i] = strings.Replace(args[i], "URL", url, 1)
	}
	return start(t, c[0], args...)
}

func ffmpegWith(options string) command {
	return strings.Fields("ffmpeg -hide_banner -re -f lavfi -i testsrc2=size=320x180:rate=30" +
		" -re -f lavfi -i sine=sample_rate=48000 " + options + " -f rtsp URL")
}

func gstreamer(picture, sound string) command {
	line := "gst-launch-1.0 -q rtspclientsink name=out location=URL protocols=tcp videotestsrc is-live=true pattern=ball ! " +
		"video/x-raw,width=320,height=180,framerate=30/1,format=I420 ! " + picture + " ! out. " +
		"audiotestsrc is-live=true ! audioconvert ! audioresample ! " + sound + " ! out."
	if strings.Contains(sound, "aac") { // its first choice for AAC is LATM
		line = strings.Replace(line, "name=out", "name=out sink_1::payloader=rtpmp4gpay", 1)
	}
	return strings.Fields(line)
}

const x264Options = " -preset ultrafast -tune zerolatency -bf 0 -g 15 -pix_fmt yuv420p "

// Every codec comes through ingest and forwarder whole, from both programs: it is
// decoded, numbered without a hole, on one capture clock with its sound.
func TestCodecsComeThrough(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		picture, sound string
		publisher      command
	}{
		{orders.H265, orders.Opus, ffmpegWith("-c:v libx265 -preset ultrafast -tune zerolatency -x265-params log-level=none:bframes=0:keyint=15 -c:a libopus")},
		{orders.H264, orders.AAC, ffmpegWith("-c:v libx264" + x264Options + "-c:a aac")},
		{orders.H264, orders.PCMA, ffmpegWith("-c:v libx264" + x264Options + "-c:a pcm_alaw -ar 8000 -ac 1")},
		{orders.MJPEG, orders.PCMU, ffmpegWith("-c:v mjpeg -huffman default -pix_fmt yuvj420p -q:v 4 -c:a pcm_mulaw -ar 8000 -ac 1")},
		{orders.H265, orders.AAC, gstreamer("x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 option-string=bframes=0 ! h265parse", "voaacenc ! aacparse")},
		{orders.H264, orders.Opus, gstreamer("x264enc tune=zerolatency speed-preset=ultrafast bframes=0 key-int-max=15", "opusenc")},
		{orders.MJPEG, orders.PCMU, gstreamer("jpegenc", "audio/x-raw,rate=8000,channels=1 ! mulawenc")},
		{orders.H264, orders.PCMA, gstreamer("x264enc tune=zerolatency speed-preset=ultrafast bframes=0 key-int-max=15", "audio/x-raw,rate=8000,channels=1 ! alawenc")},
	} {
		t.Run(fmt.Sprintf("%s/%s+%s", c.publisher[0], c.picture, c.sound), func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t,
				orders.Stream{Name: "main", Codec: c.picture, Width: 320, Height: 180, Audio: "mic"},
				orders.Stream{Name: "mic", Codec: c.sound})
			p := c.publisher.start(t, w.url)
			defer w.explain(t, p)
			picture := w.play(t, "main", func(p played) bool { return len(p.units) == 30 })
			picture.decode(t, c.picture)
			sound := w.play(t, "mic", func(p played) bool { return p.following() == 20 })
			sound.decode(t, c.sound)
		})
	}
}

// explain shows what the programs said, if the test has failed.
func (w *world) explain(t *testing.T, p *program) {
	if !t.Failed() {
		return
	}
	for name, b := range map[string]*logBuffer{"ingest": w.log, "publisher": &p.stderr} {
		b.mu.Lock()
		t.Logf("%s:\n%s", name, b.text.String())
		b.mu.Unlock()
	}
}

// played is what a viewer got of one stream.
type played struct {
	format format.Format
	units  [][]*rtp.Packet
}

// play reads whole access units, or packets of sound, until they are enough.
func (w *world) play(t *testing.T, stream string, enough func(played) bool) played {
	t.Helper()
	conn := w.watch(t, stream, 0)
	unstick := time.AfterFunc(patience, func() { conn.Close() })
	defer unstick.Stop()
	p := played{format: formatOf(t, conn.SDP())}
	var open []*rtp.Packet
	buf := make([]byte, 20<<10)
	for seq := uint16(0); !enough(p); seq++ {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%s: %d units came, of which the last %d follow each other: %v", stream, len(p.units), p.following(), err)
		}
		arrived := monotonic()
		pkt := &rtp.Packet{}
		if err := pkt.Unmarshal(bytes.Clone(buf[:n])); err != nil {
			t.Fatal(err)
		}
		if len(open)+len(p.units) == 0 {
			seq = pkt.SequenceNumber
		}
		if pkt.SequenceNumber != seq {
			t.Fatalf("%s: sequence number %d, not %d", stream, pkt.SequenceNumber, seq)
		}
		if open = append(open, pkt); pkt.Marker || isSound(p.format) {
			p.onClock(t, conn, pkt.Timestamp, arrived, len(p.units))
			p.units, open = append(p.units, open), nil
		}
	}
	return p
}

// onClock checks that a unit's time is one of capture, before it came. The first ones are
// of the past, and who publishes may be slow.
func (p played) onClock(t *testing.T, conn *subscribe.Conn, ts uint32, arrived time.Duration, unit int) {
	t.Helper()
	rate := p.format.ClockRate()
	now := conn.TimeBase() + uint32(int64(arrived)/1000*int64(rate)/1e6)
	ago := time.Duration(int64(int32(now-ts)) * int64(time.Second) / int64(rate))
	if ago < -time.Second || ago > patience {
		t.Fatalf("unit %d was captured %v before it came", unit, ago)
	}
}

func formatOf(t *testing.T, text []byte) format.Format {
	t.Helper()
	var s sdp.SessionDescription
	var d description.Session
	if err := s.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmarshal(&s); err != nil {
		t.Fatal(err)
	}
	return d.Medias[0].Formats[0]
}

func isSound(f format.Format) bool {
	switch f.(type) {
	case *format.Opus, *format.G711, *format.MPEG4Audio:
		return true
	}
	return false
}

// decode puts what was played together again and decodes it.
func (p played) decode(t *testing.T, codec string) {
	t.Helper()
	switch f := p.format.(type) {
	case *format.H264:
		d, err := f.CreateDecoder()
		p.film(t, codec, d.Decode, err)
	case *format.H265:
		d, err := f.CreateDecoder()
		p.film(t, "hevc", d.Decode, err)
	case *format.MJPEG:
		p.pictures(t, f)
	case *format.Opus: // whose packets tell how long they are
	case *format.G711:
		if f.MULaw != (codec == orders.PCMU) {
			t.Error("the other law")
		}
	case *format.MPEG4Audio:
		p.aac(t, f)
	default:
		t.Fatalf("%T", f)
	}
}

// film decodes NAL units with ffmpeg, which must have nothing to say.
func (p played) film(t *testing.T, demuxer string, unpack func(*rtp.Packet) ([][]byte, error), err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var film []byte
	for n, unit := range p.units {
		var au [][]byte
		for _, pkt := range unit {
			au, err = unpack(pkt)
		}
		if err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		annexB, err := h264.AnnexB(au).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		film = append(film, annexB...)
	}
	if n := frames(t, demuxer, film); n != len(p.units) {
		t.Errorf("%d of %d pictures were decoded", n, len(p.units))
	}
}

// frames counts what ffmpeg decodes without a complaint.
func frames(t *testing.T, demuxer string, data []byte) int {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "warning", "-f", demuxer, "-i", "-", "-f", "framecrc", "-")
	cmd.Stdin = bytes.NewReader(data)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("ffmpeg: %v %s", err, complaints.String())
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

func (p played) pictures(t *testing.T, f *format.MJPEG) {
	t.Helper()
	d, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for n, unit := range p.units {
		var picture []byte
		for _, pkt := range unit {
			picture, err = d.Decode(pkt)
		}
		if err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		if _, err := jpeg.Decode(bytes.NewReader(picture)); err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
	}
}

// following is how many of the last packets of sound follow each other to the sample:
// all of them, once the capture clock has found its pace.
func (p played) following() (packets int) {
	for n := len(p.units) - 1; n > 0; n-- {
		before := p.units[n-1][0]
		if p.units[n][0].Timestamp-before.Timestamp != p.samplesOf(before.Payload) {
			break
		}
		packets++
	}
	return packets
}

// samplesOf is how many samples a packet of sound has.
func (p played) samplesOf(payload []byte) uint32 {
	switch p.format.(type) {
	case *format.Opus:
		return uint32(opus.PacketDuration2(payload))
	case *format.MPEG4Audio:
		return uint32(payload[1]) / 16 * mpeg4audio.SamplesPerAccessUnit
	}
	return uint32(len(payload))
}

func (p played) aac(t *testing.T, f *format.MPEG4Audio) {
	t.Helper()
	d, err := f.CreateDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var packets mpeg4audio.ADTSPackets
	for n, unit := range p.units {
		units, err := d.Decode(unit[0])
		if err != nil {
			t.Fatalf("packet %d: %v", n, err)
		}
		for _, au := range units {
			packets = append(packets, &mpeg4audio.ADTSPacket{
				Type: f.Config.Type, SampleRate: f.Config.SampleRate, ChannelCount: f.Config.ChannelCount, AU: au,
			})
		}
	}
	adts, err := packets.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if n := frames(t, "aac", adts); n != len(packets) {
		t.Errorf("%d of %d frames were decoded", n, len(packets))
	}
}

// monotonic is CLOCK_MONOTONIC now.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

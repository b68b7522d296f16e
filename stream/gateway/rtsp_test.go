package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"
	"time"

	"slipstream/stream/gateway"
	"slipstream/stream/publish"
)

// play runs ffmpeg as a player until it has decoded so many frames, and fails the
// test for any error that it speaks of.
func play(t *testing.T, url, transport string, frames int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", url,
		"-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-frames:v", fmt.Sprint(frames), "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg over %s: %v\n%s", transport, err, out)
	}
}

func TestFFmpegPlaysByRTSP(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	for _, transport := range []string{"tcp", "udp"} {
		play(t, w.rtsp, transport, 60)
	}
	w.log.await(t, "viewer left")
}

func TestFFprobeKnowsTheStream(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries",
		"stream=codec_name,profile,width,height", "-of", "csv=p=0", w.rtsp).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "h264,Constrained Baseline,320,180" {
		t.Errorf("ffprobe: %v, %q", err, got)
	}
}

// conversation is an RTSP client that does just what a test tells it.
type conversation struct {
	conn    net.Conn
	r       *bufio.Reader
	cseq    int
	session string
}

func talk(t *testing.T, w *world) *conversation {
	t.Helper()
	conn, err := net.Dial("tcp", w.gateway.RTSPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &conversation{conn: conn, r: bufio.NewReader(conn)}
}

// ask sends a request and returns the status line and body of the response.
func (c *conversation) ask(t *testing.T, method, url string, headers ...string) (status, body string) {
	t.Helper()
	c.cseq++
	request := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, c.cseq)
	if c.session != "" {
		request += "Session: " + c.session + "\r\n"
	}
	if _, err := io.WriteString(c.conn, request+strings.Join(append(headers, "\r\n"), "\r\n")); err != nil {
		t.Fatal(err)
	}
	r := textproto.NewReader(c.r)
	status, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	header, err := r.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	c.session, _, _ = strings.Cut(header.Get("Session"), ";")
	var length int
	fmt.Sscan(header.Get("Content-Length"), &length)
	text := make([]byte, length)
	if _, err := io.ReadFull(c.r, text); err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

func (c *conversation) play(t *testing.T, url string) {
	t.Helper()
	for _, step := range [][]string{
		{"SETUP", url + "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"}, {"PLAY", url},
	} {
		if status, _ := c.ask(t, step[0], step[1], step[2:]...); status != "RTSP/1.0 200 OK" {
			t.Fatalf("%s: %s", step[0], status)
		}
	}
}

// packet reads one interleaved packet.
func (c *conversation) packet(t *testing.T) (channel byte, pkt []byte) {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		t.Fatal(err)
	}
	pkt = make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(c.r, pkt); err != nil || head[0] != '$' {
		t.Fatalf("%v, %x", err, head)
	}
	return head[1], pkt
}

// A reader's first packet is the key frame's, and its numbering has no hole.
func TestReaderBeginsWithKeyFrame(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	c := talk(t, w)
	status, sdp := c.ask(t, "DESCRIBE", w.rtsp)
	if status != "RTSP/1.0 200 OK" || !strings.Contains(sdp, "sprop-parameter-sets=") || !strings.Contains(sdp, "packetization-mode=1") {
		t.Fatalf("DESCRIBE: %s\n%s", status, sdp)
	}
	c.play(t, w.rtsp)
	var first, reported bool
	var next uint16
	for n := 0; n < 200; {
		channel, pkt := c.packet(t)
		if channel == 1 {
			reported = reported || pkt[1] == 200 // a sender report
			continue
		}
		if seq := binary.BigEndian.Uint16(pkt[2:]); n > 0 && seq != next {
			t.Fatalf("packet %d has sequence number %d, not %d", n, seq, next)
		}
		next = binary.BigEndian.Uint16(pkt[2:]) + 1
		key, _ := look(pkt[12:])
		first = first || key
		n++
		if pkt[1]&0x80 != 0 && !first {
			t.Fatal("the first picture is no key frame")
		}
	}
	if !reported {
		t.Error("no sender report")
	}
}

// The forwarder is replaced: a reader's session lives on, its numbering goes on.
func TestReaderSurvivesTheForwarder(t *testing.T) {
	w := newWorld(t)
	stopForwarder := w.forward(t)
	stopSource := w.publish(t)
	c := talk(t, w)
	c.play(t, w.rtsp)
	var next uint16
	for n, restarted := 0, false; n < 200 || !restarted; n++ {
		channel, pkt := c.packet(t)
		if channel == 1 {
			continue
		}
		if seq := binary.BigEndian.Uint16(pkt[2:]); n > 0 && seq != next {
			t.Fatalf("packet %d has sequence number %d, not %d", n, seq, next)
		}
		next = binary.BigEndian.Uint16(pkt[2:]) + 1
		if n >= 60 && !restarted {
			stopForwarder()
			stopSource()
			w.forward(t)
			w.publish(t)
			restarted, n = true, 100
		}
	}
}

func TestReadersThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	base := strings.TrimSuffix(w.rtsp, "/main")
	for _, c := range []struct{ method, path, want string }{
		{"DESCRIBE", "/main", "503"}, {"SETUP", "/main/trackID=0", "503"},
		{"DESCRIBE", "/", "404"}, {"DESCRIBE", "/a/b", "404"}, {"DESCRIBE", "/main%0axxxxxx", "404"},
		{"SETUP", "/main%0axxxxxx/trackID=0", "404"}, {"ANNOUNCE", "/main", "501"}, {"PLAY", "/main", "501"},
	} {
		status, _ := talk(t, w).ask(t, c.method, base+c.path, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		if !strings.HasPrefix(status, "RTSP/1.0 "+c.want+" ") {
			t.Errorf("%s %s: %s; want %s", c.method, c.path, status, c.want)
		}
	}
}

func TestReaderLimit(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 1 })
	w.forward(t)
	w.publish(t)
	first, second := talk(t, w), talk(t, w)
	first.play(t, w.rtsp)
	setup := []string{"SETUP", w.rtsp + "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"}
	if status, _ := second.ask(t, setup[0], setup[1], setup[2]); !strings.HasPrefix(status, "RTSP/1.0 453 ") {
		t.Errorf("second reader: %s", status)
	}
	first.conn.Close()
	w.log.await(t, "viewer left")
	talk(t, w).play(t, w.rtsp)
}

// A reader that stops reading is disconnected; another one misses nothing.
func TestSlowReaderDelaysNobody(t *testing.T) {
	w := newWorld(t)
	w.forward(t)
	stop := w.flood(t)
	defer stop()
	w.awaitPicture(t)
	slow, quick := talk(t, w), talk(t, w)
	slow.play(t, w.rtsp)
	quick.play(t, w.rtsp)
	var next uint16
	for n := 0; !w.log.contains("because=\"the reader is too slow\""); n++ {
		channel, pkt := quick.packet(t)
		if channel == 1 {
			continue
		}
		seq := binary.BigEndian.Uint16(pkt[2:])
		if n > 0 && seq != next {
			t.Fatalf("packet %d of the quick reader has sequence number %d, not %d", n, seq, next)
		}
		next = seq + 1
	}
	if _, err := io.Copy(io.Discard, slow.r); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("slow reader's connection: %v", err)
	}
}

// flood publishes 12 Mbyte/s of key frames until stop is called.
func (w *world) flood(t *testing.T) (stop func()) {
	t.Helper()
	sps, pps := []byte("\x67\x42\xc0\x0d\xd9\x01\x41\x9f\x9f\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x42\xa4\x80"), []byte("\x68\xcb\x83\xcb\x20")
	b64 := base64.StdEncoding.EncodeToString
	conn, err := publish.Dial(w.publishSocket(), "main", []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"+
		"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets="+b64(sps)+","+b64(pps)+"\r\n"))
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
				pkt := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x7c, 5}, bytes.Repeat([]byte{0x88}, 1180)...)
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

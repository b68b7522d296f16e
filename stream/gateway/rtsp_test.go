package gateway_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/stream/gateway"
)

func TestFFprobeKnowsTheStream(t *testing.T) {
	t.Parallel()
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
	header  textproto.MIMEHeader // of the last answer
}

func talk(t *testing.T, w *world) *conversation {
	t.Helper()
	conn, err := net.Dial("tcp", w.gateway.RTSPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return converse(t, conn)
}

func converse(t *testing.T, conn net.Conn) *conversation {
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
	c.send(t, request+strings.Join(slices.Concat(headers, []string{"\r\n"}), "\r\n"))
	return c.answer(t)
}

// send sends a request and waits for nothing.
func (c *conversation) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads a response.
func (c *conversation) answer(t *testing.T) (status, body string) {
	t.Helper()
	r := textproto.NewReader(c.r)
	status, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if c.header, err = r.ReadMIMEHeader(); err != nil {
		t.Fatal(err)
	}
	if session, _, _ := strings.Cut(c.header.Get("Session"), ";"); session != "" {
		c.session = session
	}
	var length int
	fmt.Sscan(c.header.Get("Content-Length"), &length)
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

// firstSeq is the number of the first packet, as the answer to PLAY says.
func (c *conversation) firstSeq(t *testing.T) (seq uint16) {
	t.Helper()
	_, text, _ := strings.Cut(c.header.Get("RTP-Info"), "seq=")
	if _, err := fmt.Sscan(text, &seq); err != nil {
		t.Fatalf("RTP-Info: %q", c.header.Get("RTP-Info"))
	}
	return seq
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

// reported reads the sender report that stands before the first packet.
func (c *conversation) reported(t *testing.T) {
	t.Helper()
	if channel, pkt := c.packet(t); channel != 1 || pkt[1] != 200 {
		t.Errorf("on channel %d there is a packet of type %d before all others, and no sender report", channel, pkt[1])
	}
}

// A viewer's first packet is the key frame's, and its numbering has no hole.
func TestRTSPBeginsWithKeyFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	c := talk(t, w)
	status, sdp := c.ask(t, "DESCRIBE", w.rtsp)
	if status != "RTSP/1.0 200 OK" || !strings.Contains(sdp, "sprop-parameter-sets=") || !strings.Contains(sdp, "packetization-mode=1") {
		t.Fatalf("DESCRIBE: %s\n%s", status, sdp)
	}
	c.play(t, w.rtsp)
	next := c.firstSeq(t)
	c.reported(t)
	first := false
	for n := 0; n < 200; {
		channel, pkt := c.packet(t)
		if channel == 1 {
			continue
		}
		if seq := binary.BigEndian.Uint16(pkt[2:]); seq != next {
			t.Fatalf("packet %d has sequence number %d, not %d", n, seq, next)
		}
		next++
		key, _ := look(pkt[12:])
		first = first || key
		n++
		if pkt[1]&0x80 != 0 && !first {
			t.Fatal("the first picture is no key frame")
		}
	}
}

// Places are for all viewers together.
func TestRTSPViewerLimit(t *testing.T) {
	t.Parallel()
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

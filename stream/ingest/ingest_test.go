package ingest_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/subscribe"
)

// maxPacket is what the ingest promises never to exceed.
const maxPacket = 1200

// watch subscribes as soon as the stream has a source, and reads n packets whose
// sequence numbers follow one another.
func (w *world) watch(t *testing.T, stream string, n int) *subscribe.Conn {
	t.Helper()
	var conn *subscribe.Conn
	for deadline := time.Now().Add(patience); ; {
		var err error
		if conn, err = subscribe.Dial(w.viewer, stream, nil); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no stream to watch: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Cleanup(func() { conn.Close() })
	unstick := time.AfterFunc(patience, func() { conn.Close() })
	defer unstick.Stop()
	buf := make([]byte, 20<<10)
	var next uint16
	for i := range n {
		size, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if size > maxPacket {
			t.Fatalf("packet %d has %d bytes", i, size)
		}
		seq := uint16(buf[2])<<8 | uint16(buf[3])
		if i > 0 && seq != next {
			t.Fatalf("packet %d has sequence number %d, not %d", i, seq, next)
		}
		next = seq + 1
	}
	return conn
}

// Plain ffmpeg tries UDP first and must come to TCP by itself.
func TestPlainFFmpegPublishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish(t, w.url, x264...)
	c := w.watch(t, "main", 200)
	if sdp := string(c.SDP()); strings.Count(sdp, "m=") != 1 || !strings.Contains(sdp, "sprop-parameter-sets=") {
		t.Errorf("SDP:\n%s", sdp)
	}
}

func TestLargePacketsAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish(t, w.url, append([]string{"-rtsp_transport", "tcp", "-pkt_size", "4000", "-b:v", "20M"}, x264...)...)
	w.watch(t, "main", 1000)
}

func TestStreamByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish(t, w.url+"/sub", append([]string{"-rtsp_transport", "tcp"}, x264...)...)
	w.watch(t, "sub", 50)
}

// A killed app must be an end of stream for the forwarder, not a stall.
func TestPublisherThatDiesIsEndOfStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := publish(t, w.url, x264...)
	w.watch(t, "main", 50)
	killed := time.Now()
	f.kill()
	lost := w.await(t, "lost source", func(m orders.Message) bool { return m.Lost != nil }).Lost
	if lost.Cause != orders.CauseEOF || lost.Stream != "main" {
		t.Errorf("lost: %+v", lost)
	}
	t.Logf("known to the forwarder %v after the kill", time.Since(killed))
	publish(t, w.url, x264...) // the stream is free again
	w.log.await(t, `publisher left`)
}

// A version that is frozen for longer than any usual timeout goes on where it was.
func TestPublisherThatIsFrozen(t *testing.T) {
	t.Parallel()
	const frozen = 11 * time.Second // the library's own limit is 10
	w := newWorld(t)
	f := publish(t, w.url, append([]string{"-rtsp_transport", "tcp"}, x264...)...)
	w.watch(t, "main", 50)
	if err := f.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	silence := time.After(frozen)
	for over := false; !over; {
		select {
		case m := <-w.events:
			if m.Lost != nil {
				t.Fatalf("while it was frozen: %+v", m.Lost)
			}
		case <-silence:
			over = true
		}
	}
	if err := f.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.watch(t, "main", 50)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		path    string
		options []string
		says    []string
	}{
		{"a wrong secret", "0", x264, []string{"wrong secret or names no declared stream"}},
		{"a stream that is not declared", "/other", x264, []string{"wrong secret or names no declared stream"}},
		{"B-frames", "", slices.Concat([]string{"-c:v", "libx264", "-preset", "medium", "-bf", "2", "-pix_fmt", "yuv420p"}),
			[]string{"B-frames", "-bf 0"}},
		{"another codec", "", []string{"-c:v", "mpeg4"}, []string{"MPEG-4 Video", "publish H.264, H.265 or MJPEG"}},
		{"audio beside the video", "", slices.Concat([]string{"-f", "lavfi", "-i", "sine", "-c:a", "aac"}, x264),
			[]string{"mpeg-4 audio", `\"codec\": \"aac\"`, "-an"}},
		{"RTP over UDP alone", "", append([]string{"-rtsp_transport", "udp"}, x264...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			f := publish(t, w.url+c.path, c.options...)
			w.log.await(t, c.says...)
			f.fails(t)
		})
	}
}

func TestSecondPublisherIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish(t, w.url, x264...)
	w.watch(t, "main", 50)
	publish(t, w.url, x264...).fails(t)
	w.log.await(t, "has a publisher already")
	w.watch(t, "main", 50)
}

// The path's secret must not appear in the log that the app's technician sends around.
func TestLogKeepsTheSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	publish(t, w.url+"/other", x264...).fails(t)
	w.log.await(t, "refused")
	if strings.Contains(w.log.text.String(), secret) {
		t.Errorf("log:\n%s", w.log.text.String())
	}
}

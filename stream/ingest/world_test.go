package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/stream/core"
	"slipstream/stream/ingest"
	"slipstream/stream/orders"
)

// patience bounds every wait of these tests; the machines are busy.
const patience = time.Minute

const secret = "0f3c9b27"

// world is a real forwarder that expects source a-1, and an ingest before it.
type world struct {
	url    string              // of the first stream
	viewer string              // the forwarder's viewer socket
	log    *logBuffer          // the ingest's
	events chan orders.Message // the forwarder's
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, orders.Stream{Name: "main", Codec: orders.H264}, orders.Stream{Name: "sub", Codec: orders.H264})
}

func newWorldOf(t *testing.T, streams ...orders.Stream) *world {
	t.Helper()
	run, err := os.MkdirTemp("", "ing") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	w := &world{viewer: filepath.Join(run, "viewers.sock"), log: &logBuffer{}, events: make(chan orders.Message, 100)}
	forwarder, err := core.New(core.Config{Run: run}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	background(t, forwarder.Run)
	w.order(t, filepath.Join(run, "orders.sock"), streams)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "rtsp://" + ln.Addr().String() + "/" + secret
	c := ingest.Config{Publish: filepath.Join(run, "pub", "a-1.sock"), Secret: secret}
	for _, s := range streams {
		c.Streams = append(c.Streams, ingest.Stream{Name: s.Name, Audio: s.Audio})
	}
	s, err := ingest.New(ln, c, slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	background(t, s.Run)
	return w
}

// background runs a service until the test ends.
func background(t *testing.T, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Errorf("service ended with %v", err)
		}
	})
}

// order tells the forwarder what to expect, as the agent does.
func (w *world) order(t *testing.T, socket string, streams []orders.Stream) {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	body, err := json.Marshal(orders.Request{Req: 1, Orders: &orders.Orders{
		Permanent: "a-1",
		Sources:   []orders.Source{{ID: "a-1", Version: "1", UID: -1, Streams: streams}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(body); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, orders.MaxMessage)
		for {
			n, err := conn.Read(buf)
			if err != nil || n == 0 {
				return
			}
			var m orders.Message
			if json.Unmarshal(buf[:n], &m) == nil {
				w.events <- m
			}
		}
	}()
	w.await(t, "answer to the orders", func(m orders.Message) bool { return m.Req == 1 && m.Result == orders.ResultOK })
}

func (w *world) await(t *testing.T, what string, match func(orders.Message) bool) orders.Message {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-w.events:
			if match(m) {
				return m
			}
		case <-timeout:
			t.Fatalf("the forwarder sent no %s", what)
		}
	}
}

// logBuffer is a log that can be waited for.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.text.Write(p)
}

// await waits until the log contains each of the texts.
func (b *logBuffer) await(t *testing.T, texts ...string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		got := b.text.String()
		more := make(chan struct{})
		if b.more == nil {
			b.more = more
		} else {
			more = b.more
		}
		b.mu.Unlock()
		if !lacks(got, texts) {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("log lacks one of %q:\n%s", texts, got)
		}
	}
}

func lacks(got string, texts []string) bool {
	for _, want := range texts {
		if !strings.Contains(got, want) {
			return true
		}
	}
	return false
}

// program is a running publisher: ffmpeg or GStreamer.
type program struct {
	cmd    *exec.Cmd
	stderr logBuffer
	done   chan error
}

// publish starts ffmpeg with a test picture; the encoder's and output's options
// come before the URL.
func publish(t *testing.T, url string, options ...string) *program {
	t.Helper()
	args := append([]string{"-hide_banner", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"}, options...)
	return start(t, "ffmpeg", append(args, "-f", "rtsp", url)...)
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	f := &program{cmd: exec.Command(name, args...), done: make(chan error, 1)}
	f.cmd.Stderr = &f.stderr
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { f.done <- f.cmd.Wait() }()
	t.Cleanup(f.kill)
	return f
}

func (f *program) kill() {
	f.cmd.Process.Kill()
	err := <-f.done
	f.done <- err
}

// fails waits for ffmpeg to end by itself with an error.
func (f *program) fails(t *testing.T) {
	t.Helper()
	select {
	case err := <-f.done:
		f.done <- err
		if err == nil {
			t.Error("the publisher ended without an error")
		}
	case <-time.After(patience):
		t.Fatal("the publisher goes on")
	}
}

var x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "15", "-pix_fmt", "yuv420p"}

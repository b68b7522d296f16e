package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipstream/stream/core"
	"slipstream/stream/gateway"
	"slipstream/stream/ingest"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// patience bounds every wait of these tests; the machines are busy.
const patience = time.Minute

// world is a real forwarder and a gateway before it.
type world struct {
	run     string
	gateway *gateway.Gateway
	stop    func()     // ends it
	log     *logBuffer // the gateway's
	whep    string     // URL of stream main
	rtsp    string     // URL of stream main

	agent  *orders.Conn // to the forwarder of now
	req    uint64
	trials int
}

func newWorld(t *testing.T, change ...func(*gateway.Config)) *world {
	t.Helper()
	w := newStage(t)
	cfg := gateway.Config{Run: w.run, HTTP: "127.0.0.1:0", RTSP: "127.0.0.1:0", UDP: "127.0.0.1:0", Public: true}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.gateway, err = gateway.New(cfg, slog.New(slog.NewTextHandler(w.log, nil))); err != nil {
		t.Fatal(err)
	}
	w.stop = background(t, w.gateway.Run)
	w.whep = "http://" + w.gateway.HTTPAddr().String() + "/whep/main"
	w.rtsp = "rtsp://" + w.gateway.RTSPAddr().String() + "/main"
	return w
}

// newStage is a world without a gateway.
func newStage(t *testing.T) *world {
	t.Helper()
	run, err := os.MkdirTemp("", "gw") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	return &world{run: run, log: &logBuffer{}}
}

// background runs a service until the returned function is called or the test ends.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("service ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("service does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// consent is how long the tests' forwarder keeps a viewer of which it hears
// nothing. pion checks every two seconds.
const consent = 6 * time.Second

// forward starts a forwarder that expects source a-1 with stream main, and
// returns what ends it.
func (w *world) forward(t *testing.T) (stop func()) {
	t.Helper()
	c, err := core.New(core.Config{Run: w.run, Consent: consent}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, c.Run)
	if w.agent, err = orders.Dial(filepath.Join(w.run, "orders.sock")); err != nil {
		t.Fatal(err)
	}
	agent := w.agent
	t.Cleanup(func() { agent.Close() })
	w.ask(t, orders.Request{Orders: &orders.Orders{Permanent: "a-1", Sources: sources("a-1")}}, orders.ResultOK)
	return stop
}

// sources declares sources with stream main.
func sources(ids ...orders.SourceID) (out []orders.Source) {
	for _, id := range ids {
		out = append(out, orders.Source{ID: id, Version: "1", UID: -1, Streams: []orders.Stream{{Name: "main", Codec: "h264"}}})
	}
	return out
}

// ask gives the forwarder a request and waits for its answer.
func (w *world) ask(t *testing.T, r orders.Request, result string) orders.Message {
	t.Helper()
	w.req++
	r.Req = w.req
	if err := w.agent.Send(r); err != nil {
		t.Fatal(err)
	}
	m := w.hear(t, func(m orders.Message) bool { return m.Req == w.req })
	if m.Result != result {
		t.Fatalf("%+v: %+v", r, m)
	}
	return m
}

// viewers is how many the forwarder has.
func (w *world) viewers(t *testing.T) int {
	t.Helper()
	return w.ask(t, orders.Request{Status: true}, orders.ResultOK).Status.Streams[0].Viewers
}

// hear waits for a message of the forwarder.
func (w *world) hear(t *testing.T, match func(orders.Message) bool) orders.Message {
	t.Helper()
	agent := w.agent
	stuck := time.AfterFunc(patience, func() { agent.Close() })
	defer stuck.Stop()
	for {
		m, err := w.agent.Receive()
		if err != nil {
			t.Fatalf("forwarder: %v", err)
		}
		if match(m) {
			return m
		}
	}
}

// swap brings viewers to a new source and back again.
func (w *world) swap(t *testing.T) {
	t.Helper()
	w.trials++
	trial, source := orders.TrialID(fmt.Sprint("t-", w.trials)), orders.SourceID(fmt.Sprint("b-", w.trials))
	w.ask(t, orders.Request{Orders: &orders.Orders{
		Permanent: "a-1", Sources: sources("a-1", source),
		Trial: &orders.Trial{ID: trial, Source: source, Deadline: int64(publish.Monotonic() + time.Minute)},
	}}, orders.ResultOK)
	stop := w.publishAs(t, source)
	w.hear(t, func(m orders.Message) bool { return m.Switch != nil })
	w.ask(t, orders.Request{Revert: &orders.Revert{Trial: trial, Reason: "operator"}}, orders.ResultReverted)
	stop()
}

func (w *world) publishSocket() string { return filepath.Join(w.run, "pub", "a-1.sock") }

// publish runs ffmpeg and an ingest as the stream's source, waits for the first
// picture, and returns what ends ffmpeg.
func (w *world) publish(t *testing.T, options ...string) (stop func()) {
	t.Helper()
	stop = w.publishAs(t, "a-1", options...)
	w.awaitPicture(t)
	return stop
}

func (w *world) publishAs(t *testing.T, source orders.SourceID, options ...string) (stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(w.run, "pub", string(source)+".sock")
	in, err := ingest.New(ln, ingest.Config{Publish: to, Streams: []ingest.Stream{{Name: "main"}}, Secret: "s"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	background(t, in.Run)
	args := append([]string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "15", "-pix_fmt", "yuv420p"}, options...)
	cmd := exec.Command("ffmpeg", append(args, "-f", "rtsp", "rtsp://"+ln.Addr().String()+"/s")...)
	// No parent-death signal: it follows the thread that started the child, and the
	// forwarder, which runs in here, ends threads. ffmpeg ends with its connection.
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(stop)
	return stop
}

// awaitPicture returns once the forwarder sends the stream.
func (w *world) awaitPicture(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		c, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", nil)
		if err == nil {
			unstick := time.AfterFunc(time.Until(deadline), func() { c.Close() })
			_, err = c.Read(make([]byte, 20<<10))
			unstick.Stop()
			c.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no picture: %v", err)
		}
		<-time.After(20 * time.Millisecond)
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

// forget drops what was logged so far.
func (b *logBuffer) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

// await waits until the log contains text.
func (b *logBuffer) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		if bytes.Contains(b.text.Bytes(), []byte(text)) {
			b.mu.Unlock()
			return
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("log lacks %q:\n%s", text, b.text.String())
		}
	}
}

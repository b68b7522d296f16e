package publish_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/stream/core"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

const (
	patience = 20 * time.Second
	film     = "../../testrig/camera/clips/v1.h264"
)

// compile runs a compiler that make test has installed.
func compile(t *testing.T, compiler string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		t.Fatalf("%s is missing: apt-get install gcc g++ libc6-dev", compiler)
	}
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%s: %v\n%s", compiler, err, out)
	}
}

func TestHeaderCompilesAsCPlusPlus(t *testing.T) {
	source := filepath.Join(t.TempDir(), "app.cc")
	app := "#include \"slipstream.h\"\nint main() { slipstream s; return slipstream_open(&s, \"x\", \"main\", \"\") + slipstream_sound(&s, \"x\", 1, 0); }\n"
	if err := os.WriteFile(source, []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	compile(t, "g++", "-Wall", "-Wextra", "-Werror", "-Ic", "-pthread", "-o", filepath.Join(t.TempDir(), "app"), source)
}

// forwarder is a real core with the agent's connection to it.
type forwarder struct {
	run    string
	agent  *orders.Conn
	events chan orders.Message
}

func newForwarder(t *testing.T, ignore ...string) *forwarder {
	t.Helper()
	run, err := os.MkdirTemp("", "fwd") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	c, err := core.New(core.Config{Run: run, Ignore: ignore}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("core ended with %v", err)
		}
	})
	f := &forwarder{run: run, events: make(chan orders.Message, 100)}
	if f.agent, err = orders.Dial(filepath.Join(run, "orders.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.agent.Close() })
	go func() {
		defer close(f.events)
		for {
			m, err := f.agent.Receive()
			if err != nil {
				return
			}
			f.events <- m
		}
	}()
	return f
}

func (f *forwarder) await(t *testing.T, what string, match func(orders.Message) bool) orders.Message {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m, ok := <-f.events:
			if !ok {
				t.Fatalf("the connection ended while waiting for %s", what)
			}
			if match(m) {
				return m
			}
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

// order declares one source c-1 with stream main, and more.
func (f *forwarder) order(t *testing.T, more ...orders.Stream) {
	t.Helper()
	o := orders.Orders{Permanent: "c-1", Sources: []orders.Source{{
		ID: "c-1", UID: -1, Streams: append([]orders.Stream{{Name: "main", Codec: "h264"}}, more...),
	}}}
	if err := f.agent.Send(orders.Request{Req: 1, Orders: &o}); err != nil {
		t.Fatal(err)
	}
	if m := f.await(t, "answer to the orders", func(m orders.Message) bool { return m.Req == 1 }); m.Result != orders.ResultOK {
		t.Fatalf("orders: %+v", m)
	}
}

// view subscribes to main as soon as it is published.
func (f *forwarder) view(t *testing.T) *subscribe.Conn { return f.viewOf(t, "main") }

func (f *forwarder) viewOf(t *testing.T, stream string) *subscribe.Conn {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		v, err := subscribe.Dial(filepath.Join(f.run, "viewers.sock"), stream, nil)
		if err == nil {
			t.Cleanup(func() { v.Close() })
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// sample compiles the C camera and lets it play the film.
func (f *forwarder) sample(t *testing.T, more ...string) (camera *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "camera")
	compile(t, "gcc", "-Wall", "-Wextra", "-Werror", "-std=c99", "-O2", "-pthread", "-o", program, "c/sample.c")
	camera, log = exec.Command(program, append([]string{film, "30"}, more...)...), &bytes.Buffer{}
	camera.Env = append(os.Environ(), "SLIPSTREAM_PUBLISH="+filepath.Join(f.run, "pub", "c-1.sock"))
	camera.Stderr = log
	if err := camera.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { camera.Process.Kill(); camera.Wait() })
	return camera, log
}

// pictures reads whole access units and gives back their NAL units.
func pictures(t *testing.T, v *subscribe.Conn, count int) (nals [][]byte) {
	t.Helper()
	timeout := time.AfterFunc(patience, func() { v.Close() })
	defer timeout.Stop()
	buf := make([]byte, 20<<10)
	var open []byte
	var nextSeq uint16
	for first := true; count > 0; first = false {
		n, err := v.Read(buf)
		if err != nil {
			t.Fatalf("%d pictures were still to come: %v", count, err)
		}
		seq, payload := binary.BigEndian.Uint16(buf[2:]), buf[12:n]
		if !first && seq != nextSeq {
			t.Fatalf("sequence %d instead of %d", seq, nextSeq)
		}
		nextSeq = seq + 1
		if payload[0]&0x1f != 28 {
			nals = append(nals, bytes.Clone(payload))
		} else if start, end := payload[1]&0x80 != 0, payload[1]&0x40 != 0; start == (open != nil) {
			t.Fatal("a NAL unit that has no beginning or no end")
		} else {
			if start {
				open = []byte{payload[0]&0xe0 | payload[1]&0x1f}
			}
			open = append(open, payload[2:]...)
			if end {
				nals, open = append(nals, open), nil
			}
		}
		if buf[1]&0x80 != 0 {
			if open != nil {
				t.Fatal("half a picture")
			}
			count--
		}
	}
	return nals
}

// TestSampleInC publishes a film from C, compares what viewers get with it byte
// by byte, and kills the app: its lock alone must tell.
func TestSampleInC(t *testing.T) {
	data, err := os.ReadFile(film)
	if err != nil {
		t.Fatal(err)
	}
	inFilm := map[string]bool{}
	for nal := range bytes.SplitSeq(data, []byte{0, 0, 1}) {
		inFilm[string(bytes.TrimRight(nal, "\x00"))] = true
	}
	f := newForwarder(t, orders.ByEOF, orders.ByPidfd, orders.ByStall)
	f.order(t)
	camera, log := f.sample(t)
	v := f.view(t)
	keys, slices, largest := 0, 0, 0
	for _, nal := range pictures(t, v, 60) {
		if !inFilm[string(nal)] {
			t.Fatalf("a NAL unit of type %d with %d bytes is not in the film", nal[0]&0x1f, len(nal))
		}
		largest = max(largest, len(nal))
		switch nal[0] & 0x1f {
		case 5:
			keys++
			slices++
		case 1:
			slices++
		}
	}
	if slices != 60 || keys < 5 {
		t.Errorf("%d pictures, %d of them key frames", slices, keys)
	}
	if largest <= 1188 {
		t.Errorf("no NAL unit over %d bytes: fragmentation is not tested", largest)
	}
	camera.Process.Kill()
	lost := f.await(t, "death", func(m orders.Message) bool { return m.Lost != nil }).Lost
	if lost.Cause != orders.CauseExit || lost.By != orders.ByFutex || lost.Stream != "main" {
		t.Errorf("%+v", lost)
	}
	if camera.Wait(); log.Len() > 0 {
		t.Errorf("the camera complains: %s", log)
	}
}

// The sample's sound comes in packets of 20 ms that follow each other to the sample,
// captured a little before they come.
func TestSoundInC(t *testing.T) {
	f := newForwarder(t)
	f.order(t, orders.Stream{Name: "mic", Codec: orders.PCMU})
	_, log := f.sample(t, "mic")
	v := f.viewOf(t, "mic")
	defer time.AfterFunc(patience, func() { v.Close() }).Stop()
	const rate, packet = 8000, 160
	milliwatt := bytes.Repeat([]byte{0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e}, packet/8)
	var before uint32
	buf := make([]byte, 20<<10)
	for i := range 75 { // its clock is told twice
		n, err := v.Read(buf)
		if err != nil {
			t.Fatalf("packet %d: %v, %s", i, err, log)
		}
		now := v.TimeBase() + uint32(int64(publish.Monotonic())/1000*rate/1e6)
		ts := binary.BigEndian.Uint32(buf[4:])
		if i > 0 && ts != before+packet {
			t.Errorf("packet %d begins %d samples after the one before", i, ts-before)
		}
		if ago := int32(now - ts); ago < packet || ago > 5*rate {
			t.Errorf("packet %d was captured %d samples ago", i, ago)
		}
		if before = ts; !bytes.Equal(buf[12:n], milliwatt) {
			t.Fatalf("packet %d: %x", i, buf[12:n])
		}
	}
}

// A camera that was cut off says so and comes back.
func TestSampleInCComesBack(t *testing.T) {
	f := newForwarder(t)
	f.order(t)
	camera, log := f.sample(t)
	pictures(t, f.view(t), 5)
	if err := f.agent.Send(orders.Request{Req: 2, Orders: &orders.Orders{}}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "answer", func(m orders.Message) bool { return m.Req == 2 })
	f.order(t)
	pictures(t, f.view(t), 5)
	camera.Process.Kill()
	if err := camera.Wait(); err == nil || !strings.Contains(log.String(), "camera: ") {
		t.Errorf("%v, log %q", err, log)
	}
	f.await(t, "death", func(m orders.Message) bool { return m.Lost != nil })
}

package camera_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// patience bounds every wait.
const patience = time.Minute

// TestMain lets the test binary be the camera, so that faults hit a process of
// their own.
func TestMain(m *testing.M) {
	if os.Getenv("CAMERA_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cam, err := camera.New(camera.Environ(), os.Stdout, log)
	if err != nil {
		log.Error("camera", "err", err)
		os.Exit(3)
	}
	cam.Run(context.Background())
}

// slot makes a slot's root and the sockets that an app is given.
func slot(t *testing.T, config string) camera.Env {
	root := writeConfig(t, config)
	film, err := clips.Of("1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, film.File), film.Data(), 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cam") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return camera.Env{
		Root:         root,
		Publish:      filepath.Join(dir, "pub"),
		Greenlight:   filepath.Join(dir, "greenlight"),
		NotifySocket: filepath.Join(dir, "notify"),
	}
}

// forwarder accepts publishers on a real socket; each connection's messages,
// the hello first, come over its own channel.
func forwarder(t *testing.T, path string) <-chan *publisher {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan *publisher, 8)
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			p := &publisher{conn, make(chan []byte, 10000)}
			go p.read()
			conn.Write([]byte{publish.MsgAccepted})
			accepted <- p
		}
	}()
	return accepted
}

type publisher struct {
	conn     *net.UnixConn
	messages chan []byte
}

func (p *publisher) read() {
	defer close(p.messages)
	for {
		buf := make([]byte, publish.MaxHello)
		n, err := p.conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		p.messages <- buf[:n]
	}
}

func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatalf("end of stream instead of %s", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
	}
	panic("unreachable")
}

// unit reads packets up to the marker, and the clock messages before them.
func unit(t *testing.T, p *publisher) (stamp camera.Stamp, packets []*rtp.Packet, clock []byte) {
	t.Helper()
	for {
		msg := next(t, p.messages, "packet")
		if msg[0] == publish.MsgClock {
			clock = msg
			continue
		}
		pkt := &rtp.Packet{}
		if err := pkt.Unmarshal(msg); err != nil {
			t.Fatal(err)
		}
		packets = append(packets, pkt)
		for _, nalu := range stapA(pkt.Payload) {
			if s, ok := camera.ParseStamp(nalu); ok {
				stamp = s
			}
		}
		if pkt.Marker {
			return stamp, packets, clock
		}
	}
}

func stapA(payload []byte) [][]byte {
	if payload[0]&0x1f != 24 {
		return [][]byte{payload}
	}
	var nalus [][]byte
	for payload = payload[1:]; len(payload) > 2; {
		size := binary.BigEndian.Uint16(payload)
		nalus = append(nalus, payload[2:2+size])
		payload = payload[2+size:]
	}
	return nalus
}

// start runs a camera until the test ends or stop is called.
func start(t *testing.T, env camera.Env) (stop func()) {
	cam, err := camera.New(env, &bytes.Buffer{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); cam.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func notifications(t *testing.T, path string) <-chan string {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch := make(chan string, 100)
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			ch <- string(buf[:n])
		}
	}()
	return ch
}

func TestCameraPlaysTheSceneFromAKeyFrameOn(t *testing.T) {
	env := slot(t, goodConfig)
	publishers, notes := forwarder(t, env.Publish), notifications(t, env.NotifySocket)
	t.Setenv("WATCHDOG_USEC", "300000")
	start(t, env)

	p := next(t, publishers, "publisher")
	hello := next(t, p.messages, "hello")
	if !bytes.HasPrefix(hello, []byte("Smain\nv=0\r\n")) {
		t.Fatalf("hello %q", hello)
	}
	first, packets, clock := unit(t, p)
	if first.Counter%10 != 0 || first.Version != "1.0" || first.Captured != camera.FrameTime(first.Counter) {
		t.Fatalf("the first frame is %v of %v, not a key frame of the scene", first, first.Captured)
	}
	if clock == nil || binary.BigEndian.Uint32(clock[1:]) != packets[0].Timestamp || time.Duration(binary.BigEndian.Uint64(clock[5:])) != first.Captured {
		t.Fatalf("clock %x does not belong to frame %v", clock, first)
	}
	for !strings.HasPrefix(next(t, notes, "READY=1"), "READY=1") {
	}
	sawClock := false
	last, lastSeq, lastTS := first, packets[len(packets)-1].SequenceNumber, packets[0].Timestamp
	for range 45 {
		got, packets, clock := unit(t, p)
		sawClock = sawClock || clock != nil
		if got.Counter != last.Counter+1 || packets[0].SequenceNumber != lastSeq+1 || packets[0].Timestamp != lastTS+3000 {
			t.Fatalf("after %v (seq %d, ts %d) comes %v (%d, %d)", last, lastSeq, lastTS, got, packets[0].SequenceNumber, packets[0].Timestamp)
		}
		for _, pkt := range packets {
			if pkt.MarshalSize() > 1200 {
				t.Fatalf("packet of %d bytes", pkt.MarshalSize())
			}
		}
		last, lastSeq, lastTS = got, packets[len(packets)-1].SequenceNumber, packets[0].Timestamp
	}
	if !sawClock {
		t.Error("no capture clock within 45 frames")
	}
	for next(t, notes, "WATCHDOG=1") != "WATCHDOG=1" {
	}
	if _, err := os.Stat(env.Greenlight); err != nil {
		t.Errorf("self-test of 100 ms is over: %v", err)
	}
}

func TestCameraDialsAgainWhenTheForwarderGoesAway(t *testing.T) {
	env := slot(t, goodConfig)
	env.NotifySocket = ""
	publishers := forwarder(t, env.Publish)
	start(t, env)
	for range 2 {
		p := next(t, publishers, "publisher")
		next(t, p.messages, "hello")
		if s, _, _ := unit(t, p); s.Counter%10 != 0 {
			t.Fatalf("starts with %v, which is no key frame", s)
		}
		p.conn.Close()
	}
}

// child runs a camera with a fault in a process of its own, behind a forwarder.
func child(t *testing.T, fault string) (*exec.Cmd, *publisher, <-chan []byte) {
	env := slot(t, strings.Replace(goodConfig, `{"kind":"none"}`, fault, 1))
	publishers := forwarder(t, env.Publish)
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"CAMERA_TEST_CHILD=1", "SLIPSTREAM_ROOT=" + env.Root, "SLIPSTREAM_PUBLISH=" + env.Publish}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may become several
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 4096)
		n, _ := stdout.Read(buf)
		lines <- buf[:n]
	}()
	p := next(t, publishers, "publisher")
	next(t, p.messages, "hello")
	return cmd, p, lines
}

func TestFaultsEndTheProcessAsTheySay(t *testing.T) {
	for kind, check := range map[string]func(syscall.WaitStatus) bool{
		camera.FaultExit: func(s syscall.WaitStatus) bool { return s.Exited() && s.ExitStatus() == 1 },
		camera.FaultSEGV: func(s syscall.WaitStatus) bool { return s.Signaled() && s.Signal() == syscall.SIGSEGV },
	} {
		before := publish.Monotonic()
		cmd, _, lines := child(t, `{"kind":"`+kind+`","afterMs":50}`)
		var said struct {
			Fault string
			Mono  int64
		}
		if err := json.Unmarshal(next(t, lines, "line about the fault"), &said); err != nil {
			t.Fatal(err)
		}
		if said.Fault != kind || time.Duration(said.Mono) < before || time.Duration(said.Mono) > publish.Monotonic() {
			t.Errorf("%s: said %+v", kind, said)
		}
		cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !check(status) {
			t.Errorf("%s: ended with %v", kind, cmd.ProcessState)
		}
	}
}

func TestHangStopsFramesAndKeepsTheSocket(t *testing.T) {
	for _, kind := range []string{camera.FaultHang, camera.FaultStopSending} {
		_, p, lines := child(t, `{"kind":"`+kind+`","afterMs":50}`)
		next(t, lines, "line about the fault")
		quiet := 10 * time.Second / camera.FrameRate
		for silent := false; !silent; {
			select {
			case _, ok := <-p.messages:
				if !ok {
					t.Fatalf("%s: the socket closed", kind)
				}
			case <-time.After(quiet):
				silent = true
			}
		}
	}
}

func TestGrowTakesItsMemory(t *testing.T) {
	cmd, _, lines := child(t, `{"kind":"grow","afterMs":10,"megabytes":64}`)
	next(t, lines, "line about the fault")
	limit, poll := time.After(patience), time.Tick(20*time.Millisecond)
	for rss(t, cmd.Process.Pid) < 64<<20 {
		select {
		case <-poll:
		case <-limit:
			t.Fatalf("still at %d bytes", rss(t, cmd.Process.Pid))
		}
	}
}

// A bomb that nothing else stops ends at what its configuration says.
func TestForkDoublesToItsNumber(t *testing.T) {
	cmd, _, lines := child(t, `{"kind":"fork","afterMs":10,"processes":8}`)
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	next(t, lines, "line about the fault")
	limit, poll := time.After(patience), time.Tick(20*time.Millisecond)
	for n := 0; n != 8; n = groupSize(t, cmd.Process.Pid) {
		select {
		case <-poll:
		case <-limit:
			t.Fatalf("%d processes", n)
		}
	}
}

// groupSize counts the processes of a group.
func groupSize(t *testing.T, group int) (n int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, _ := os.ReadFile(path) // it may have ended
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == itoa(group) { // state, parent, group
			n++
		}
	}
	return n
}

func TestSpinKeepsProcessorsBusy(t *testing.T) {
	cmd, p, lines := child(t, `{"kind":"spin","afterMs":10}`)
	next(t, lines, "line about the fault")
	limit, poll := time.After(patience), time.Tick(20*time.Millisecond)
	for running := 0; running < 2; running = threadsRunning(t, cmd.Process.Pid) {
		select {
		case <-poll:
		case <-p.messages: // it goes on
		case <-limit:
			t.Fatalf("%d threads are busy", running)
		}
	}
}

// threadsRunning counts those of a process that do not wait for anything.
func threadsRunning(t *testing.T, pid int) (n int) {
	stats, err := filepath.Glob("/proc/" + itoa(pid) + "/task/*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, _ := os.ReadFile(path) // it may have ended
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "R") {
			n++
		}
	}
	return n
}

func rss(t *testing.T, pid int) int64 {
	data, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(data, []byte("VmRSS:"))
	fields := bytes.Fields(after)
	var kb int64
	for _, c := range fields[0] {
		kb = kb*10 + int64(c-'0')
	}
	return kb << 10
}

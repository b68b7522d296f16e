package testrig_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/verify"
)

// visitorVar makes this program an app's helper, which tells what the app was given and
// who waits at its socket, and stores descriptors and a state.
const visitorVar = "SLIPSTREAM_TEST_VISITOR"

func TestMain(m *testing.M) {
	if out := os.Getenv(visitorVar); out != "" {
		if err := visit(out); err != nil {
			fmt.Fprintln(os.Stderr, "visitor:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func visit(out string) error {
	line := os.Getenv("SLIPSTREAM_VERSION") + ":"
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		f := os.NewFile(uintptr(3+i), name)
		said := ""
		switch name {
		case "":
			continue
		case "web":
			said = waiting(f)
		default:
			raw, err := io.ReadAll(io.NewSectionReader(f, 0, 1000))
			if err != nil {
				return err
			}
			said = string(raw)
		}
		line += fmt.Sprintf(" %s=%q", name, said)
	}
	for _, name := range []string{"note", "state"} {
		if err := storeWord(name, os.Getenv("SLIPSTREAM_VERSION")+" "+name); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

// waiting is what those say who wait at a listening socket.
func waiting(f *os.File) (said string) {
	l, err := net.FileListener(f)
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	for {
		l.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
		conn, err := l.Accept()
		if err != nil {
			return said
		}
		raw, _ := io.ReadAll(conn) // what came, came
		conn.Close()
		said += string(raw)
	}
}

// storeWord stores a sealed memfd, and waits until the agent has it.
func storeWord(name, word string) error {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(word)); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	heard, barrier, err := os.Pipe()
	if err != nil {
		return err
	}
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	if err := unix.Sendmsg(socket, []byte("FDSTORE=1\nFDNAME="+name), unix.UnixRights(fd), to, 0); err != nil {
		return err
	}
	if err := unix.Sendmsg(socket, []byte("BARRIER=1"), unix.UnixRights(int(barrier.Fd())), to, 0); err != nil {
		return err
	}
	barrier.Close()
	_, err = io.Copy(io.Discard, heard)
	return err
}

// visited is a release whose app tells in a file what it was given, and listens.
func visited(t *testing.T, version, address, out string) device.Release {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rel := release(version)
	rel.Before = visitorVar + "=" + out + " " + self
	rel.App.Listen = []verify.Listen{{Name: "web", Network: "tcp", Address: address}}
	rel.App.State = &verify.State{Schema: "word"}
	return rel
}

// The agent is killed, and then the app: nobody but the forwarder has what the app had
// stored, and its socket with those who wait there. The next run gets all of it, and a
// new version as well.
func TestKilledAgentLosesNoDescriptor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, out := l.Addr().String(), filepath.Join(r.Config.State, "shared", "visits")
	l.Close()
	var lines []string
	told := func(want string) {
		t.Helper()
		raw, err := os.ReadFile(out)
		for end := time.Now().Add(patience); err != nil || strings.Count(string(raw), "\n") <= len(lines); raw, err = os.ReadFile(out) {
			if time.Now().After(end) {
				t.Fatalf("the app did not come to tell %q", want)
			}
			<-time.After(10 * time.Millisecond)
		}
		lines = strings.Split(strings.TrimSpace(string(raw)), "\n")
		if got := lines[len(lines)-1]; got != want {
			t.Errorf("it told %q, want %q", got, want)
		}
	}
	knock := func(word string) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_, err = conn.Write([]byte(word))
		}
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	r.mustBecome(r.build(visited(t, "1.0", address, out)))
	told(`1.0.0: web=""`)
	v := r.watch("1.0")
	for range 2 {
		from := publish.Monotonic()
		s, err := r.Client.Status(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		app := s.Slots[slices.IndexFunc(s.Slots, func(s control.Slot) bool { return s.PID != 0 })].PID
		if err := r.KillAgent(); err != nil {
			t.Fatal(err)
		}
		knock("first,")
		if err := syscall.Kill(app, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitGone(t, app)
		knock("second")
		if err := r.StartAgent(r.ctx); err != nil {
			t.Fatal(err)
		}
		told(`1.0.0: web="first,second" note="1.0.0 note" state="1.0.0 state"`)
		r.sees(v, "1.0", from)
	}
	ready(t, r) // one that is still on its way up would end with the agent, and its next run hear the third
	if err := r.KillAgent(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	knock("third")
	r.mustBecome(r.build(visited(t, "2.0", address, out)))
	told(`2.0.0: web="third" note="1.0.0 note" state="1.0.0 state"`)
}

// ready waits until the agent has heard the permanent version's READY=1.
func ready(t *testing.T, r *rig) {
	t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		s, err := r.Client.Status(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(s.Slots, func(s control.Slot) bool { return s.App == "ready" }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the app does not become ready: %+v", s.Slots)
		}
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; {
		if time.Now().After(end) {
			t.Fatalf("process %d does not end", pid)
		}
		<-time.After(time.Millisecond)
	}
}

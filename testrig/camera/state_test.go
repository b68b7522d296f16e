package camera_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/control"
	"slipstream/testrig/camera"
)

// memfd is an open one with this content, at its beginning.
func memfd(t *testing.T, content []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "state")
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// inherits runs a camera that is handed something over, behind a forwarder and an agent.
func inherits(t *testing.T, content []byte) (p *publisher, stored <-chan []byte) {
	t.Helper()
	env := slot(t, strings.Replace(goodConfig, `"version"`, `"state":true,"version"`, 1))
	publishers := forwarder(t, env.Publish)
	stored = states(t, env.NotifySocket)
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.ExtraFiles = []*os.File{memfd(t, nil), memfd(t, content)}
	cmd.Env = []string{
		"CAMERA_TEST_CHILD=1", "SLIPSTREAM_ROOT=" + env.Root, "SLIPSTREAM_PUBLISH=" + env.Publish, "NOTIFY_SOCKET=" + env.NotifySocket,
		"LISTEN_FDS=2", "LISTEN_FDNAMES=other:state", "SLIPSTREAM_STATE_SCHEMA=" + camera.StateSchema,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p = next(t, publishers, "publisher")
	next(t, p.messages, "hello")
	return p, stored
}

// states is the content of each sealed memfd that is stored as state.
func states(t *testing.T, path string) <-chan []byte {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	out := make(chan []byte, 100)
	go func() {
		buf, oob := make([]byte, 4096), make([]byte, 256)
		for {
			n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
			if err != nil {
				return
			}
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			if err != nil || len(messages) == 0 || string(buf[:n]) != "FDSTORE=1\nFDNAME=state" {
				continue
			}
			fds, err := unix.ParseUnixRights(&messages[0])
			if err != nil {
				continue
			}
			f := os.NewFile(uintptr(fds[0]), "state")
			content := make([]byte, 100)
			size, _ := f.ReadAt(content, 0) // its end
			if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err == nil && seals&(unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK) == unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK {
				out <- content[:size]
			}
			f.Close()
		}
	}()
	return out
}

// A version counts on from what it was given, and hands over what it has shown.
func TestCountGoesOnFromTheStateThatIsGiven(t *testing.T) {
	t.Parallel()
	given := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1000), 77)
	p, stored := inherits(t, given)
	counts := map[uint64]uint64{} // by scene
	var content []byte
	for i := uint64(1); content == nil; i++ {
		if i > 10*camera.FrameRate {
			t.Fatal("no state was handed over within 10 s")
		}
		s, _, _ := unit(t, p)
		if s.Count != 1000+i || s.Given != (camera.State{Count: 1000, Counter: 77}) {
			t.Fatalf("picture %d has the count %d and was given %+v", i, s.Count, s.Given)
		}
		counts[s.Counter] = s.Count
		select {
		case content = <-stored:
		default:
		}
	}
	at, count := binary.BigEndian.Uint64(content[8:]), binary.BigEndian.Uint64(content)
	for counts[at] == 0 { // it may be sent and not yet read
		s, _, _ := unit(t, p)
		counts[s.Counter] = s.Count
	}
	if len(content) != 16 || counts[at] != count {
		t.Errorf("handed over: %x, and at scene %d it showed %d", content, at, counts[at])
	}
}

// Half a state is none of the camera's: it ends, and is not tried again with it.
func TestCameraDoesNotBeginWithHalfAState(t *testing.T) {
	t.Parallel()
	env := slot(t, goodConfig)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.ExtraFiles = []*os.File{memfd(t, []byte("half"))}
	cmd.Env = []string{
		"CAMERA_TEST_CHILD=1", "SLIPSTREAM_ROOT=" + env.Root, "SLIPSTREAM_PUBLISH=" + env.Publish,
		"LISTEN_FDS=1", "LISTEN_FDNAMES=state", "SLIPSTREAM_STATE_SCHEMA=" + camera.StateSchema,
	}
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("read the state of 4 bytes")) {
		t.Errorf("%v: %s", err, out)
	}
}

// The agent's wish for a key frame is answered, and its word on the part is passed on.
func TestCameraHearsTheAgent(t *testing.T) {
	t.Parallel()
	env := slot(t, goodConfig)
	env.Control = filepath.Join(filepath.Dir(env.Publish), "control")
	publishers, notes := forwarder(t, env.Publish), notifications(t, env.NotifySocket)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: env.Control, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	start(t, env)
	l.SetDeadline(time.Now().Add(patience))
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := next(t, publishers, "publisher")
	next(t, p.messages, "hello")
	say := func(word string) {
		if _, err := conn.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	say(control.WordVersion + " " + control.Version)
	say(control.WordRole + " trial")
	for next(t, notes, "the part") != "STATUS=playing version 1.0, trial" {
	}
	for asked := range 3 {
		for key := true; key; { // not the one that comes by itself
			_, packets, _ := unit(t, p)
			key = isKey(packets)
		}
		say(control.WordKeyframe + " main")
		for i, key := 0, false; !key; i++ {
			_, packets, _ := unit(t, p)
			if key = isKey(packets); !key && i > 4+len(p.messages) {
				t.Fatalf("no key frame within %d frames of wish %d", i, asked)
			}
		}
	}
	say(control.WordCapture + " " + control.Hold)
	buf := make([]byte, control.MaxWord)
	conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "capture hold" {
		t.Errorf("a hold is answered by %q, %v", buf[:n], err)
	}
}

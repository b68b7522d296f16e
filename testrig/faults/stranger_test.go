package faults_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/stand"
)

// nobody is a user to whom nothing here belongs.
const nobody = 65534

// as runs a function on a thread that belongs to another user, which ends with it.
func as(t *testing.T, uid int, do func()) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no more use
		// The call of this thread alone, not of all as package unix has it.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		if errno != 0 {
			failed <- errno
			return
		}
		do()
		failed <- nil
	}()
	if err := <-failed; err != nil {
		t.Fatalf("become user %d: %v", uid, err)
	}
}

// say connects to a socket, sends a message, and returns what is answered: nothing
// if it was hung up.
func say(path string, message []byte) (answer []byte, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(int64(10 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, err
	}
	if err := unix.Send(fd, message, unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EPIPE) {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.ECONNRESET) {
		return nil, nil
	}
	return buf[:max(0, n)], err
}

// Another user of the device can open the forwarder's sockets, should their modes
// allow it, and is not heard: neither as an agent, nor as a gateway, nor as a
// successor, nor as the publisher of somebody else's stream.
func TestAnotherUserIsNotHeard(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	w, part, viewers := calm(t)
	theirs := stand.NewPart("b-1", "2.0", 0)
	theirs.Source.UID = 0 // root's
	w.Must(w.Order(w.Ctx, nil, part, theirs))
	from := publish.Monotonic()
	for _, open := range []string{w.Dir, w.Run, filepath.Join(w.Run, "pub")} {
		w.Must(os.Chmod(open, 0o755))
	}
	hello := append([]byte{publish.MsgStream}, stand.Stream+"\n"+string(stand.SDP)...)
	viewer := []byte(`{"describe":{"id":"x","stream":"main"}}`)
	for _, c := range []struct {
		name    string
		path    string
		message []byte
	}{
		{"as the agent", filepath.Join(w.Run, "orders.sock"), []byte(`{"req":1,"status":true}`)},
		{"as the gateway", filepath.Join(w.Run, handover.Socket), viewer},
		{"as a successor", filepath.Join(w.Run, "succession.sock"), []byte("F")},
		{"as root's publisher", w.Publish(theirs.Source.ID), hello},
	} {
		if _, err := os.Stat(c.path); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		w.Must(os.Chmod(c.path, 0o777))
		as(t, nobody, func() {
			answer, err := say(c.path, c.message)
			if err != nil || len(answer) > 0 && answer[0] != publish.MsgError {
				t.Errorf("%s: answered %q, %v", c.name, answer, err)
			}
		})
	}
	// The real ones were not displaced, and root's publisher is welcome.
	if _, err := w.Ask(w.Ctx, orders.Request{Status: true}); err != nil {
		t.Errorf("the agent's connection: %v", err)
	}
	w.Play(theirs, stand.Scene{Version: "2.0", Rate: 50, GOP: 10, Bytes: 1000})
	id, err := w.Try(w.Ctx, part, theirs)
	w.Must(err)
	_, err = w.Switched(w.Ctx, id)
	w.Must(err)
	_, err = w.Revert(w.Ctx, id)
	w.Must(err)
	w.Watch("1.0")
	for _, v := range viewers {
		w.Clean(v, "1.0", from)
	}
}

// A publisher that claims a stream which somebody publishes already is refused, and
// the one who has it does not notice.
func TestAStreamHasOnePublisher(t *testing.T) {
	t.Parallel()
	w, part, viewers := calm(t)
	from := publish.Monotonic()
	for range 20 {
		var refused *publish.RefusedError
		if c, err := publish.Dial(w.Publish(part.Source.ID), stand.Stream, stand.SDP); !errors.As(err, &refused) {
			t.Errorf("a second publisher: %v, %v", c, err)
		}
		if c, err := publish.Dial(w.Publish(part.Source.ID), "sub", stand.SDP); !errors.As(err, &refused) {
			t.Errorf("a publisher of an undeclared stream: %v, %v", c, err)
		}
	}
	for _, v := range viewers {
		w.Clean(v, "1.0", from)
	}
}

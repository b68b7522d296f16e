package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SocketMode lets the owner and the group in.
const SocketMode = 0o660

// proveTimeout bounds the question whether somebody listens on a socket file.
const proveTimeout = 2 * time.Second

// ErrInUse means that another agent listens on the socket.
var ErrInUse = errors.New("another agent is listening there")

// listen makes the socket at path. A socket file left behind by a dead agent is
// removed, one that somebody listens on is not. The lock file beside it closes
// the gap between the two steps: of two agents that find the same dead socket
// only one goes on. The caller closes the lock after the listener.
func listen(ctx context.Context, path string) (net.Listener, *os.File, error) {
	lock, err := lockBeside(path)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := bind(ctx, path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err = removeDead(ctx, path); err == nil {
			l, err = bind(ctx, path)
		}
	}
	if err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, lock, nil
}

// lockBeside takes PATH.lock. The file stays: removing it would let two agents
// hold locks on two files of one name.
func lockBeside(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// bind sets the mode before the name exists: Linux creates the file with the
// mode of the unbound socket, so there is no moment in which others may connect.
func bind(ctx context.Context, path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), SocketMode) })
		return errors.Join(err, failed)
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, SocketMode); err != nil { // the umask may have taken the group's bits
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeDead removes a socket file only after the kernel refused a connection
// to it, which it does when no process listens.
func removeDead(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is in the way")
	}
	d := net.Dialer{Timeout: proveTimeout}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether anybody listens: %w", err)
	}
	return os.Remove(path)
}

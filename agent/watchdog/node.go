package watchdog

import (
	"os"

	"golang.org/x/sys/unix"
)

// Node is an open watchdog of the kernel: linux/watchdog.h.
type Node interface {
	// Info is WDIOC_GETSUPPORT: what the driver is, and can do.
	Info() (unix.WatchdogInfo, error)
	// SetTimeout is WDIOC_SETTIMEOUT. The driver may take another one.
	SetTimeout(seconds int) error
	// Timeout is WDIOC_GETTIMEOUT.
	Timeout() (seconds int, err error)
	// Write feeds it with whatever it is; a 'V' lets Close stop it.
	Write([]byte) (int, error)
	Close() error
}

// Open opens a device of the kernel, which starts it.
func Open(path string) (Node, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // a file that is none must not be made
	if err != nil {
		return nil, err
	}
	return node{f}, nil
}

type node struct{ *os.File }

func (n node) Info() (info unix.WatchdogInfo, err error) {
	err = n.control(func(fd int) error {
		got, err := unix.IoctlGetWatchdogInfo(fd)
		if err == nil {
			info = *got
		}
		return err
	})
	return info, err
}

func (n node) SetTimeout(seconds int) error {
	return n.control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds) })
}

func (n node) Timeout() (seconds int, err error) {
	err = n.control(func(fd int) error {
		got, err := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT) // an int of C: never negative here
		seconds = int(got)
		return err
	})
	return seconds, err
}

func (n node) control(do func(fd int) error) error {
	raw, err := n.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

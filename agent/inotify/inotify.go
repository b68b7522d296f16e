// Package inotify waits for a file or a directory to change, and costs nothing until then.
// It is a hint and not a proof: who relies on it looks now and then all the same.
package inotify

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch hears of changes.
type Watch struct{ file *os.File }

// New returns a watch of nothing. The kernel lets a user have some hundred of them.
func New() (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &Watch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches what is at a path, for what the bits of mask (inotify(7)) name.
func (w *Watch) Add(path string, mask uint32) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	errControl := raw.Control(func(fd uintptr) { _, err = unix.InotifyAddWatch(int(fd), path, mask) })
	if errControl != nil {
		err = errControl
	}
	if err != nil {
		return fmt.Errorf("inotify: watch %s: %w", path, err)
	}
	return nil
}

// eventRoom takes some events of one file, or one with the longest name.
const eventRoom = 8 * (unix.SizeofInotifyEvent + unix.NAME_MAX + 1)

// Wait returns when something has changed, or with an error: os.ErrDeadlineExceeded after
// limit (0: none), another one once the watch is closed.
func (w *Watch) Wait(limit time.Duration) error {
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	if err := w.file.SetReadDeadline(until); err != nil {
		return err
	}
	var events [eventRoom]byte
	_, err := w.file.Read(events[:])
	return err
}

// Close lets who waits go.
func (w *Watch) Close() error { return w.file.Close() }

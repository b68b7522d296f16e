package watchdog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld means that another process has the watchdog open: there is one place.
var ErrHeld = errors.New("another process holds it; if that is systemd, RuntimeWatchdogSec= of system.conf has given it the watchdog")

// Dog is an armed watchdog. It is used by one goroutine at a time.
type Dog struct {
	node    Node
	timeout time.Duration
	info    unix.WatchdogInfo
}

// Arm starts what open opens. Of the wanted timeout it gets as much as the hardware has:
// see [Dog.Timeout].
func Arm(open func() (Node, error), want time.Duration) (*Dog, error) {
	n, err := open()
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, ErrHeld
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: its driver is not there", err)
	case err != nil:
		return nil, err
	}
	d := &Dog{node: n}
	if d.info, err = n.Info(); err == nil {
		err = d.set(max(1, int(want/time.Second)))
	}
	if err == nil {
		err = d.Feed()
	}
	if err != nil {
		return nil, errors.Join(err, d.Disarm()) // opening has started it
	}
	return d, nil
}

// set asks for a timeout, and for less of it as long as the hardware cannot count so far.
func (d *Dog) set(seconds int) error {
	err := d.node.SetTimeout(seconds)
	for errors.Is(err, unix.EINVAL) && seconds > 1 {
		seconds = seconds * 9 / 10
		err = d.node.SetTimeout(seconds)
	}
	fixed := errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP)
	if err != nil && !fixed {
		return fmt.Errorf("set its timeout: %w", err)
	}
	got, errGet := d.node.Timeout()
	switch {
	case errGet == nil && got > 0:
		seconds = got
	case fixed:
		return fmt.Errorf("it has a timeout that can be neither set nor asked for: %w", errors.Join(err, errGet))
	}
	d.timeout = time.Duration(seconds) * time.Second
	return nil
}

// Timeout is the one in force: within it the dog wants to be fed.
func (d *Dog) Timeout() time.Duration { return d.timeout }

// Name is what the driver calls itself.
func (d *Dog) Name() string { return unix.ByteSliceToString(d.info.Identity[:]) }

// Weakness is why this one may stop although nobody has disarmed it; "": nothing that is
// known.
func (d *Dog) Weakness() string {
	if d.info.Options&unix.WDIOF_MAGICCLOSE == 0 {
		return "its driver stops it whenever the process that holds it ends, also by a crash"
	}
	return ""
}

// Feed keeps it from starting the device anew for another timeout.
func (d *Dog) Feed() error {
	_, err := d.node.Write([]byte{0})
	return err
}

// Disarm stops it, as far as the driver can be stopped (nowayout), and lets go of it.
func (d *Dog) Disarm() error {
	_, err := d.node.Write([]byte("V"))
	return errors.Join(err, d.node.Close())
}

// Leave lets go of it and leaves it running.
func (d *Dog) Leave() error {
	return errors.Join(d.Feed(), d.node.Close()) // feeding takes back a 'V' that was written
}

// Package watchdogtest is a watchdog for tests, which keeps the rules that the kernel's
// watchdog_dev.c keeps for a driver: one opener at a time, opening starts it, a close stops
// it only after a 'V' that nothing was written after, nowayout, timeouts that are refused.
//
// Its lies: it starts nothing anew and has no clock; a test asks what has become of it.
// It is never armed by a boot loader, and it survives every reboot, which a
// real one does only if its driver lets it.
package watchdogtest

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"slipstream/agent/watchdog"
)

// Device is the hardware below any number of opens. Its exported fields are set before
// the first one.
type Device struct {
	Absent   bool // there is no node
	NoWayOut bool // a 'V' is not heard
	AnyClose bool // stopped by any close: no WDIOF_MAGICCLOSE
	Fixed    int  // a timeout in seconds that cannot be set; 0: it can
	Longest  int  // timeout in seconds; 0: 65535

	mu      sync.Mutex
	open    bool
	running bool
	timeout int
	fed     int
	arms    int
}

// Open opens it as the kernel does.
func (d *Device) Open(string) (watchdog.Node, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.Absent:
		return nil, os.ErrNotExist
	case d.open:
		return nil, unix.EBUSY
	}
	d.open, d.running = true, true
	d.arms++
	return &opened{d: d}, nil
}

// Running says whether it would start the device anew if nobody fed it.
func (d *Device) Running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

// Held says whether somebody holds it.
func (d *Device) Held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// Fed counts what was written.
func (d *Device) Fed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fed
}

// Arms counts how often it was opened.
func (d *Device) Arms() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.arms
}

// opened is one open of it.
type opened struct {
	d     *Device
	magic bool
}

func (o *opened) Info() (info unix.WatchdogInfo, err error) {
	copy(info.Identity[:], "fake")
	info.Options = unix.WDIOF_SETTIMEOUT | unix.WDIOF_KEEPALIVEPING
	if !o.d.AnyClose {
		info.Options |= unix.WDIOF_MAGICCLOSE
	}
	return info, nil
}

func (o *opened) SetTimeout(seconds int) error {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	switch {
	case o.d.Fixed > 0:
		return unix.EOPNOTSUPP
	case seconds < 1 || o.d.Longest > 0 && seconds > o.d.Longest:
		return unix.EINVAL
	}
	o.d.timeout = seconds
	return nil
}

func (o *opened) Timeout() (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	return max(o.d.timeout, o.d.Fixed), nil
}

func (o *opened) Write(b []byte) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	o.d.fed++
	o.magic = slices.Contains(b, 'V') && !o.d.NoWayOut
	return len(b), nil
}

func (o *opened) Close() error {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	o.d.open = false
	if o.magic || o.d.AnyClose && !o.d.NoWayOut {
		o.d.running = false
	}
	return nil
}

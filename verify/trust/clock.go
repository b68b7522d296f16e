package trust

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clock says how long this boot has lasted, suspended or not, and which boot it
// is. Nobody can set it, and it says nothing about the time between two boots.
type clock func() (boot string, since time.Duration, err error)

func bootClock() (string, time.Duration, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, fmt.Errorf("read the boot id: %w", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return strings.TrimSpace(string(raw)), time.Duration(ts.Nano()), nil
}

// secureTime goes on from two floors. The fleet's is kept apart, so that it can be
// dropped with the key that vouched for it.
type secureTime struct {
	clock      clock
	own, fleet time.Time // at since; fleet is zero without one
	boot       string
	since      time.Duration
}

// resume goes on from what was stored: in the same boot the time between counts,
// across boots nobody knows it.
func (m moment) resume(c clock, built time.Time) secureTime {
	t := secureTime{clock: c, own: m.Own, fleet: m.Fleet}
	if boot, since, err := c(); err == nil {
		t.boot, t.since = boot, since
	}
	if passed := t.since - time.Duration(m.Since); t.boot != "" && m.Boot == t.boot && passed > 0 {
		t.shift(passed)
	}
	t.own = later(t.own, built)
	return t
}

func (t *secureTime) shift(passed time.Duration) {
	if !t.own.IsZero() {
		t.own = t.own.Add(passed)
	}
	if !t.fleet.IsZero() {
		t.fleet = t.fleet.Add(passed)
	}
}

// advance brings the floors up to this instant. If the kernel does not answer they
// stay: time that stands still refuses nothing that it would not refuse later.
func (t *secureTime) advance() {
	_, since, err := t.clock()
	if err != nil || since <= t.since || t.boot == "" {
		return
	}
	t.shift(since - t.since)
	t.since = since
}

func (t *secureTime) now() time.Time {
	t.advance()
	return later(t.own, t.fleet)
}

func (t *secureTime) moment() moment {
	t.advance()
	return moment{Own: t.own.UTC(), Fleet: t.fleet.UTC(), Boot: t.boot, Since: int64(t.since)}
}

func later(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

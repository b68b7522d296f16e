package core

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fifoPriority is above every ordinary process and below what kernels and
	// drivers use for themselves.
	fifoPriority = 10

	// niceness is what the core thread takes where FIFO is refused.
	niceness = -10

	// busyFor is how long the core thread may work without once having slept for
	// breath; then it sleeps that long all the same. A FIFO thread would otherwise
	// leave a processor to nobody else for as long as somebody floods it.
	busyFor = int64(50 * time.Millisecond)
	breath  = int64(time.Millisecond)
)

// raisePriority gives the core thread FIFO priority, or else a better nice value,
// and says so once when it was refused. It reports whether the thread is FIFO now.
//
// On a single processor FIFO is not asked for: Go's runtime has loops that wait
// for another thread, which a FIFO thread would keep from running.
func (c *Core) raisePriority() (fifo bool) {
	if !c.config.Priority {
		return false
	}
	err := errors.New("there is only one processor")
	if runtime.NumCPU() > 1 {
		err = setFIFO()
	}
	c.locks.fifo = err == nil
	if err == nil {
		return true
	}
	nice := unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	c.log.Warn("no FIFO priority for the core thread; a revert may be slower while the device is busy",
		"reason", err, "nice", nice == nil)
	return false
}

// lowerPriority gives the thread back as it was.
func (c *Core) lowerPriority() {
	if c.config.Priority {
		_ = setPolicy(unix.SchedAttr{Policy: unix.SCHED_NORMAL}) // lowering is never refused
	}
}

// setFIFO gives the calling thread FIFO priority; threads and processes that it
// makes do not inherit it.
func setFIFO() error {
	return setPolicy(unix.SchedAttr{Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: fifoPriority})
}

func setPolicy(attr unix.SchedAttr) error {
	attr.Size = unix.SizeofSchedAttr
	return unix.SchedSetAttr(0, &attr, 0)
}

// breather makes a FIFO thread that never rests rest a little.
type breather struct {
	fifo  bool
	since int64 // working since then
}

// due is told when the thread waited for events, and reports whether it must
// rest now.
func (b *breather) due(asleep, awake int64) bool {
	if awake-asleep >= breath || b.since == 0 {
		b.since = awake
	}
	return b.fifo && awake-b.since >= busyFor
}

func (b *breather) take() {
	pause := unix.NsecToTimespec(breath)
	_ = unix.Nanosleep(&pause, nil) // cut short by a signal: shorter is fine
	b.since = 0
}

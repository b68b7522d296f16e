package core

import (
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

const (
	// thawPatience is how long the first key frame of a source that was thawed is
	// waited for before its viewers are reported as having no source.
	thawPatience = 3 * time.Second

	// thawAgain is how long a source that viewers see may be silent before it could be
	// frozen.
	thawAgain = time.Second

	// thawTail is how long a source that was thawed may still send what it had
	// captured before it was frozen.
	thawTail = 500 * time.Millisecond
)

// freeze is what a source's cgroup freezer has to do with it.
type freeze struct {
	fd     int   // of its cgroup.freeze; −1: none came
	thawed bool  // by ourselves, although the orders call it frozen
	since  int64 // when it was thawed; 0: never
}

// frozen says that nothing is to be expected of the source.
func (s *source) frozen() bool { return s.spec.Frozen && !s.freeze.thawed }

// orderFreeze takes what new orders say of a source's freezer, which is a descriptor
// or −1. Orders thaw nothing; but what comes after a freeze is not shown together
// with what came before it, whoever ended it.
func (c *Core) orderFreeze(s *source, spec orders.Source, fd int, now int64) {
	if fd >= 0 {
		c.closeFreezer(s)
		s.freeze.fd = fd
		c.keeper.keep(keptFreezer+string(s.spec.ID), fd)
	}
	was := s.frozen()
	if s.spec.Frozen = spec.Frozen; !spec.Frozen {
		s.freeze.thawed = false
	}
	if was && !s.frozen() {
		s.dropPast(now)
	}
}

func (c *Core) closeFreezer(s *source) {
	if s.freeze.fd >= 0 {
		c.keeper.drop(keptFreezer + string(s.spec.ID))
		unix.Close(s.freeze.fd)
		s.freeze.fd = -1
	}
}

// thaw lets a source run that viewers need. It does so even if no orders call it
// frozen: the agent may have frozen it and not have said so yet. If it says so
// afterwards, not knowing that the trial is over, the source is thawed again.
func (c *Core) thaw(s *source, now int64) {
	if s == nil {
		return
	}
	if s.freeze.fd >= 0 {
		// In the kernel this waits for a lock that is held for short; nobody has a
		// picture to miss meanwhile.
		if _, err := unix.Pwrite(s.freeze.fd, []byte("0"), 0); err != nil && s.spec.Frozen {
			c.log.Error("a frozen source was not thawed", "source", s.spec.ID, "reason", err)
		}
	}
	if !s.frozen() {
		return
	}
	if s.freeze.fd < 0 {
		c.log.Error("a frozen source cannot be thawed: no freezer came with its orders", "source", s.spec.ID)
	}
	s.freeze.thawed = true
	s.dropPast(now)
	for _, l := range s.lines {
		l.wishKey(now)
	}
}

// thawSilent thaws the permanent source once more if its viewers wait for it: an agent
// that has died since may have frozen it, and nobody else would find out.
func (c *Core) thawSilent(now int64) {
	src := c.sources[c.permanent]
	if src == nil || src.freeze.fd < 0 || c.trial.carries() {
		return
	}
	for _, l := range src.lines {
		if l.alive() && now-l.lastUnit > int64(thawAgain) {
			c.thaw(src, now)
			return
		}
	}
}

// dropPast forgets the pictures from before a freeze. Packets stay for as long as
// they are there: viewers may have lost some of them.
func (s *source) dropPast(now int64) {
	s.freeze.since = now
	for _, l := range s.lines {
		l.resumed = now
		l.arena.forget()
		l.meter.pause()
		l.holes.set = false
		if !l.clock.told {
			l.clock.set = false // it counted on frames coming all the time
		}
	}
}

// thawing says that the source was thawed and its key frame can be hoped for.
func (l *line) thawing(now int64) bool {
	since := l.source.freeze.since
	return since != 0 && !l.arena.hasKey && now < since+int64(thawPatience)
}

// stale says that a frame of a source that was thawed had been captured before it
// was frozen. One that comes later is new, whatever its clock says.
func (l *line) stale(u *unit, now int64) bool {
	if u.capture >= l.resumed {
		return false
	}
	if now < l.resumed+int64(thawTail) {
		return true
	}
	l.clock.set = false
	return false
}

// forget drops all whole units; what they were made of stays.
func (a *arena) forget() {
	for a.unitTail < a.unitHead {
		a.dropUnit()
	}
}

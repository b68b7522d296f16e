package supervise

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// errEnded means that a recorded process is proven to have ended, or that there
// never was one. Only after it may what a process left behind be killed; every
// other error means that we could not look, and says nothing of the process.
var errEnded = errors.New("it has ended")

const (
	lookTries = 5                     // looks before it counts as unknown whether a process lives
	lookPause = 10 * time.Millisecond // between them
	lookEvery = 250 * time.Millisecond
)

// insist repeats what failed for want of something that may be there a moment
// later. An end is final.
func insist(look func() error) error {
	err := look()
	for range lookTries - 1 {
		if err == nil || errors.Is(err, errEnded) {
			break
		}
		time.Sleep(lookPause)
		err = look()
	}
	return err
}

// openRecorded opens the pidfd first and compares afterwards: from then on the
// descriptor means one process for ever, and if the number had been used again
// before, the start time says so.
func openRecorded(r record) (int, error) {
	if r.PID <= 0 {
		return -1, fmt.Errorf("%w: the agent died while it started the process", errEnded)
	}
	pidfd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, errEnded
	}
	if err == nil {
		if err = judge(r, pidfd); err == nil {
			return pidfd, nil
		}
		unix.Close(pidfd)
		return -1, err
	}
	// A number that now names a thread of some other process gives no pidfd, but
	// a start time.
	if st, errStat := ReadStat(r.PID); errStat == nil && st.Start != r.Start {
		return -1, fmt.Errorf("%w and its number belongs to another process", errEnded)
	}
	return -1, fmt.Errorf("open the pidfd of %d: %w", r.PID, err)
}

// judge returns nil if the pidfd is the recorded process's and that lives. The
// end is asked of the descriptor and not of the state in /proc, which calls a
// process dead whose first thread has left while the others work on.
func judge(r record, pidfd int) error {
	if ended, err := readable(pidfd); err != nil {
		return err
	} else if ended {
		return errEnded
	}
	st, err := ReadStat(r.PID)
	switch {
	case err != nil:
		return err
	case st.Start != r.Start:
		return fmt.Errorf("%w and its number belongs to another process", errEnded)
	}
	return nil
}

// unknownProcess is one that is not known to live yet: see takeOver.
func (s *Supervisor) unknownProcess(name string) *Process {
	return &Process{
		name: name, log: s.log, record: s.recordPath(name), fd: -1, words: make(chan Notification, 1),
		known: make(chan struct{}), done: make(chan struct{}), over: make(chan struct{}),
	}
}

// findOut looks until it is known whether a process lives. It returns false when
// it does not, or when Close came first.
func (s *Supervisor) findOut(p *Process) bool {
	select {
	case <-p.known:
		return true
	default:
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			close(p.words)
			return false
		case <-tick.C:
		}
		switch err := s.takeOver(p); {
		case err == nil:
			return s.becomesKnown(p)
		case errors.Is(err, errEnded):
			s.log.Info("process ended unseen", "name", p.name, "reason", err)
			close(p.words)
			close(p.done)
			return false
		}
	}
}

// becomesKnown lets p be used, unless Close came first, which can no longer wake
// it then.
func (s *Supervisor) becomesKnown(p *Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		p.letGo()
		return false
	}
	close(p.known)
	s.log.Info("process adopted after all", "name", p.name, "pid", p.pid)
	return true
}

package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Recorded lists the names of all processes that an earlier agent of this boot
// has left, sorted. They may have ended meanwhile: ask Adopt.
func (s *Supervisor) Recorded() []string {
	entries, err := os.ReadDir(filepath.Join(s.runDir, "proc"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Adopt takes over a process that an earlier agent started. If its main process
// has ended it returns false, and what that one left behind has been killed.
//
// A process that had said READY=1 before says so again by its Notifications.
func (s *Supervisor) Adopt(name string) (*Process, bool) {
	if err := s.reserve(name); err != nil {
		return nil, false
	}
	p, err := s.adopt(name)
	if err != nil {
		s.release(name)
		s.log.Info("process not adopted", "name", name, "reason", err)
		return nil, false
	}
	s.log.Info("process adopted", "name", name, "pid", p.pid)
	s.watch(p)
	return p, true
}

func (s *Supervisor) adopt(name string) (*Process, error) {
	r, ok := readRecord(s.recordPath(name), name)
	if !ok {
		os.Remove(s.recordPath(name))
		return nil, errors.New("no record of this boot")
	}
	pidfd, err := openRecorded(r)
	if err != nil {
		killLeftovers(0, r.Token, s.log)
		os.Remove(s.recordPath(name))
		return nil, err
	}
	p := s.newProcess(r, s.openAgain(r))
	p.pid = r.PID
	p.setPidfd(pidfd)
	s.listenAgain(p, r)
	return p, nil
}

// openAgain opens the log to keep it bounded. The process has its own descriptor
// and runs well without ours, so failing here must not end it.
func (s *Supervisor) openAgain(r record) *output {
	out, err := openOutput(r.Log)
	if err != nil {
		s.log.Warn("log of adopted process not kept bounded", "name", r.Name, "err", err)
		return &output{path: r.Log}
	}
	return out
}

// listenAgain binds the notify socket anew. Without it the process still runs
// well, so failing here must not end it.
func (s *Supervisor) listenAgain(p *Process, r record) {
	if r.Notify == "" {
		return
	}
	n, err := listenNotify(r.Notify, p)
	if err != nil {
		s.log.Warn("adopted process cannot notify", "name", p.name, "err", err)
		return
	}
	p.notify = n
	if r.Ready {
		n.out <- Notification{Ready: true}
	}
}

// openRecorded opens the pidfd first and compares afterwards: from then on the
// descriptor means one process for ever, and if the number had been used again
// before, the start time says so.
func openRecorded(r record) (int, error) {
	if r.PID <= 0 {
		return -1, errors.New("the agent died while it started the process")
	}
	pidfd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return -1, fmt.Errorf("it has ended: %w", err)
	}
	st, err := readStat(r.PID)
	switch {
	case err != nil:
		err = fmt.Errorf("it has ended: %w", err)
	case st.start != r.Start:
		err = errors.New("it has ended and its number belongs to another process")
	case st.dead():
		err = errors.New("it has ended")
	default:
		return pidfd, nil
	}
	unix.Close(pidfd)
	return -1, err
}

// clearOld makes room for a new process of a name. One that still runs is not
// ended in passing: it may carry the picture.
func (s *Supervisor) clearOld(name string) error {
	r, ok := readRecord(s.recordPath(name), name)
	if !ok {
		return nil
	}
	if pidfd, err := openRecorded(r); err == nil {
		unix.Close(pidfd)
		return errors.New("an earlier agent's process of this name still runs: adopt it")
	}
	killLeftovers(0, r.Token, s.log)
	return nil
}

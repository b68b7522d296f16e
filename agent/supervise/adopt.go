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

// Adopt takes over a process that an earlier agent started. It returns false if
// there is none: there is no record of this boot, or the main process is proven
// to have ended, and then what that one left behind has been killed.
//
// If the kernel does not let us look (no descriptors left, say) it is unknown
// whether the process lives. It then counts as living: it is returned without a
// number or pidfd, nothing of it gets a signal, its name stays taken, and we go
// on looking until we know.
//
// A process that had said READY=1 before says so again by its Notifications.
func (s *Supervisor) Adopt(name string) (*Process, bool) {
	if err := s.reserve(name); err != nil {
		return nil, false
	}
	p := s.unknownProcess(name)
	switch err := insist(func() error { return s.takeOver(p) }); {
	case errors.Is(err, errEnded):
		s.release(name)
		s.log.Info("process not adopted", "name", name, "reason", err)
		return nil, false
	case err != nil:
		s.log.Error("it is unknown whether a process lives; it counts as living", "name", name, "reason", err)
	default:
		close(p.known)
		s.log.Info("process adopted", "name", name, "pid", p.pid)
	}
	s.watch(p)
	return p, true
}

// takeOver fills in what is known of a process once it is proven to live. After
// errEnded nothing of it is left; after any other error nothing was touched.
func (s *Supervisor) takeOver(p *Process) error {
	r, err := readRecord(p.record, p.name)
	if errors.Is(err, errEnded) {
		os.Remove(p.record)
	}
	if err != nil {
		return err
	}
	pidfd, err := openRecorded(r)
	if errors.Is(err, errEnded) {
		killLeftovers(0, r.Token, s.log)
		os.Remove(p.record)
	}
	if err != nil {
		return err
	}
	p.started, p.token, p.pid, p.stores = r.Started, r.Token, r.PID, s.storesFor(r)
	p.setPidfd(pidfd)
	p.output = s.openAgain(r)
	s.listenAgain(p, r)
	return nil
}

// openAgain opens the log to keep it bounded. The process has its own descriptor
// and runs well without ours, so failing here must not end it.
func (s *Supervisor) openAgain(r record) *output {
	out, err := openOutput(r.Log)
	if err != nil {
		s.log.Warn("log of adopted process not kept bounded", "name", r.Name, "err", err)
		out = &output{path: r.Log}
	}
	out.from = r.LogFrom
	return out
}

// listenAgain binds the notify socket anew. Without it the process still runs
// well, so failing here must not end it.
func (s *Supervisor) listenAgain(p *Process, r record) {
	if r.Notify == "" {
		return
	}
	err := insist(func() (err error) {
		p.notify, err = listenNotify(r.Notify, p)
		return err
	})
	if err != nil {
		s.log.Warn("adopted process cannot notify", "name", p.name, "err", err)
		return
	}
	if r.Ready {
		p.words <- Notification{Ready: true}
	}
}

// clearOld makes room for a new process of a name. One that still runs is not
// ended in passing, nor is one of which nobody knows: it may carry the picture.
func (s *Supervisor) clearOld(name string) error {
	var r record
	err := insist(func() (err error) {
		if r, err = readRecord(s.recordPath(name), name); err != nil {
			return err
		}
		pidfd, err := openRecorded(r)
		if err == nil {
			unix.Close(pidfd)
		}
		return err
	})
	switch {
	case err == nil:
		return errors.New("an earlier agent's process of this name still runs: adopt it")
	case !errors.Is(err, errEnded):
		return fmt.Errorf("it is unknown whether an earlier agent's process of this name still runs: %w", err)
	case r.Token != "":
		killLeftovers(0, r.Token, s.log)
	}
	return nil
}

package supervise_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

// exhaust leaves this process so many descriptors to open, until the returned
// function is called.
func exhaust(t *testing.T, left int) (restore func()) {
	t.Helper()
	percent := collectNow(t)
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: 64, Max: own.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for range left {
		unix.Close(taken[0])
		taken = taken[1:]
	}
	restored := false
	restore = func() {
		if restored {
			return
		}
		restored = true
		debug.SetGCPercent(percent)
		for _, fd := range taken {
			unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// collectNow closes the pidfds of processes that earlier tests have forgotten,
// and keeps the collector from doing so later. It returns the setting before.
func collectNow(t *testing.T) (percent int) {
	t.Helper()
	runtime.GC()
	finished := make(chan struct{})
	runtime.SetFinalizer(&[64]byte{}, func(*[64]byte) { close(finished) })
	runtime.GC()
	select {
	case <-finished:
	case <-time.After(patience):
		t.Fatal("the collector does not come round")
	}
	return debug.SetGCPercent(-1)
}

// notifyingOrphan is a process with a notify socket whose agent has died.
func notifyingOrphan(t *testing.T) (run string, pid int) {
	t.Helper()
	run = t.TempDir()
	return run, orphan(t, run, "", filepath.Join(run, "n.sock"))
}

// With no descriptor the record cannot be read, with one the pidfd is opened but
// /proc cannot be read, with more we get further.
func TestAProcessThatCannotBeLookedAtIsLeftAlone(t *testing.T) {
	for left := range 2 {
		t.Run(strconv.Itoa(left)+" descriptors left", func(t *testing.T) {
			run, pid := notifyingOrphan(t)
			s := newSupervisor(t, run)
			restore := exhaust(t, left)
			p, ok := s.Adopt("app")
			if !ok {
				t.Fatal("it counts as ended")
			}
			if p.PID() != 0 || p.Pidfd() != -1 || !p.Started().IsZero() || p.LogTail(1) != nil {
				t.Errorf("pid %d, pidfd %d, started %v", p.PID(), p.Pidfd(), p.Started())
			}
			if _, err := s.Start(shell("app", "true")); err == nil {
				t.Error("a second one was started")
			}
			if left == 0 {
				p.Stop(0) // tries for some seconds
			}
			words := p.Notifications()
			restore()
			if !alive(pid) {
				t.Fatal("it was killed")
			}
			select {
			case n := <-words:
				if !n.Ready {
					t.Errorf("got %+v", n)
				}
			case <-time.After(patience):
				t.Fatal("it was not adopted when that became possible")
			}
			eventually(t, "it is known", func() bool { return p.PID() == pid && p.Pidfd() >= 0 })
			p.Kill()
			waitDone(t, p)
			eventually(t, "it is gone", func() bool { return !alive(pid) })
			if got := s.Recorded(); len(got) != 0 {
				t.Errorf("records %v", got)
			}
		})
	}
}

func TestAStartBesideAnUnknownOneIsRefused(t *testing.T) {
	run, pid := notifyingOrphan(t)
	s := newSupervisor(t, run)
	restore := exhaust(t, 1)
	_, err := s.Start(shell("app", "true"))
	restore()
	if err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("got %v", err)
	}
	if !alive(pid) {
		t.Error("it was killed")
	}
	if p, ok := s.Adopt("app"); !ok || p.PID() != pid {
		t.Error("it cannot be adopted any more")
	}
}

func TestTheEndOfAnUnknownProcessIsFoundOut(t *testing.T) {
	run, pid := notifyingOrphan(t)
	unix.Kill(pid, unix.SIGKILL)
	eventually(t, "it ends", func() bool { return !alive(pid) })
	s := newSupervisor(t, run)
	restore := exhaust(t, 0)
	p, ok := s.Adopt("app")
	if !ok {
		t.Fatal("an end was believed that nobody could see")
	}
	restore()
	if got := waitDone(t, p); got.Known {
		t.Errorf("exit %v", got)
	}
	if _, open := <-p.Notifications(); open {
		t.Error("notifications go on after the end")
	}
	p.Stop(time.Second) // waits until the name is free
	start(t, s, shell("app", "true"))
}

func TestCloseLeavesAnUnknownProcessAlone(t *testing.T) {
	run, pid := notifyingOrphan(t)
	s := supervise.New(run, slog.New(slog.DiscardHandler))
	restore := exhaust(t, 0)
	if _, ok := s.Adopt("app"); !ok {
		t.Fatal("it counts as ended")
	}
	s.Close()
	restore()
	if !alive(pid) {
		t.Fatal("Close ended it")
	}
	if p, ok := newSupervisor(t, run).Adopt("app"); !ok || p.PID() != pid {
		t.Error("it cannot be adopted any more")
	}
}

// A program may end its first thread and work on in others. /proc calls that a
// zombie.
func TestAProcessWhoseFirstThreadHasLeftStillLives(t *testing.T) {
	run := t.TempDir()
	pid := orphan(t, run, `exec env SUPERVISE_TEST_ROLE=headless `+os.Args[0])
	eventually(t, "its first thread leaves", func() bool { return !alive(pid) })
	p, ok := newSupervisor(t, run).Adopt("app")
	if !ok {
		t.Fatal("it counts as ended")
	}
	p.Kill()
	waitDone(t, p)
}

package supervise

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// killWait bounds the wait for processes that were sent SIGKILL. Only one that
// hangs in the kernel (a dead disk, a broken driver) takes longer.
const killWait = 5 * time.Second

// Exit says how a process ended.
type Exit struct {
	Known  bool           // false for adopted processes: only a parent is told
	Code   int            // exit code, if it was not a signal
	Signal syscall.Signal // 0 if it ended by itself
}

func (e Exit) String() string {
	if !e.Known {
		return "ended, status unknown"
	}
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

// Process is one started or adopted process with all it has started itself.
type Process struct {
	name    string
	pid     int
	fd      int      // pidfd, as a number: os.File.Fd would make it blocking
	pidfd   *os.File // the same, in the hands of the poller
	started time.Time
	token   string
	log     *slog.Logger
	output  *output
	notify  *notifier // nil without a notify socket
	stores  *stores   // nil without a store
	record  string    // path of the adoption record

	// words is what Notifications gives: one place, see deliver.
	words chan Notification
	// known is closed when the process is proven to live. Until then pid, pidfd,
	// started, token, output and notify are not set, and nobody but findOut may
	// look at them.
	known chan struct{}

	done chan struct{} // closed when the main process has ended
	over chan struct{} // closed when nothing of it is left, or it was abandoned
	exit Exit          // written before done is closed

	// extended is the wall time in ns until which it has asked for more time.
	extended atomic.Int64

	// reap guards the number: signals by number are sent only while holding it
	// and only while reaped is false.
	reap   sync.Mutex
	reaped bool
}

// letGo drops what we hold of a process that nobody will watch.
func (p *Process) letGo() {
	if p.notify != nil {
		p.notify.conn.Close()
	}
	if p.output != nil {
		p.output.close()
	}
	close(p.words)
}

func (p *Process) isKnown() bool {
	select {
	case <-p.known:
		return true
	default:
		return false
	}
}

// Name is the name of its [Spec].
func (p *Process) Name() string { return p.name }

// Known is closed as soon as the process is known to live: of a started one at
// once, of an adopted one see [Supervisor.Adopt].
func (p *Process) Known() <-chan struct{} { return p.known }

// PID is the number of the main process, 0 while it is unknown whether it lives
// (see [Supervisor.Adopt]). It names it for people; to act on the process use
// its methods or the pidfd.
func (p *Process) PID() int {
	if !p.isKnown() {
		return 0
	}
	return p.pid
}

// PIDs are the numbers of all processes that run of it now. One that has left its
// session and cleared its environment is not found.
func (p *Process) PIDs() ([]int, error) {
	if !p.isKnown() {
		return nil, nil
	}
	all, err := processes()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool { return !stems(pid, p.pid, p.token) }), nil
}

// Owns says whether a process belongs to this one: it is the main process, of its
// session, or descends from it. The number must come from the kernel.
func (p *Process) Owns(pid int) bool { return p.isKnown() && p.owns(pid) }

// Pidfd is borrowed. It stays open for as long as p is reachable, also after the
// end, so that its number never comes to mean another file meanwhile. It is -1
// while it is unknown whether the process lives.
func (p *Process) Pidfd() int {
	if !p.isKnown() {
		return -1
	}
	return p.fd
}

// Started is the time of the start, also of an adopted process; zero while it is
// unknown whether it lives.
func (p *Process) Started() time.Time {
	if !p.isKnown() {
		return time.Time{}
	}
	return p.started
}

// Done is closed as soon as the main process has ended. What it left behind is
// killed right after that; Stop and Kill wait for it.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is valid once Done is closed.
func (p *Process) Exit() Exit {
	select {
	case <-p.done:
		return p.exit
	default:
		return Exit{}
	}
}

// Notifications delivers what the process says of itself by sd_notify. Words
// that the receiver has not taken yet are merged into one, so that nothing is
// lost and nothing grows. It is closed at the end of the process, and nil if the
// process has no notify socket.
func (p *Process) Notifications() <-chan Notification {
	if p.isKnown() && p.notify == nil {
		return nil
	}
	return p.words
}

// LogTail returns up to n of the last lines that the process has written, none
// of an earlier one that shares its log. They are made printable and cut at 400
// bytes; of a line that was overwritten by carriage returns the last state
// counts, and empty ones are left out.
func (p *Process) LogTail(n int) []string {
	if !p.isKnown() {
		return nil
	}
	return p.output.tail(n)
}

// Stop asks the whole group to end, and after the grace period kills it. It
// returns when nothing of the process is left, or gives up as Kill does.
func (p *Process) Stop(grace time.Duration) { p.StopWithin(grace, grace) }

// StopWithin is Stop for a process that may ask for more time than the grace period by
// EXTEND_TIMEOUT_USEC, up to a limit.
func (p *Process) StopWithin(grace, limit time.Duration) {
	last := time.Now().Add(limit)
	p.await(grace)
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT) // a stopped process could not act on SIGTERM
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for asked := int64(0); ; {
		select {
		case <-p.done:
			p.Kill()
			return
		case <-timer.C:
		}
		now := time.Now()
		until := p.extended.Load()
		if until <= max(asked, now.UnixNano()) || !now.Before(last) {
			p.Kill()
			return
		}
		asked = until
		timer.Reset(min(time.Unix(0, until).Sub(now), last.Sub(now)))
	}
}

// await waits until the process is known or over. It returns false if it is
// neither within the limit.
func (p *Process) await(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.known:
	case <-p.over:
	case <-timer.C:
		return false
	}
	return true
}

// Kill ends the process and all it has started, at once, and waits for that. It
// gives up, and says so in the log, on one that hangs in the kernel and on one of
// which it stays unknown whether it lives.
func (p *Process) Kill() {
	if !p.await(killWait) {
		p.log.Error("process not killed: it is unknown whether it lives", "name", p.name)
		return
	}
	p.signal(syscall.SIGKILL)
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
		p.log.Error("process does not die", "name", p.name, "pid", p.pid)
	}
}

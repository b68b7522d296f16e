package supervise

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
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
	record  string    // path of the adoption record

	done chan struct{} // closed when the main process has ended
	over chan struct{} // closed when nothing of it is left, or it was abandoned
	exit Exit          // written before done is closed

	// reap guards the number: signals by number are sent only while holding it
	// and only while reaped is false.
	reap   sync.Mutex
	reaped bool
}

// leave lets go of a process that nobody will watch.
func (p *Process) leave() {
	if p.notify != nil {
		p.notify.conn.Close()
	}
	p.output.close()
	close(p.over)
}

// PID is the number of the main process. It names it for people; to act on the
// process use its methods or the pidfd.
func (p *Process) PID() int { return p.pid }

// Pidfd is borrowed. It stays open for as long as p is reachable, also after the
// end, so that its number never comes to mean another file meanwhile.
func (p *Process) Pidfd() int { return p.fd }

// Started is the time of the start, also of an adopted process.
func (p *Process) Started() time.Time { return p.started }

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
	if p.notify == nil {
		return nil
	}
	return p.notify.out
}

// LogTail returns up to n of the last lines that the process has written.
func (p *Process) LogTail(n int) []string { return p.output.tail(n) }

// Stop asks the whole group to end, and after the grace period kills it. It
// returns when nothing of the process is left.
func (p *Process) Stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGCONT) // a stopped process could not act on SIGTERM
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
	p.Kill()
}

// Kill ends the process and all it has started, at once, and waits for that.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.over:
	case <-timer.C:
		p.log.Error("process does not die", "name", p.name, "pid", p.pid)
	}
}

package supervise

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// leftoverWait is the pause between two looks for what SIGKILL has not ended yet.
const leftoverWait = 2 * time.Millisecond

// quietLooks in a row must find nothing: a process has no environment to be seen
// for a moment while it executes another program.
const quietLooks = 2

func (s *Supervisor) newProcess(r record, out *output) *Process {
	p := s.unknownProcess(r.Name)
	p.started, p.token, p.output = r.Started, r.Token, out
	p.stores = s.storesFor(r)
	return p
}

// storesFor are the stores for a process that has one, else nil.
func (s *Supervisor) storesFor(r record) *stores {
	if !r.FDStore {
		return nil
	}
	return s.stores
}

// setPidfd hands the descriptor to the runtime's poller, so that waiting for
// the end costs a goroutine and no thread. It is closed when p is garbage.
func (p *Process) setPidfd(fd int) {
	_ = unix.SetNonblock(fd, true) // tells os.NewFile to use the poller; cannot fail on an open descriptor
	p.fd, p.pidfd = fd, os.NewFile(uintptr(fd), "pidfd of "+p.name)
}

// run waits for the end and cleans up after it. The order matters: the news
// first, then the leftovers while the unreaped main process still holds the
// number of the session, then the number is given back.
func (p *Process) run() {
	stop := p.output.keepBounded(p.log)
	defer p.output.close()
	defer stop()
	if p.notify != nil {
		p.notify.serve()
	}
	if !p.waitEnd() {
		p.endWords(false)
		return
	}
	p.exit = p.status()
	close(p.done)
	p.signal(unix.SIGKILL)
	killLeftovers(p.session(), p.token, p.log)
	p.endWords(true)
	p.reapMain()
	os.Remove(p.record)
	p.log.Info("process ended", "name", p.name, "pid", p.pid, "exit", p.exit.String())
}

// waitEnd returns false when the process was abandoned before it ended.
func (p *Process) waitEnd() bool {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(func(fd uintptr) bool {
		ended, err := readable(int(fd))
		return ended && err == nil
	}) == nil
}

// abandon wakes waitEnd. A process that is not known is woken by closing.
func (p *Process) abandon() {
	if p != nil && p.isKnown() {
		p.pidfd.SetReadDeadline(time.Unix(1, 0))
	}
}

// readable says of a pidfd whether its process has ended, all threads of it.
func readable(pidfd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// status asks how the main process ended and leaves it unreaped.
func (p *Process) status() Exit {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, p.fd, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	if err != nil {
		return Exit{} // adopted: not our child
	}
	status := childStatus(&info)
	if info.Code == cldExited {
		return Exit{Known: true, Code: int(status)}
	}
	return Exit{Known: true, Signal: syscall.Signal(status)}
}

// cldExited is CLD_EXITED of <asm-generic/siginfo.h>.
const cldExited = 1

// childStatus reads si_status. The union of siginfo_t begins on a pointer's
// boundary after three ints, with si_pid and si_uid before si_status.
func childStatus(info *unix.Siginfo) int32 {
	const word = unsafe.Sizeof(uintptr(0))
	const union = (3*4 + word - 1) / word * word
	return *(*int32)(unsafe.Add(unsafe.Pointer(info), union+2*4))
}

// signal sends to the main process's group, whatever number it has. One that is
// not known gets none.
func (p *Process) signal(sig syscall.Signal) {
	if !p.isKnown() {
		return
	}
	err := unix.PidfdSendSignal(p.fd, sig, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if !errors.Is(err, unix.EINVAL) {
		return
	}
	p.signalByNumber(sig)
}

// signalByNumber serves kernels before 6.9, where a group has only its number.
// It is the main process's as long as that is not reaped, which signal 0 to the
// pidfd says. Our own child cannot be reaped between the two calls. An adopted
// one can, by init; for a stranger to be hit, its whole group would have to end
// and all numbers to be used once around between two system calls.
func (p *Process) signalByNumber(sig syscall.Signal) {
	p.reap.Lock()
	defer p.reap.Unlock()
	if !p.reaped && unix.PidfdSendSignal(p.fd, 0, nil, 0) == nil {
		unix.Kill(-p.pid, sig)
	}
}

// session is the number of the session of a main process that has ended, or 0
// if it proves nothing any more: only our own child stays unreaped until we say.
func (p *Process) session() int {
	if !p.exit.Known {
		return 0
	}
	return p.pid
}

// reapMain gives the number back to the kernel. For an adopted process there is
// nothing to reap.
func (p *Process) reapMain() {
	p.reap.Lock()
	defer p.reap.Unlock()
	p.reaped = true
	_ = unix.Waitid(unix.P_PIDFD, p.fd, nil, unix.WEXITED|unix.WNOHANG, nil)
}

// killLeftovers ends every process that is proven to stem from the main process:
// by its session, unless that is 0, or by the token. It gives up on what
// survives SIGKILL for killWait.
func killLeftovers(session int, token string, log *slog.Logger) {
	deadline := time.Now().Add(killWait)
	for quiet := 0; ; time.Sleep(leftoverWait) {
		alive, err := killOnce(session, token)
		if alive > 0 || err != nil {
			quiet = 0
		} else if quiet++; quiet == quietLooks {
			return
		}
		if time.Now().After(deadline) {
			log.Error("processes may be left behind", "of", name(token), "alive", alive, "err", err)
			return
		}
	}
}

// killOnce returns an error if it could not look at all that may be left.
func killOnce(session int, token string) (alive int, err error) {
	pids, err := processes()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if pid == os.Getpid() || !stems(pid, session, token) {
			continue
		}
		fd, errOpen := unix.PidfdOpen(pid, 0)
		if errOpen != nil {
			if !errors.Is(errOpen, unix.ESRCH) {
				err = errOpen
			}
			continue
		}
		// Looked at again, because only now the descriptor holds one process.
		if ended, _ := readable(fd); !ended && stems(pid, session, token) {
			alive++
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
	return alive, err
}

// stems is true also of a process that has ended and is not reaped yet.
func stems(pid, session int, token string) bool {
	st, err := ReadStat(pid)
	if err != nil {
		return false
	}
	return session != 0 && st.session == session || hasToken(pid, token)
}

// name is what may be shown of a token.
func name(token string) string {
	before, _, _ := strings.Cut(token, "/")
	return before
}

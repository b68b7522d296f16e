package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxSocketPath = 107 // of sockaddr_un, without the final zero
	maxRights     = 253 // SCM_MAX_FD: descriptors in one message
	maxAncestors  = 32  // steps from a sender up to the main process
)

// notifier is the server of one process's notify socket.
type notifier struct {
	path    string
	conn    *net.UnixConn
	p       *Process
	in      chan Notification // unbuffered: from receive to deliver
	said    bool              // READY=1, which is recorded once; receive's own
	full    bool              // that a descriptor was not stored was said; likewise
	renamed bool              // that MAINPID is ignored was said; likewise
	over    atomic.Bool       // nobody is left to say anything
	wg      sync.WaitGroup
}

// listenNotify binds the socket. Its mode lets every user write, because the
// sender is judged by its credentials and not by its place.
func listenNotify(path string, p *Process) (*notifier, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("notify socket %s: the path is longer than %d bytes", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := (&net.ListenConfig{Control: passCredentials}).ListenPacket(context.Background(), "unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		conn.Close()
		return nil, err
	}
	return &notifier{
		path: path, conn: conn.(*net.UnixConn), p: p,
		in: make(chan Notification),
	}, nil
}

// serve begins to read, once the process that it reads for exists. Until then
// datagrams wait in the socket.
func (n *notifier) serve() {
	n.wg.Go(n.receive)
	n.wg.Go(n.deliver)
}

// passCredentials runs before bind, so that no datagram comes without them.
func passCredentials(_, _ string, c syscall.RawConn) error {
	var err error
	errControl := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	return errors.Join(errControl, err)
}

// close ends both goroutines, if there are any. Over means that the process has
// ended with all that it started: its last words are read, which are the best
// evidence and lie in the socket already, and the socket is removed; otherwise the
// next agent takes it.
func (n *notifier) close(over bool) {
	n.over.Store(over)
	n.conn.SetReadDeadline(time.Unix(1, 0))
	n.wg.Wait()
	n.conn.Close()
	if over {
		os.Remove(n.path)
	}
}

// endWords closes the channel of Notifications, by whoever owns it.
func (p *Process) endWords(over bool) {
	if p.notify == nil {
		close(p.words)
		return
	}
	p.notify.close(over)
}

// receive reads until close. Nothing that a sender does ends it.
func (n *notifier) receive() {
	defer close(n.in)
	buf := make([]byte, maxNotification)
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(maxRights*4))
	for {
		size, oobSize, flags, _, err := n.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			break
		}
		n.datagram(buf[:size], oob[:oobSize], flags)
	}
	if n.over.Load() {
		n.drain(buf, oob)
	}
}

// drain reads what is in the socket and waits for nothing.
func (n *notifier) drain(buf, oob []byte) {
	n.conn.SetReadDeadline(time.Time{}) // which has ended receive, and would end this
	conn, err := n.conn.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool { // an error says that the socket is closed
		for {
			size, oobSize, flags, _, err := unix.Recvmsg(int(fd), buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return true
			default:
				n.datagram(buf[:size], oob[:oobSize], flags)
			}
		}
	})
}

func (n *notifier) datagram(text, oob []byte, flags int) {
	sender, files := control(oob)
	if flags&unix.MSG_CTRUNC != 0 {
		n.p.log.Error("descriptors of a process did not arrive: too many are open here", "name", n.p.name)
	}
	if sender > 0 && flags&unix.MSG_TRUNC == 0 && n.p.owns(sender) {
		files = n.keep(text, files)
		n.accept(parseNotification(text))
	}
	// Closed last: with BARRIER=1 this tells the sender that all it said before has
	// been heard (sd_notify_barrier(3)).
	for _, fd := range files {
		unix.Close(fd)
	}
}

func (n *notifier) accept(m Notification) {
	if m.Ready && !n.said {
		n.said = true
		n.p.recordReady()
	}
	if m.Extend > 0 {
		n.p.extended.Store(time.Now().Add(m.Extend).UnixNano())
	}
	if m.MainPID && !n.renamed {
		n.renamed = true
		n.p.log.Warn("MAINPID of a process is ignored: it is watched by its pidfd", "name", n.p.name)
	}
	if m != (Notification{}) {
		n.in <- m
	}
}

// deliver hands notifications on and always takes new ones, merging what has
// not been read: a flood costs no memory, a slow reader stops no sender.
func (n *notifier) deliver() {
	defer close(n.p.words)
	for m := range n.in {
		select {
		case old := <-n.p.words:
			m = old.and(m)
		default:
		}
		n.p.words <- m // there is room: only we write
	}
}

// control reads the sender's number and the descriptors that came along.
func control(oob []byte) (sender int, files []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, nil
	}
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			sender = int(cred.Pid)
		}
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			files = append(files, fds...)
		}
	}
	return sender, files
}

// owns says whether a sender belongs to this process: it is the main process, in its
// cgroup, of its session, or descends from it; and in no other process's cgroup. The
// number comes from the kernel; one that has ended and been reaped before we look is
// believed only if it is the main process's, which is not reaped while we listen.
func (p *Process) owns(pid int) bool {
	if pid == p.pid {
		return true
	}
	if same, told := sameGroup(p.pid, pid); told {
		return same
	}
	for range maxAncestors {
		if pid == p.pid {
			return true
		}
		st, err := ReadStat(pid)
		if err != nil || pid <= 1 {
			return false
		}
		if st.session == p.pid {
			return true
		}
		pid = st.ppid
	}
	return false
}

// recordReady lets the next agent know. Failing is harmless: the process is then
// adopted as one that has not said it yet.
func (p *Process) recordReady() {
	r, err := readRecord(p.record, p.name)
	if err == nil {
		r.Ready = true
		err = r.write(p.record)
	}
	if err != nil {
		p.log.Warn("ready not recorded", "name", p.name, "err", err)
	}
}

package core

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seqpacketListen binds a SOCK_SEQPACKET socket at path, in place of one that an
// earlier forwarder left there.
func seqpacketListen(path string) (int, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return -1, err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err == nil {
		err = unix.Listen(fd, 64)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen at %s: %w", path, err)
	}
	return fd, nil
}

// peerUID is the user who connected.
func peerUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}

// enlarge sets a socket's buffer size. One that stays small only fills sooner.
func enlarge(fd, option, size int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
}

// errRights is receive's answer to a message that carried descriptors.
const errRights = unix.EBADMSG

// receive reads one message without blocking and returns its true length, which
// is larger than buf if the message was cut. 0 means end of file. A message with
// descriptors is dropped: errRights.
func receive(fd int, buf []byte) (int, unix.Errno) {
	n, fds, errno := receiveRights(fd, buf)
	if len(fds) > 0 {
		go closeForeign(fds)
		return 0, errRights
	}
	return n, errno
}

// rightsRoom holds all descriptors that one message can carry (SCM_MAX_FD is
// 253): those that find no room, or are not asked for, the kernel closes at once
// on the calling thread. Closing what somebody else has made may block for as
// long as he likes: a file on his FUSE mount, a TCP socket that lingers.
const rightsRoom = 1040

// receiveRights is receive for a message that may carry descriptors.
func receiveRights(fd int, buf []byte) (n int, fds []int, errno unix.Errno) {
	var oob [rightsRoom]byte
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	msg := unix.Msghdr{Iov: &iov, Control: &oob[0]}
	msg.SetIovlen(1)
	msg.SetControllen(len(oob))
	r, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC|unix.MSG_CMSG_CLOEXEC)
	if errno != 0 {
		return 0, nil, errno
	}
	if msg.Controllen > 0 {
		fds = descriptors(bytes.Clone(oob[:msg.Controllen])) // a clone, so that oob stays on the stack
	}
	return int(r), fds, 0
}

// closeForeign closes what a peer has sent, on a goroutine that may be kept
// waiting. A publisher that does this is not heard again, so there are few.
func closeForeign(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// sender writes one message from two pieces without allocating: a packet's new
// header and its old payload.
type sender struct {
	iov [2]unix.Iovec
	msg unix.Msghdr
}

func (s *sender) send(fd int, head, body []byte) unix.Errno {
	s.iov[0].Base, s.iov[1].Base = &head[0], &body[0]
	s.iov[0].SetLen(len(head))
	s.iov[1].SetLen(len(body))
	s.msg.Iov = &s.iov[0]
	s.msg.SetIovlen(len(s.iov))
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&s.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return errno
}

// sendControl sends a short message; the receiver may be gone or full, and then
// does without it.
func sendControl(fd int, msg []byte) error {
	return unix.Sendto(fd, msg, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

// sendDatagram sends one packet on a connected socket without blocking.
func sendDatagram(fd int, pkt []byte) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&pkt[0])), uintptr(len(pkt)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return errno
}

// sendLast says why a connection ends, right before it is closed. A socket that
// is closed with unread messages in it makes the peer see a reset in place of
// the reason, so the peer is kept from sending and its messages are read out. It
// reports true if there were descriptors in them, other than the one memfd that an
// honest publisher's first message has, and whose closing never blocks.
func sendLast(fd int, kind byte, reason string) (foreign bool) {
	_ = sendControl(fd, append([]byte{kind}, reason...))
	_ = unix.Shutdown(fd, unix.SHUT_RD)
	var rest [1]byte
	for {
		n, fds, errno := receiveRights(fd, rest[:])
		switch {
		case len(fds) == 1 && isMemfd(fds[0]):
			unix.Close(fds[0])
		case len(fds) > 0:
			go closeForeign(fds)
			return true
		}
		if n <= 0 || errno != 0 {
			return false
		}
	}
}

// isMemfd says that a descriptor is of a memfd: only these have seals.
func isMemfd(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil
}

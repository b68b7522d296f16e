package core

import (
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

// receive reads one message without blocking and returns its true length, which
// is larger than buf if the message was cut. 0 means end of file.
func receive(fd int, buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	return int(n), errno
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
// the reason, so the peer is kept from sending and its messages are read out.
func sendLast(fd int, kind byte, reason string) {
	_ = sendControl(fd, append([]byte{kind}, reason...))
	_ = unix.Shutdown(fd, unix.SHUT_RD)
	var rest [1]byte
	for {
		if n, errno := receive(fd, rest[:]); n <= 0 || errno != 0 {
			return
		}
	}
}

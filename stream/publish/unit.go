package publish

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// callPackets is how many packets one call gives to the kernel.
const callPackets = 32

// manyMessage is struct mmsghdr.
type manyMessage struct {
	msg unix.Msghdr
	_   uint32 // of the message that the kernel took
}

// WriteUnit sends all packets of a picture, each as [Conn.WriteRTP] does. They reach
// the forwarder together, which shows no picture before its last packet.
func (c *Conn) WriteUnit(packets [][]byte) error {
	for _, p := range packets {
		if !sendable(p) {
			return errNotRTP
		}
	}
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		packets, failed = sendMany(fd, packets)
		return len(packets) == 0 || failed != nil
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return c.failure(err)
	}
	return nil
}

// sendMany writes messages as long as there is room, and returns the rest.
func sendMany(fd uintptr, packets [][]byte) ([][]byte, error) {
	var calls [callPackets]manyMessage
	var iov [callPackets]unix.Iovec
	for len(packets) > 0 {
		some := packets[:min(len(packets), callPackets)]
		for i, p := range some {
			iov[i].Base = &p[0]
			iov[i].SetLen(len(p))
			calls[i].msg.Iov = &iov[i]
			calls[i].msg.SetIovlen(1)
		}
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&calls)), uintptr(len(some)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		runtime.KeepAlive(packets)
		switch errno {
		case 0:
			packets = packets[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return packets, nil
		default:
			return packets, errno
		}
	}
	return nil, nil
}

package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// Sizes and numbers of linux/inet_diag.h.
	diagRequest = 56
	diagAnswer  = 72
	diagUID     = 64
	diagCgroup  = 21 // INET_DIAG_CGROUP_ID, since Linux 5.10
	diagByType  = 20 // SOCK_DIAG_BY_FAMILY

	anyCookie = ^uint64(0)

	// maxCgroups bounds how many cgroups below the slot's are looked at.
	maxCgroups = 256

	diagPatience = 2 // seconds that the kernel may take to answer
)

// owner is what the kernel tells of the process that opened a socket.
type owner struct {
	uid    int
	cgroup uint64 // 0: not told
}

// mayPublish says why a connection's other end may not publish: it belongs to
// another user, or to a process outside of the slot's cgroup. Both are those of
// the process that opened the socket, whoever uses it now.
func (c Config) mayPublish(conn net.Conn) error {
	who, err := ownerOf(conn.RemoteAddr(), conn.LocalAddr())
	if errors.Is(err, errUntold) {
		return nil // the secret stays
	}
	if err != nil {
		return fmt.Errorf("whose connection it is cannot be told: %w", err)
	}
	if who.uid != os.Geteuid() && who.uid != 0 {
		return fmt.Errorf("the publisher runs as user %d, and the app as user %d", who.uid, os.Geteuid())
	}
	if c.Cgroup == "" || who.cgroup == 0 {
		return nil
	}
	inside, err := withinCgroup(c.Cgroup, who.cgroup)
	if err != nil {
		return fmt.Errorf("the app's cgroup cannot be read: %w", err)
	}
	if !inside {
		return errors.New("the publisher runs outside of the app's cgroup; start it from the app")
	}
	return nil
}

// errUntold says that this kernel does not tell whose a socket is.
var errUntold = errors.New("the kernel has no sock_diag for TCP")

// ownerOf asks the kernel whose TCP socket has these addresses (sock_diag(7)).
func ownerOf(local, remote net.Addr) (owner, error) {
	from, to, err := addresses(local, remote)
	if err != nil {
		return owner{}, err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return owner{}, errUntold
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagPatience}); err != nil {
		return owner{}, err
	}
	if err := unix.Sendto(fd, diagQuestion(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return owner{}, err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return owner{}, err
	}
	return readOwner(buf[:n])
}

func addresses(local, remote net.Addr) (from, to netip.AddrPort, err error) {
	l, ok1 := local.(*net.TCPAddr)
	r, ok2 := remote.(*net.TCPAddr)
	if !ok1 || !ok2 {
		return from, to, fmt.Errorf("%v is no TCP connection", local)
	}
	from, to = l.AddrPort(), r.AddrPort()
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), nil
}

// diagQuestion is a netlink message with one inet_diag_req_v2.
func diagQuestion(from, to netip.AddrPort) []byte {
	msg := make([]byte, unix.SizeofNlMsghdr+diagRequest)
	order := binary.NativeEndian
	order.PutUint32(msg, uint32(len(msg)))
	order.PutUint16(msg[4:], diagByType)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST)
	req := msg[unix.SizeofNlMsghdr:]
	req[0], req[1] = unix.AF_INET, unix.IPPROTO_TCP
	if from.Addr().Is6() {
		req[0] = unix.AF_INET6
	}
	order.PutUint32(req[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(req[8:], from.Port())
	binary.BigEndian.PutUint16(req[10:], to.Port())
	copy(req[12:28], from.Addr().AsSlice())
	copy(req[28:44], to.Addr().AsSlice())
	order.PutUint64(req[48:], anyCookie)
	return msg
}

// readOwner reads the kernel's answer: an inet_diag_msg and its attributes, or an error.
func readOwner(msg []byte) (owner, error) {
	order := binary.NativeEndian
	if len(msg) < unix.SizeofNlMsghdr+4 {
		return owner{}, errors.New("sock_diag: a short answer")
	}
	body := msg[unix.SizeofNlMsghdr:]
	if order.Uint16(msg[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(order.Uint32(body)))
		if errno == unix.ENOENT || errno == unix.EOPNOTSUPP || errno == unix.EINVAL {
			return owner{}, errUntold // also what a socket of another network namespace gives
		}
		return owner{}, fmt.Errorf("sock_diag: %w", errno)
	}
	if order.Uint16(msg[4:]) != diagByType || len(body) < diagAnswer {
		return owner{}, errors.New("sock_diag: an unknown answer")
	}
	who := owner{uid: int(order.Uint32(body[diagUID:]))}
	for attrs := body[diagAnswer:]; len(attrs) >= unix.SizeofNlAttr; {
		size, kind := int(order.Uint16(attrs)), order.Uint16(attrs[2:])
		if size < unix.SizeofNlAttr || size > len(attrs) {
			break
		}
		if kind == diagCgroup && size == unix.SizeofNlAttr+8 {
			who.cgroup = order.Uint64(attrs[unix.SizeofNlAttr:])
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return who, nil
}

// withinCgroup looks for a cgroup by its number at a directory and below it.
func withinCgroup(dir string, id uint64) (inside bool, err error) {
	seen := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == dir {
				return err
			}
			return nil // it has just gone
		}
		if !d.IsDir() {
			return nil
		}
		if seen++; seen > maxCgroups {
			return fmt.Errorf("%s has more than %d cgroups", dir, maxCgroups)
		}
		if n, err := cgroupID(path); err == nil && n == id {
			inside = true
			return fs.SkipAll
		}
		return nil
	})
	return inside, err
}

// cgroupID is the number by which the kernel knows a cgroup: its file handle.
func cgroupID(dir string) (uint64, error) {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return 0, err
	}
	if len(handle.Bytes()) != 8 {
		return 0, fmt.Errorf("%s is no cgroup", dir)
	}
	return binary.NativeEndian.Uint64(handle.Bytes()), nil
}

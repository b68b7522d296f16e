package gateway

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// maxCaught bounds the datagrams that are taken out of a new socket: as many as
// its buffer holds.
const maxCaught = 8192

// socket is a viewer's own: on the gateway's port, connected to the viewer. From
// its connection on, the kernel puts there whatever comes from the viewer to the
// port, and nothing else.
type socket struct{ fd int }

// connect makes a viewer's own socket. The caller drains it, passes it on, and
// closes it.
func (p *port) connect(viewer netip.AddrPort) (socket, error) {
	s, err := p.bind(viewer)
	if err != nil {
		return socket{}, fmt.Errorf("make a viewer's socket: %w", err)
	}
	if err := unix.Connect(s.fd, sockaddr(viewer)); err != nil {
		p.drain(s)
		s.close()
		return socket{}, fmt.Errorf("connect a socket to the viewer: %w", err)
	}
	return s, nil
}

// bind makes the socket on the port. Until it is connected it takes away what
// comes from other viewers.
func (p *port) bind(viewer netip.AddrPort) (socket, error) {
	local := p.addr().AddrPort()
	ip := local.Addr().Unmap()
	family := unix.AF_INET6
	if viewer.Addr().Is4() {
		family = unix.AF_INET
		if ip.Is6() { // bound to any address, of either family
			ip = netip.IPv4Unspecified()
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return socket{}, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err == nil {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(ip, local.Port())))
	}
	if err != nil {
		unix.Close(fd)
		return socket{}, err
	}
	return socket{fd}, nil
}

// drain takes out of a new socket what came between its bind and its connection,
// which may be anybody's, and treats it as if it had come to the port. A datagram
// for which the kernel had chosen the socket just then may be queued later still;
// it proves nothing to the keys of this viewer and is dropped by the forwarder.
func (p *port) drain(s socket) {
	buf := make([]byte, maxDatagram+1)
	for range maxCaught {
		n, sa, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		from, ok := addrPort(sa)
		if err != nil || !ok {
			return
		}
		p.take(buf[:n], from)
	}
}

func (s socket) close() { unix.Close(s.fd) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}

package turn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// line is a relayed address: a socket that knows the relay and nobody else.
type line struct {
	*net.UDPConn // connected

	peer *net.UDPAddr // by what browsers know the relay
	sums *sums
	once sync.Once // for Close
}

// sums are figures of all lines.
type sums struct{ lines, toRelay, back atomic.Int64 }

var _ net.PacketConn = (*line)(nil)

// dial makes one. The relay may be known to browsers by another address than it has here.
func dial(target, peer netip.AddrPort, sums *sums) (*line, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return nil, fmt.Errorf("a socket to the relay: %w", err)
	}
	_ = c.SetReadBuffer(1 << 20) // a key frame comes at once; as large as the system allows
	sums.lines.Add(1)
	return &line{UDPConn: c, peer: net.UDPAddrFromAddrPort(peer), sums: sums}, nil
}

// Close implements [net.PacketConn]. It may be called again.
func (l *line) Close() (err error) {
	l.once.Do(func() {
		l.sums.lines.Add(-1)
		err = l.UDPConn.Close()
	})
	return err
}

// ReadFrom implements [net.PacketConn].
func (l *line) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, err := l.Read(p)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // the gateway is being started again; its viewers are kept
		}
		l.sums.back.Add(int64(n))
		return n, l.peer, err
	}
}

var errElsewhere = errors.New("only the panel's relay can be reached")

// WriteTo implements [net.PacketConn].
func (l *line) WriteTo(p []byte, to net.Addr) (int, error) {
	at, ok := to.(*net.UDPAddr)
	if !ok || at.Port != l.peer.Port || !at.IP.Equal(l.peer.IP) {
		return 0, errElsewhere
	}
	l.sums.toRelay.Add(int64(len(p)))
	return l.Write(p)
}

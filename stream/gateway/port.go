package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// udpBuffer holds the handshakes of many viewers that come at once.
	udpBuffer = 2 << 20

	// maxDatagram is more than any viewer sends.
	maxDatagram = 8 << 10

	// portQueue is how many datagrams may wait for WebRTC.
	portQueue = 256
)

// port is the UDP port on which every WHEP viewer begins. It looks at what comes
// before WebRTC does: a check goes on only if its sender knows the password, and
// the checks of viewers that the forwarder has are answered here.
//
// It implements [net.PacketConn] for WebRTC, which must read it all the time.
type port struct {
	conn *net.UDPConn
	log  *slog.Logger

	passed  chan datagram
	closed  chan struct{}
	closing sync.Once

	mu    sync.Mutex
	links map[string]*link // by our ufrag
}

type datagram struct {
	pkt  []byte
	from netip.AddrPort
}

// openPort binds the port so that established viewers can have sockets of their
// own on it. It does not find out whether another gateway has it as well; that
// one has the HTTP address, too.
func openPort(addr string, log *slog.Logger) (*port, error) {
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); ctl != nil {
			return ctl
		}
		return err
	}}
	conn, err := share.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	p := &port{
		conn: conn.(*net.UDPConn), log: log, links: map[string]*link{},
		passed: make(chan datagram, portQueue), closed: make(chan struct{}),
	}
	// The kernel may grant less than asked; what is lost then is sent again.
	_ = p.conn.SetWriteBuffer(udpBuffer)
	_ = p.conn.SetReadBuffer(udpBuffer)
	return p, nil
}

// run reads until the port is closed, which is no error.
func (p *port) run() error {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("udp: %w", err)
		}
		p.take(buf[:n], from)
	}
}

// take gives a datagram to whom it belongs. It keeps no part of pkt.
func (p *port) take(pkt []byte, from netip.AddrPort) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if len(pkt) == 0 {
		return
	}
	if c, ok := parseCheck(pkt); ok {
		l, ok := p.link(c.ufrag)
		if !ok || !c.by(l.pwd) {
			return
		}
		if l.handedOver() {
			p.answer(c, l, from)
			return
		}
	}
	select {
	case p.passed <- datagram{slices.Clone(pkt), from}:
	case <-p.closed:
	}
}

// answer replies to a viewer that the forwarder has, in its name.
func (p *port) answer(c *check, l *link, from netip.AddrPort) {
	reply, err := c.reply(l.pwd, from)
	if err == nil {
		_, err = p.conn.WriteToUDPAddrPort(reply, from)
	}
	if err != nil {
		p.log.Debug("a check was not answered", "from", from, "err", err)
	}
	l.heard(from, c.nominates())
}

// add makes a viewer known by its ufrag; it is the caller's to remove.
func (p *port) add(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l.ufrag] = l
}

func (p *port) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l.ufrag)
}

func (p *port) link(ufrag string) (*link, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.links[ufrag]
	return l, ok
}

func (p *port) addr() *net.UDPAddr { return p.conn.LocalAddr().(*net.UDPAddr) }

// ReadFrom implements [net.PacketConn].
func (p *port) ReadFrom(buf []byte) (int, net.Addr, error) {
	select {
	case d := <-p.passed:
		return copy(buf, d.pkt), net.UDPAddrFromAddrPort(d.from), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo implements [net.PacketConn].
func (p *port) WriteTo(pkt []byte, to net.Addr) (int, error) { return p.conn.WriteTo(pkt, to) }

// Close implements [net.PacketConn].
func (p *port) Close() error {
	p.closing.Do(func() {
		close(p.closed)
		p.conn.Close()
	})
	return nil
}

// LocalAddr implements [net.PacketConn].
func (p *port) LocalAddr() net.Addr { return p.conn.LocalAddr() }

// The deadlines of [net.PacketConn] are of no use to a reader that never gives up.

func (p *port) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (p *port) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (p *port) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

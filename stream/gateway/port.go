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

	"github.com/pion/stun"
	"golang.org/x/sys/unix"
)

const (
	// udpBuffer holds the handshakes of many viewers that come at once.
	udpBuffer = 2 << 20

	// maxDatagram is more than any viewer sends.
	maxDatagram = 8 << 10

	// portQueue is how many datagrams may wait for WebRTC.
	portQueue = 256

	// maxPaths is from how many addresses a viewer may shake hands; browsers try all
	// of their interfaces.
	maxPaths = 16
)

// What became of a datagram that came to the port.
const (
	fatePassed    = "passed"    // to WebRTC
	fateAnswered  = "answered"  // a check of a viewer that the forwarder has
	fateUnproven  = "unproven"  // a check that does not know the password
	fateStranger  = "stranger"  // from an address that no check has come from
	fateUseless   = "useless"   // STUN that is no check, or what a viewer still says that the forwarder has
	fateOversized = "oversized" // larger than any viewer's
)

// port is the UDP port on which every WHEP viewer begins. It looks at what comes
// before WebRTC does: a check goes on only if its sender knows the password, all
// else only from where such a check has come, and the checks of viewers that the
// forwarder has are answered here.
//
// It implements [net.PacketConn] for WebRTC, which must read it all the time.
type port struct {
	conn *net.UDPConn
	log  *slog.Logger
	fate func(string) // counts a datagram

	passed  chan datagram
	closed  chan struct{}
	closing sync.Once

	mu    sync.Mutex               // guards what follows, and the paths of the links
	links map[string]*link         // by our ufrag
	paths map[netip.AddrPort]*link // by where its viewer has proven itself
}

type datagram struct {
	pkt  []byte
	from netip.AddrPort
}

// openPort binds the port so that established viewers can have sockets of their
// own on it. It does not find out whether another gateway has it as well; that
// one has the HTTP address, too.
func openPort(addr string, fate func(string), log *slog.Logger) (*port, error) {
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
		conn: conn.(*net.UDPConn), log: log, fate: fate,
		links: map[string]*link{}, paths: map[netip.AddrPort]*link{},
		passed: make(chan datagram, portQueue), closed: make(chan struct{}),
	}
	// The kernel may grant less than asked; what is lost then is sent again.
	_ = p.conn.SetWriteBuffer(udpBuffer)
	_ = p.conn.SetReadBuffer(udpBuffer)
	return p, nil
}

// run reads until the port is closed, which is no error.
func (p *port) run() error {
	buf := make([]byte, maxDatagram+1)
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

// take gives a datagram to whom it belongs, or to nobody. It keeps no part of pkt.
func (p *port) take(pkt []byte, from netip.AddrPort) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	switch l := p.path(from); {
	case len(pkt) > maxDatagram:
		p.fate(fateOversized)
	case stun.IsMessage(pkt) && !isAnswer(pkt): // WebRTC asks back, although it is lite
		p.check(pkt, from)
	case l == nil:
		p.fate(fateStranger)
	case l.handedOver():
		p.fate(fateUseless)
	default:
		p.pass(pkt, from)
	}
}

// check takes what may be a viewer's check.
func (p *port) check(pkt []byte, from netip.AddrPort) {
	c, ok := parseCheck(pkt)
	if !ok {
		p.fate(fateUseless)
		return
	}
	l, ok := p.link(c.ufrag)
	if !ok {
		p.fate(fateUnproven)
		return
	}
	pwd := l.own().pwd
	if !c.by(pwd) {
		p.fate(fateUnproven)
		return
	}
	if l.handedOver() {
		p.fate(fateAnswered)
		p.answer(c, l, pwd, from)
		return
	}
	p.prove(l, from)
	p.pass(pkt, from)
}

// pass gives a datagram to WebRTC.
func (p *port) pass(pkt []byte, from netip.AddrPort) {
	p.fate(fatePassed)
	select {
	case p.passed <- datagram{slices.Clone(pkt), from}:
	case <-p.closed:
	}
}

// answer replies to a viewer that the forwarder has, in its name.
func (p *port) answer(c *check, l *link, pwd string, from netip.AddrPort) {
	reply, err := c.reply(pwd, from)
	if err == nil {
		_, err = p.conn.WriteToUDPAddrPort(reply, from)
	}
	if err != nil {
		p.log.Debug("a check was not answered", "from", from, "err", err)
	}
	l.heard(from, c.nominates())
}

// add makes a viewer known by our ufrag; it is the caller's to remove.
func (p *port) add(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l.own().ufrag] = l
}

func (p *port) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ufrag := l.own().ufrag; p.links[ufrag] == l {
		delete(p.links, ufrag)
	}
	for _, from := range l.paths {
		if p.paths[from] == l {
			delete(p.paths, from)
		}
	}
	l.paths = nil
}

// renew gives a viewer new credentials; with the old ones it is no longer known.
func (p *port) renew(l *link, now credentials) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.links[l.ours.ufrag] != l {
		return // the viewer has just ended
	}
	delete(p.links, l.ours.ufrag)
	l.ours = now
	p.links[now.ufrag] = l
}

// prove notes that a valid check has come from an address. If there are too many,
// the first one is forgotten.
func (p *port) prove(l *link, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paths[from] == l || p.links[l.own().ufrag] != l {
		return
	}
	if len(l.paths) == maxPaths {
		if p.paths[l.paths[0]] == l {
			delete(p.paths, l.paths[0])
		}
		l.paths = l.paths[1:]
	}
	l.paths = append(l.paths, from)
	p.paths[from] = l
}

// path is the viewer who has proven itself at an address; nil: nobody has.
func (p *port) path(from netip.AddrPort) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths[from]
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

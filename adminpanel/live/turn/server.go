package turn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v2"
)

const (
	// MaxConns bounds the connections, and MaxConnsFrom those of one address.
	MaxConns     = 256
	MaxConnsFrom = 32

	acceptPause = 50 * time.Millisecond // after an accept that failed
)

// Config is what a [Server] needs.
type Config struct {
	Listen string      // TCP address
	TLS    *tls.Config // nil: TCP without TLS
	// Relay is where the relay of pictures is on this machine, and as what browsers know it.
	Relay func() (target, peer netip.AddrPort)
	Log   *slog.Logger
}

// Counts are a server's figures.
type Counts struct {
	Conns, Lines  int64 // connections, and relayed addresses, just now
	Refused       int64 // connections beyond a limit
	Bad           int64 // connections that were ended for what came on them
	ToRelay, Back int64 // bytes of datagrams
}

// Server is safe for concurrent use.
type Server struct {
	cfg    Config
	at     net.Listener
	passes passes
	ctx    context.Context
	stop   context.CancelFunc
	owned  sync.WaitGroup

	sums         sums
	refused, bad atomic.Int64

	mu    sync.Mutex // guards what follows
	conns int
	from  map[netip.Prefix]int
}

// Start listens, and serves until Close.
func Start(cfg Config) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for TURN: %w", err)
	}
	s := &Server{cfg: cfg, at: l, passes: newPasses(), from: map[netip.Prefix]int{}}
	if cfg.TLS != nil {
		s.cfg.TLS = cfg.TLS.Clone()
		s.cfg.TLS.NextProtos = nil // those of web pages are not for here
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.owned.Go(s.accept)
	return s, nil
}

// Close ends it and all that goes through it.
func (s *Server) Close() {
	s.stop()
	s.at.Close()
	s.owned.Wait()
}

// Port is where it listens.
func (s *Server) Port() int { return s.at.Addr().(*net.TCPAddr).Port }

// Secure says whether browsers come by TLS.
func (s *Server) Secure() bool { return s.cfg.TLS != nil }

// Pass makes a pass for somebody who may watch.
func (s *Server) Pass() Pass { return s.passes.give(time.Now()) }

// Counts are its figures of now.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	return Counts{
		Conns: int64(conns), Lines: s.sums.lines.Load(), Refused: s.refused.Load(), Bad: s.bad.Load(),
		ToRelay: s.sums.toRelay.Load(), Back: s.sums.back.Load(),
	}
}

func (s *Server) accept() {
	for s.ctx.Err() == nil {
		c, err := s.at.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // there are no descriptors left, for a moment
			rest(s.ctx, acceptPause)
			continue
		}
		house := household(c.RemoteAddr())
		if !s.enter(house) {
			s.refused.Add(1)
			c.Close()
			continue
		}
		s.owned.Go(func() {
			defer s.leave(house)
			defer c.Close()
			s.serve(c)
		})
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// household is whose connection it is: an address, of IPv6 its network.
func household(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

func (s *Server) enter(from netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns >= MaxConns || s.from[from] >= MaxConnsFrom {
		return false
	}
	s.conns++
	s.from[from]++
	return true
}

func (s *Server) leave(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	if s.from[from]--; s.from[from] == 0 {
		delete(s.from, from)
	}
}

// serve has the library serve one connection, and ends what it has made for it.
func (s *Server) serve(c net.Conn) {
	since := time.Now()
	if s.cfg.TLS != nil {
		line := tls.Server(c, s.cfg.TLS)
		hello, cancel := context.WithDeadline(s.ctx, since.Add(beginTime))
		err := line.HandshakeContext(hello)
		cancel()
		if err != nil {
			s.bad.Add(1)
			s.cfg.Log.Debug("a handshake for TURN has failed", "from", c.RemoteAddr(), "cause", err)
			return
		}
		c = line
	}
	target, peer := s.cfg.Relay()
	v := &visit{s: s, frames: newFrames(c, peer, since), target: target, peer: peer}
	defer v.hangUp()
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: realm, AuthHandler: v.key, LoggerFactory: quiet{s.cfg.Log},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: v.frames, RelayAddressGenerator: v, PermissionHandler: v.may}},
	})
	if err != nil {
		s.cfg.Log.Error("no TURN for a viewer", "cause", err)
		return
	}
	defer server.Close()
	select {
	case <-v.frames.over:
		if isBad(v.frames.why) {
			s.bad.Add(1)
		}
		s.cfg.Log.Debug("a connection for TURN has ended", "from", c.RemoteAddr(), "cause", v.frames.why)
	case <-s.ctx.Done():
	}
}

func isBad(err error) bool {
	for _, bad := range []error{errTooLong, errNoKind, errForeign, errCut, errReserved} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

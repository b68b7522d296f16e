package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the connections of RTSP viewers who do not watch yet.
const (
	maxJoining     = 512 // connections
	maxJoiningEach = 64  // of one address

	// DefaultJoinTime is from a connection to its PLAY; half of it may pass between
	// two requests.
	DefaultJoinTime = 30 * time.Second

	// maxJoinRequests is how many requests a viewer may need until it plays.
	maxJoinRequests = 100

	rtspWrite = 5 * time.Second // for a viewer to take what is written

	acceptPause = 50 * time.Millisecond // when the system has no more descriptors
)

// rtspServer lets viewers in by RTSP (RFC 2326), or by RTSP over TLS.
type rtspServer struct {
	g        *Gateway
	listener net.Listener
	tls      *tls.Config // nil: plain
	feeds    bool        // viewers watch through the gateway
	log      *slog.Logger

	mu      sync.Mutex // guards what follows
	closed  bool
	conns   map[net.Conn]struct{}
	serving sync.WaitGroup
}

// newRTSPServer binds the address. With certificates it speaks TLS.
func newRTSPServer(g *Gateway, addr string, certs *tls.Config) (*rtspServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &rtspServer{g: g, listener: ln, tls: certs, feeds: certs != nil, log: g.log, conns: map[net.Conn]struct{}{}}, nil
}

// addr is nil without a server.
func (s *rtspServer) addr() net.Addr {
	if s == nil {
		return nil
	}
	return s.listener.Addr()
}

// run serves until close, or until the listener fails. Sessions live in ctx.
func (s *rtspServer) run(ctx context.Context) error {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			s.log.Warn("an RTSP connection was not accepted", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		s.admit(ctx, conn.(*net.TCPConn))
	}
}

// admit serves a connection if there is room for one more.
func (s *rtspServer) admit(ctx context.Context, tcp *net.TCPConn) {
	from := addrOf(tcp.RemoteAddr())
	if !s.g.door.enter(from) {
		s.g.metrics.refusals.WithLabelValues("connections").Inc()
		tcp.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.g.door.leave(from)
		tcp.Close()
		return
	}
	s.conns[tcp] = struct{}{}
	s.serving.Go(func() {
		s.serve(ctx, tcp, from)
		s.mu.Lock()
		delete(s.conns, tcp)
		s.mu.Unlock()
	})
}

// serve has the conversation with one viewer.
func (s *rtspServer) serve(ctx context.Context, tcp *net.TCPConn, from netip.Addr) {
	defer tcp.Close() // of a viewer who was handed over, this is not the last descriptor
	c := newRTSPConn(ctx, s, tcp, from)
	defer c.leaveDoor()
	if s.tls != nil {
		secure := tls.Server(tcp, s.tls)
		tcp.SetDeadline(time.Now().Add(s.g.cfg.JoinTime / 2))
		if err := secure.HandshakeContext(ctx); err != nil {
			s.log.Debug("RTSPS handshake failed", "from", from, "err", err)
			return
		}
		c.over(secure)
	}
	c.converse()
}

// close ends the listener and every viewer who is not the forwarder's, and waits
// for their end.
func (s *rtspServer) close() {
	s.mu.Lock()
	s.closed = true
	s.listener.Close()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func addrOf(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr().Unmap() }

// duplicate makes a second descriptor of a connection, and leaves its mode alone.
func duplicate(tcp *net.TCPConn) (socket, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return socket{}, err
	}
	var fd int
	var failed error
	err = raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return socket{}, fmt.Errorf("a second descriptor of the connection: %w", err)
	}
	return socket{fd}, nil
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// DefaultMaxViewers bounds the sessions of all streams together.
	DefaultMaxViewers = 128

	// maxConns bounds open TCP connections of either server, sessions or not.
	maxConns = 512

	// udpBuffer holds the burst of a key frame for many viewers.
	udpBuffer = 2 << 20

	// goodbye is how long requests under way may take once the gateway is to end.
	goodbye = 2 * time.Second
)

// Config says where the gateway listens and whom it asks for packets.
type Config struct {
	Run        string       // run directory: the forwarder's viewers.sock is in it
	HTTP       string       // WHEP signalling, TCP
	RTSP       string       // RTSP, TCP; its UDP ports are taken beside it
	UDP        string       // the one port of all WHEP media
	Advertise  []netip.Addr // told to viewers in place of the UDP socket's own addresses
	MaxViewers int          // 0: DefaultMaxViewers
}

// Gateway serves viewers from [New] until Run ends.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	http  net.Listener
	rtsp  *rtspServer
	peers *peers
	seats chan struct{} // holds a token for each viewer

	mu       sync.Mutex // guards sessions
	sessions map[string]*session
	running  sync.WaitGroup // of sessions
}

// New binds every address, so that what is wrong with one is known at once.
func New(cfg Config, log *slog.Logger) (*Gateway, error) {
	if cfg.MaxViewers == 0 {
		cfg.MaxViewers = DefaultMaxViewers
	}
	g := &Gateway{cfg: cfg, log: log, seats: make(chan struct{}, cfg.MaxViewers), sessions: map[string]*session{}}
	if err := g.listen(); err != nil {
		g.close()
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

func (g *Gateway) listen() error {
	ln, err := net.Listen("tcp", g.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	g.http = netutil.LimitListener(ln, maxConns)
	if g.rtsp, err = newRTSPServer(g, g.cfg.RTSP); err != nil {
		return fmt.Errorf("rtsp: %w", err)
	}
	addr, err := net.ResolveUDPAddr("udp", g.cfg.UDP)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	// The kernel may grant less than asked; that costs resends, not the viewer.
	_ = conn.SetWriteBuffer(udpBuffer)
	_ = conn.SetReadBuffer(udpBuffer)
	g.peers = newPeers(conn, g.cfg.Advertise, g.log)
	return nil
}

func (g *Gateway) close() {
	if g.http != nil {
		g.http.Close()
	}
	if g.rtsp != nil {
		g.rtsp.close()
	}
	if g.peers != nil {
		g.peers.close()
	}
}

// HTTPAddr is where WHEP signalling is served.
func (g *Gateway) HTTPAddr() net.Addr { return g.http.Addr() }

// RTSPAddr is where RTSP is served.
func (g *Gateway) RTSPAddr() net.Addr { return g.rtsp.listener.Addr() }

// Run serves until ctx ends, which is no error, or a listener fails.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.close()
	ctx, cancel := context.WithCancel(ctx)
	defer g.running.Wait()
	defer cancel()

	failed := make(chan error, 2)
	web := g.webServer(ctx)
	go func() { failed <- web.Serve(g.http) }()
	if err := g.rtsp.start(ctx); err != nil {
		web.Close()
		g.log.Debug("server ended", "reason", <-failed)
		return fmt.Errorf("gateway: rtsp: %w", err)
	}
	go func() { failed <- g.rtsp.wait() }()
	g.log.Info("gateway serves", "http", g.HTTPAddr(), "rtsp", g.RTSPAddr(), "udp", g.peers.addr())

	var err error
	open := 2
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("gateway: serve: %w", err)
		open--
	}
	cancel()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer done()
	if errors.Is(web.Shutdown(last), context.DeadlineExceeded) {
		web.Close()
	}
	g.rtsp.close()
	for range open {
		g.log.Debug("server ended", "reason", <-failed)
	}
	return err
}

// sit takes a viewer's place; it reports false when all are taken.
func (g *Gateway) sit() bool {
	select {
	case g.seats <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *Gateway) leave() { <-g.seats }

func (g *Gateway) viewersSocket() string { return filepath.Join(g.cfg.Run, "viewers.sock") }

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

	"slipstream/stream/handover"
)

const (
	// DefaultMaxViewers bounds the sessions of all streams together.
	DefaultMaxViewers = 128

	// maxConns bounds open TCP connections of either server, sessions or not.
	maxConns = 512

	// goodbye is how long requests under way may take once the gateway is to end.
	goodbye = 2 * time.Second
)

// Config says where the gateway listens and whom it asks for packets.
type Config struct {
	Run        string       // run directory: the forwarder's sockets are in it
	HTTP       string       // WHEP signalling, TCP
	RTSP       string       // RTSP, TCP; its UDP ports are taken beside it; "": no RTSP
	UDP        string       // the one port of all WHEP media
	Advertise  []netip.Addr // told to viewers in place of the UDP socket's own addresses
	MaxViewers int          // 0: DefaultMaxViewers

	Public  bool   // everybody may watch; else those in Viewers
	Viewers string // file of those who may (see package viewers)
	Secret  string // with which the device itself watches; "": it does not
}

// Gateway serves viewers from [New] until Run ends.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	http  net.Listener
	rtsp  *rtspServer // nil without RTSP
	peers *peers
	seats chan struct{} // holds a token for each viewer
	guard *guard

	forwarder *forwarder

	mu       sync.Mutex // guards sessions
	sessions map[string]*session
	running  sync.WaitGroup // of sessions
}

// New binds every address, so that what is wrong with one is known at once.
func New(cfg Config, log *slog.Logger) (*Gateway, error) {
	if cfg.MaxViewers == 0 {
		cfg.MaxViewers = DefaultMaxViewers
	}
	if err := checkInside(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{cfg: cfg, log: log, seats: make(chan struct{}, cfg.MaxViewers), sessions: map[string]*session{}}
	var err error
	if g.guard, err = newGuard(cfg, log); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.forwarder = newForwarder(filepath.Join(cfg.Run, handover.Socket), log)
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
	if g.cfg.RTSP != "" {
		if g.rtsp, err = newRTSPServer(g, g.cfg.RTSP); err != nil {
			return fmt.Errorf("rtsp: %w", err)
		}
	}
	udp, err := openPort(g.cfg.UDP, g.log)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	g.peers = newPeers(udp, g.cfg.Advertise, g.log)
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
	g.forwarder.close()
}

// HTTPAddr is where WHEP signalling is served.
func (g *Gateway) HTTPAddr() net.Addr { return g.http.Addr() }

// RTSPAddr is where RTSP is served; nil without it.
func (g *Gateway) RTSPAddr() net.Addr {
	if g.rtsp == nil {
		return nil
	}
	return g.rtsp.listener.Addr()
}

// UDPAddr is where WHEP media begins.
func (g *Gateway) UDPAddr() net.Addr { return g.peers.addr() }

// Run serves until ctx ends, which is no error, or a listener fails. Viewers that
// the forwarder has stay there.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	web := g.webServer(ctx)
	services := []func() error{func() error { return web.Serve(g.http) }, g.peers.port.run}
	if g.rtsp != nil {
		if err := g.rtsp.start(ctx); err != nil {
			cancel()
			g.close()
			return fmt.Errorf("gateway: rtsp: %w", err)
		}
		services = append(services, g.rtsp.wait)
	}
	failed := make(chan error, len(services)) // how each service ended
	var serving sync.WaitGroup
	for _, serve := range services {
		serving.Go(func() { failed <- serve() })
	}
	g.log.Info("gateway serves", "http", g.HTTPAddr(), "rtsp", g.RTSPAddr(), "udp", g.UDPAddr())

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("gateway: serve: %w", err)
	}
	cancel()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer done()
	if errors.Is(web.Shutdown(last), context.DeadlineExceeded) {
		web.Close()
	}
	g.running.Wait()
	g.close()
	serving.Wait()
	close(failed)
	for reason := range failed {
		g.log.Debug("server ended", "reason", reason)
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

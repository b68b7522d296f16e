package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"slipstream/stream/handover"
)

// goodbye is how long requests under way may take once the gateway is to end.
const goodbye = 2 * time.Second

// Config says where the gateway listens and whom it asks for packets.
type Config struct {
	Run        string // run directory: the forwarder's sockets are in it
	HTTP       string // WHEP signalling, TCP; "": no WHEP
	UDP        string // the one port of all WHEP media
	RTSP       string // RTSP, TCP; "": none
	RTSPS      string // RTSP over TLS; "": none
	TLSCert    string // files of the certificate and key of RTSPS
	TLSKey     string
	Advertise  []netip.Addr // told to viewers in place of the UDP socket's own addresses
	MaxViewers int          // 0: DefaultMaxViewers

	MaxPerAddress int      // viewers of one address; 0: DefaultMaxPerAddress
	Origins       []string // whose pages may play; "*": all; none: all if Public, else the device's own
	Metrics       string   // metrics for Prometheus, TCP; "": none

	// JoinTime is how long an RTSP connection may take to its PLAY; 0: DefaultJoinTime.
	JoinTime time.Duration

	Public  bool   // everybody may watch; else those in Viewers
	Viewers string // file of those who may (see package viewers)
	Secret  string // with which the device itself watches; "": it does not
}

// Gateway serves viewers from [New] until Run ends.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	http  net.Listener // nil without WHEP
	peers *peers       // likewise
	rtsp  *rtspServer  // nil without RTSP
	rtsps *rtspServer  // likewise
	stats net.Listener // nil without metrics
	guard *guard
	door  *door // of RTSP

	guests    *guests
	tidier    tidier
	metrics   *metrics
	forwarder *forwarder
	asked     chan handover.Asked // of RTSP viewers that the forwarder has

	mu        sync.Mutex // guards sessions
	sessions  map[string]*session
	farewells farewells
	running   sync.WaitGroup // of sessions
}

// New binds every address, so that what is wrong with one is known at once.
func New(cfg Config, log *slog.Logger) (*Gateway, error) {
	cfg.MaxViewers = cmp.Or(cfg.MaxViewers, DefaultMaxViewers)
	cfg.MaxPerAddress = cmp.Or(cfg.MaxPerAddress, DefaultMaxPerAddress)
	cfg.JoinTime = cmp.Or(cfg.JoinTime, DefaultJoinTime)
	if err := checkInside(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		cfg: cfg, log: log, guests: newGuests(cfg.MaxViewers, cfg.MaxPerAddress), sessions: map[string]*session{},
		door: newDoor(maxJoining, maxJoiningEach), asked: make(chan handover.Asked, askedQueue),
		tidier: newTidier(debug.FreeOSMemory),
	}
	g.metrics = newMetrics(g)
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

func (g *Gateway) listen() (err error) {
	if g.cfg.HTTP != "" {
		if err := g.listenWHEP(); err != nil {
			return err
		}
	}
	if g.cfg.RTSP != "" {
		if g.rtsp, err = newRTSPServer(g, g.cfg.RTSP, nil); err != nil {
			return fmt.Errorf("rtsp: %w", err)
		}
	}
	if g.cfg.RTSPS != "" {
		cert, err := newCertificate(g.cfg.TLSCert, g.cfg.TLSKey, g.log)
		if err != nil {
			return fmt.Errorf("rtsps: %w", err)
		}
		if g.rtsps, err = newRTSPServer(g, g.cfg.RTSPS, cert.config()); err != nil {
			return fmt.Errorf("rtsps: %w", err)
		}
	}
	if g.cfg.Metrics != "" {
		if g.stats, err = net.Listen("tcp", g.cfg.Metrics); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

func (g *Gateway) listenWHEP() error {
	ln, err := net.Listen("tcp", g.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	g.http = turnstile{ln, g.guests, g.metrics.refusals.WithLabelValues("connections").Inc}
	udp, err := openPort(g.cfg.UDP, g.metrics.fate, g.log)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	g.peers = newPeers(udp, g.cfg.Advertise, g.log)
	return nil
}

// rtspServers are those that there are.
func (g *Gateway) rtspServers() (all []*rtspServer) {
	for _, s := range []*rtspServer{g.rtsp, g.rtsps} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

func (g *Gateway) close() {
	for _, ln := range []net.Listener{g.http, g.stats} {
		if ln != nil {
			ln.Close()
		}
	}
	for _, s := range g.rtspServers() {
		s.close()
	}
	if g.peers != nil {
		g.peers.close()
	}
}

// HTTPAddr is where WHEP signalling is served; nil without it.
func (g *Gateway) HTTPAddr() net.Addr {
	if g.http == nil {
		return nil
	}
	return g.http.Addr()
}

// UDPAddr is where WHEP media begins; nil without it.
func (g *Gateway) UDPAddr() net.Addr {
	if g.peers == nil {
		return nil
	}
	return g.peers.addr()
}

// MetricsAddr is where metrics are served; nil without them.
func (g *Gateway) MetricsAddr() net.Addr {
	if g.stats == nil {
		return nil
	}
	return g.stats.Addr()
}

// RTSPAddr is where RTSP is served; nil without it.
func (g *Gateway) RTSPAddr() net.Addr { return g.rtsp.addr() }

// RTSPSAddr is where RTSP is served over TLS; nil without it.
func (g *Gateway) RTSPSAddr() net.Addr { return g.rtsps.addr() }

// Run serves until ctx ends, which is no error, or a listener fails. Viewers that
// the forwarder has stay there.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	web := g.webServer(ctx)
	var services []func() error
	if g.http != nil {
		services = append(services, func() error { return web.Serve(g.http) }, g.peers.port.run)
	}
	for _, s := range g.rtspServers() {
		services = append(services, func() error { return s.run(ctx) })
	}
	stats := g.metricsServer()
	if g.stats != nil {
		services = append(services, func() error { return stats.Serve(g.stats) })
	}
	// The forwarder is spoken to until the last session has ended.
	talk, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	var talking sync.WaitGroup
	talking.Go(func() { g.forwarder.run(talk, g.hears(ctx)) })
	talking.Go(func() { g.answerAsked(talk) })
	failed := make(chan error, len(services)) // how each service ended
	var serving sync.WaitGroup
	for _, serve := range services {
		serving.Go(func() { failed <- serve() })
	}
	g.log.Info("gateway serves", "http", g.HTTPAddr(), "rtsp", g.RTSPAddr(), "rtsps", g.RTSPSAddr(), "udp", g.UDPAddr(), "metrics", g.MetricsAddr())

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
	stats.Close()
	for _, s := range g.rtspServers() {
		s.close()
	}
	g.running.Wait()
	g.tidier.stop()
	hangUp()
	talking.Wait()
	g.close()
	serving.Wait()
	close(failed)
	for reason := range failed {
		g.log.Debug("server ended", "reason", reason)
	}
	return err
}

// hears is what the gateway does about what the forwarder says by itself. Sessions
// live until ctx ends.
func (g *Gateway) hears(ctx context.Context) hears {
	return hears{
		known: func(k handover.Known, has *given) {
			var err error
			switch k.Kind {
			case handover.KindWHEP:
				err = g.adopt(ctx, k, has)
			case handover.KindRTSP:
				err = g.adoptPlayer(ctx, k, has)
			}
			if err != nil {
				g.log.Error("a viewer is not followed", "err", err)
			}
		},
		asked: g.takeAsked,
	}
}

func (g *Gateway) viewersSocket() string { return filepath.Join(g.cfg.Run, "viewers.sock") }

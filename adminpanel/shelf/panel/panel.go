package adminpanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/api"
	"slipstream/adminpanel/shelf/enrol"
	"slipstream/adminpanel/ui"
	"slipstream/agent/wire"
	"slipstream/verify"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// leaveTimeout is how long requests may go on once the panel is to stop.
	leaveTimeout = 3 * time.Second
	// comeBack is over how long devices spread their return to a panel that ends: it
	// is most likely starting again.
	comeBack = 2 * time.Second
	// lookAgain is how soon a revoked device and another generation of the authority
	// are noticed, which commands write into the panel's data.
	lookAgain = time.Second
	// tellAgain is how often devices whose link never ends hear that it is time for
	// another certificate.
	tellAgain = 12 * time.Hour
)

// Config is what a panel is started with.
type Config struct {
	Data  string // directory, made if missing
	Trust string // file of trusted public keys; "" leaves packages to the devices
	// Names are the names and addresses by which devices reach the panel.
	Names []string
	Fleet string // file of the fleet's root, which devices get when they enrol; "" for none
	// Live is how people watch devices through the panel; without Live.Media they cannot.
	Live live.Config
}

// Panel is one panel with its data open.
type Panel struct {
	store     *shelf.Store
	authority *ca.Authority
	desk      *enrol.Desk
	api       *api.API
	hub       *hub.Hub
	live      *live.Live // nil: nobody watches through the panel
	log       *slog.Logger
}

// New opens the panel's data. Close closes it.
func New(cfg Config, log *slog.Logger) (*Panel, error) {
	var trust *verify.Trust
	if cfg.Trust != "" {
		var err error
		if trust, err = verify.LoadTrust(cfg.Trust); err != nil {
			return nil, fmt.Errorf("the panel's trusted keys: %w", err)
		}
	}
	var root []byte
	if cfg.Fleet != "" {
		fleet, err := verify.LoadFleet(cfg.Fleet)
		if err != nil {
			return nil, fmt.Errorf("the fleet's root: %w", err)
		}
		root = fleet.Bytes()
	}
	s, err := shelf.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	authority, err := ca.Open(AuthorityDir(cfg.Data))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	p := &Panel{store: s, authority: authority, log: log}
	p.desk = enrol.New(enrol.Config{
		Authority: authority, Tokens: s.Tokens, Enrolled: s.Enrolled, Names: cfg.Names, FleetRoot: root, Audit: s.Audit, Log: log,
	})
	p.hub = hub.New(hub.Config{Identify: p.desk.Identify, Authorities: p.desk.Authorities, Changed: p.remember}, log)
	if cfg.Live.Media != "" {
		cfg.Live.Asker, cfg.Live.Log = p.hub, log
		if p.live, err = live.New(cfg.Live); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	p.api = api.New(s, p.hub, trust, p.live, log)
	return p, nil
}

// AuthorityDir is where the panel's certificate authority is, below its data.
func AuthorityDir(data string) string { return filepath.Join(data, "ca") }

// Close ends what the panel began and closes its data. Serve has returned before.
func (p *Panel) Close() error {
	p.api.Close()
	if p.live != nil {
		p.live.Close()
	}
	p.hub.Wait()
	return p.store.Close()
}

// remember keeps when a device was last here and what it ran then.
func (p *Panel) remember(d hub.Device) {
	known := shelf.Device{ID: d.ID, LastSeen: d.Seen.UTC()}
	if d.Status != nil {
		known.Product, known.Hardware, known.Version = d.Status.Product, d.Status.Hardware, d.Status.Permanent
	}
	if err := p.store.SaveDevice(known); err != nil {
		p.log.Error("a device was not remembered", "device", d.ID, "cause", err)
	}
}

// Handler is everything that the panel serves to people.
func (p *Panel) Handler() http.Handler {
	mux := http.NewServeMux()
	p.api.Register(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("/", ui.Handler())
	return guard(mux)
}

// DeviceHandler is everything that it serves to devices, which it knows by their
// certificates.
func (p *Panel) DeviceHandler() http.Handler {
	mux := http.NewServeMux()
	p.desk.Register(mux)
	mux.Handle("POST "+wire.Path, p.hub)
	if p.live != nil {
		mux.HandleFunc("POST "+wire.LegPath+"/{id}", p.takeLeg)
	}
	mux.Handle("GET "+wire.ReachPath, p.desk.Devices(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	mux.Handle("GET /v1/releases/{id}", p.desk.Devices(http.HandlerFunc(p.api.ServeRelease)))
	return mux
}

// takeLeg takes pictures that come on a device's link.
func (p *Panel) takeLeg(w http.ResponseWriter, r *http.Request) {
	device, ok := p.desk.Identify(r)
	if !ok {
		http.Error(w, "a leg is for enrolled devices", http.StatusUnauthorized)
		return
	}
	p.live.ServeLeg(w, r, device)
}

// Serve serves people and devices until ctx ends or a listener fails, and closes both.
func (p *Panel) Serve(ctx context.Context, people, devices net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	door := hub.NewDoor(devices, p.desk.TLS(), p.log)
	defer door.Close()
	var owned sync.WaitGroup
	defer owned.Wait()
	owned.Go(func() { p.look(ctx) })
	// Links and readers of events end with their requests' context.
	requests, leave := context.WithCancel(context.Background())
	defer leave()
	servers := []*http.Server{p.server(requests, p.Handler()), p.server(requests, p.DeviceHandler())}
	failed := make(chan error, len(servers))
	for i, l := range []net.Listener{people, door} {
		go func() { failed <- servers[i].Serve(l) }()
	}
	var errs []error
	running := len(servers)
	select {
	case err := <-failed:
		running--
		errs = append(errs, fmt.Errorf("serve the panel: %w", err))
	case <-ctx.Done():
	}
	stop()
	p.hub.Drain(comeBack)
	leave()
	for _, server := range servers {
		errs = append(errs, shutDown(server))
	}
	for range running {
		if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
			errs = append(errs, ended)
		}
	}
	return errors.Join(errs...)
}

func (p *Panel) server(requests context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		// What is not read of one request must leave room for the lines of a link.
		HTTP2:       &http.HTTP2Config{MaxReceiveBufferPerStream: wire.LegWindow, MaxReceiveBufferPerConnection: wire.LinkWindow},
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

func shutDown(server *http.Server) error {
	last, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err := server.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// look takes in what commands change in the panel's data while it runs.
func (p *Panel) look(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	told := time.Now()
	revoked := p.store.Enrolled.Revocations()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := p.store.Enrolled.Revocations(); now != revoked {
			revoked = now
			p.hub.Recheck()
		}
		changed, err := p.authority.Reload()
		if err != nil {
			p.log.Error("the panel's authority stays as it was", "cause", err)
		}
		if changed || time.Since(told) > tellAgain {
			told = time.Now()
			p.hub.Announce()
		}
	}
}

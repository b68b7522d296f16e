package adminpanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/ui"
	"slipstream/agent/wire"
	"slipstream/verify"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// leaveTimeout is how long requests may go on once the panel is to stop.
	leaveTimeout = 3 * time.Second
)

// Config is what a panel is started with.
type Config struct {
	Data  string // directory, made if missing
	Trust string // file of trusted public keys; "" leaves packages to the devices
}

// Panel is one panel with its data open.
type Panel struct {
	store *store.Store
	api   *api.API
	hub   *hub.Hub
	log   *slog.Logger
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
	s, err := store.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	p := &Panel{store: s, log: log}
	p.hub = hub.New(hub.Config{Identify: s.Tokens.Identify, Changed: p.remember}, log)
	p.api = api.New(s, p.hub, trust, log)
	return p, nil
}

// Close ends what the panel began and closes its data. Serve has returned before.
func (p *Panel) Close() error {
	p.api.Close()
	p.hub.Wait()
	return p.store.Close()
}

// remember keeps when a device was last here and what it ran then.
func (p *Panel) remember(d hub.Device) {
	known := store.Device{ID: d.ID, LastSeen: d.Seen.UTC()}
	if d.Status != nil {
		known.Product, known.Hardware, known.Version = d.Status.Product, d.Status.Hardware, d.Status.Permanent
	}
	if err := p.store.SaveDevice(known); err != nil {
		p.log.Error("a device was not remembered", "device", d.ID, "cause", err)
	}
}

// Handler is everything that the panel serves.
func (p *Panel) Handler() http.Handler {
	mux := http.NewServeMux()
	p.api.Register(mux)
	mux.Handle("POST "+wire.Path, p.hub)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("/", ui.Handler())
	return guard(mux)
}

// Serve serves until ctx ends or l fails.
func (p *Panel) Serve(ctx context.Context, l net.Listener) error {
	// Links and readers of events end with their requests' context.
	requests, leave := context.WithCancel(context.Background())
	defer leave()
	server := &http.Server{
		Handler:           p.Handler(),
		Protocols:         protocols(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the panel: %w", err)
	case <-ctx.Done():
	}
	leave()
	last, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err := server.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// protocols adds HTTP/2 without TLS, which devices on this machine link with.
func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

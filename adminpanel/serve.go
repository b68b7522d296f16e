package adminpanel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/agent/wire"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// leaveTimeout is how long requests may go on once the panel is to stop.
	leaveTimeout = 3 * time.Second
	// comeBack is over how long devices spread their return to a panel that ends: it is
	// most likely starting again.
	comeBack = 2 * time.Second
)

// face is one of the panel's servers.
type face struct {
	server *http.Server
	at     net.Listener
}

// Serve serves people at once, and devices as soon as it knows them all, until ctx ends or
// a listener fails. Whoever stops it has the devices come back soon, and what was under way
// ended or was given up after some seconds.
func (p *Panel) Serve(ctx context.Context) error {
	// What runs beside requests outlives them: it writes what they did.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var owned sync.WaitGroup
	defer owned.Wait()
	defer stop()
	p.run(running, &owned)

	// Links and readers of events end with their requests' context.
	requests, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	faces := []face{{p.server(requests, p.people()), p.at.People}}
	if p.line != nil {
		faces[0].at = tls.NewListener(p.at.People, p.line)
	}
	if p.at.Metrics != nil {
		faces = append(faces, face{p.server(requests, p.beside()), p.at.Metrics})
	}
	failed := make(chan error, len(faces)+2)
	owned.Go(func() {
		if err := p.name.keep(running); err != nil {
			failed <- err
		}
	})
	begin := func(f face) { owned.Go(func() { failed <- f.server.Serve(f.at) }) }
	for _, f := range faces {
		begin(f)
	}
	var cause error
	select {
	case <-p.fleet.Loaded():
		door := hub.NewDoor(p.at.Devices, p.desk.TLS(), p.log)
		defer door.Close()
		f := face{p.server(requests, p.devices()), door}
		faces = append(faces, f)
		begin(f)
	case cause = <-failed:
	case <-ctx.Done():
	}
	if cause == nil {
		select {
		case cause = <-failed:
		case <-ctx.Done():
		}
	}
	p.log.Info("panel stops", "cause", cause)
	return p.leave(faces, leave, cause)
}

// leave ends links, requests and servers.
func (p *Panel) leave(faces []face, leave func(), cause error) error {
	var errs []error
	if cause != nil {
		errs = append(errs, fmt.Errorf("serve the panel: %w", cause))
	}
	if p.fleet.Counts().Panels > 1 {
		p.drive.Retire()
	}
	p.hub.Drain(comeBack)
	leave()
	var ending sync.WaitGroup
	ended := make(chan error, len(faces))
	for _, f := range faces {
		ending.Go(func() { ended <- shutDown(f.server) })
	}
	ending.Wait()
	close(ended)
	for err := range ended {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// run begins what the parts do by themselves.
func (p *Panel) run(ctx context.Context, owned *sync.WaitGroup) {
	parts := []func(context.Context) error{
		p.settings.Run, p.fleet.Run, p.auth.Run, p.releases.Run, p.drive.Run,
		func(ctx context.Context) error { return drive.Follow(ctx, p.hub, p.drive) },
	}
	if p.orders != nil {
		parts = append(parts, p.orders.Run)
	}
	for _, part := range parts {
		owned.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				p.log.Error("a part of the panel has ended", "cause", err)
			}
		})
	}
	for _, part := range []func(context.Context){p.hear, p.heed, p.vouch, p.belong} {
		owned.Go(func() { part(ctx) })
	}
	owned.Go(func() {
		p.authority.Run(ctx, func() {
			select {
			case p.rotated <- struct{}{}:
			default:
			}
		}, func(err error) { p.log.Error("the panel's authority stays as it was", "cause", err) })
	})
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

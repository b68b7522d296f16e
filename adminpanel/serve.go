package adminpanel

import (
	"context"
	"crypto/tls"
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
)

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

	// Links end with their requests' context; people's requests are answered.
	links, leave := context.WithCancel(running)
	defer leave()
	faces := []face{p.face(running, p.people(), p.at.People)}
	if p.line != nil {
		faces[0].at = tls.NewListener(p.at.People, p.line)
	}
	if p.at.Metrics != nil {
		faces = append(faces, p.face(running, p.beside(), p.at.Metrics))
	}
	failed := make(chan error, len(faces)+2)
	owned.Go(func() {
		if err := p.name.keep(running); err != nil {
			failed <- err
		}
	})
	begin := func(f face) {
		owned.Go(func() {
			defer close(f.ended)
			failed <- f.server.Serve(f.at)
		})
	}
	for _, f := range faces {
		begin(f)
	}
	var cause error
	select {
	case <-p.fleet.Loaded():
		door := hub.NewDoor(p.at.Devices, p.desk.TLS(), p.log)
		defer door.Close()
		f := face{server: p.server(links, p.devices()), at: door, ended: make(chan struct{})}
		// A link is one request: tables of headers would be kept for nothing.
		f.server.HTTP2.MaxDecoderHeaderTableSize, f.server.HTTP2.MaxEncoderHeaderTableSize = 1, 1
		faces = append(faces, f)
		begin(f)
		notify(isReady, p.log)
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
	notify(isEnding, p.log)
	return p.leave(faces, leave, cause)
}

// run begins what the parts do by themselves.
func (p *Panel) run(ctx context.Context, owned *sync.WaitGroup) {
	parts := []func(context.Context) error{
		p.settings.Run, p.fleet.Run, p.auth.Run, p.releases.Run, p.drive.Run, p.panels.Run,
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

// face is a server whose callers do not call again by themselves.
func (p *Panel) face(requests context.Context, h http.Handler, at net.Listener) face {
	server := p.server(requests, h)
	return face{server, at, make(chan struct{}), watched(server)}
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

package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	// statusPause bounds the reports to ten a second, however fast the progress of
	// a stage changes.
	statusPause = 100 * time.Millisecond
	// renewPause bounds how often a certificate is renewed, whoever asks for it.
	renewPause = 10 * time.Minute
	renewLook  = time.Hour
)

// Run keeps the link until ctx ends and then returns ctx's error, after every
// ask that it began has been answered. While the device belongs to no panel it waits.
func Run(ctx context.Context, id *Identity, backend control.Backend, media Media, log *slog.Logger) error {
	asks := newAsks(ctx, id, backend, media, log)
	defer asks.wait()
	l := &link{id: id, backend: backend, asks: asks, log: log}
	for ctx.Err() == nil {
		held, changed := id.now()
		if held == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		l.keep(ctx, held, changed)
	}
	return ctx.Err()
}

type link struct {
	id      *Identity
	backend control.Backend
	asks    *asks
	log     *slog.Logger

	renewed time.Time // when it was last tried
}

// keep connects again and again until ctx ends or the device's identity changes.
func (l *link) keep(ctx context.Context, h *held, changed <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-stop:
		}
	}()
	var pause backoff
	for ctx.Err() == nil {
		lasted, err := l.once(ctx, h)
		if ctx.Err() != nil {
			return
		}
		pause.lasted(lasted)
		wait := pause.next(err)
		l.log.Warn("no link to the panel", "panel", h.base.Host, "cause", err, "again_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once connects and serves one link until it ends. It says for how long the link
// was up; the time of a vain attempt does not count.
func (l *link) once(ctx context.Context, h *held) (lasted time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, body := io.Pipe()
	defer body.Close()
	defer up.Close()
	l.id.redial()
	down, peer, err := l.connect(ctx, cancel, h, up)
	if err != nil {
		return 0, err
	}
	defer down.Close()
	linked := time.Now()
	l.log.Info("linked to the panel", "panel", h.base.Host)

	conn := newConn(body)
	panel := &panel{link: l, held: h, conn: conn, peer: peer}
	ended := make(chan error, 5)
	var owned sync.WaitGroup
	for _, part := range []func(context.Context) error{
		func(ctx context.Context) error { return l.report(ctx, conn) },
		func(ctx context.Context) error { return l.asks.desire.report(ctx, conn) },
		func(ctx context.Context) error { return beat(ctx, conn) },
		func(ctx context.Context) error { return panel.listen(ctx, down) },
		func(ctx context.Context) error { return panel.stayKnown(ctx) },
	} {
		owned.Go(func() { ended <- part(ctx) })
	}
	err = <-ended
	cancel()
	body.CloseWithError(context.Canceled)
	up.CloseWithError(context.Canceled)
	down.Close()
	owned.Wait()
	l.asks.legs.leave(conn)
	return time.Since(linked), err
}

// connect opens the stream and returns the panel's side of it, and who that is. A panel that does
// not answer is given up after connectTimeout; ctx and cancel are those of the
// whole stream.
func (l *link) connect(ctx context.Context, cancel context.CancelFunc, h *held, up io.Reader) (io.ReadCloser, *tls.ConnectionState, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base.JoinPath(wire.Path).String(), up)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the panel: %w", err)
	}
	tooLong := time.AfterFunc(connectTimeout, cancel)
	resp, err := l.id.RoundTrip(req)
	if !tooLong.Stop() && err != nil {
		return nil, nil, fmt.Errorf("the panel did not answer in %v", connectTimeout)
	}
	if err != nil {
		return nil, nil, why(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, resp.TLS, nil
	}
	resp.Body.Close()
	return nil, nil, refused(resp)
}

// why says what to do about a panel that ends the handshake: only its alert tells.
func why(err error) error {
	if strings.Contains(err.Error(), "remote error: tls:") {
		return fmt.Errorf("the panel does not accept this device's certificate, which was revoked or has expired: "+
			"slipstream enroll, with a new token (%w)", err)
	}
	return fmt.Errorf("connect to the panel: %w", err)
}

// report says who we are and then sends the status on each change.
func (l *link) report(ctx context.Context, c *conn) error {
	status, err := l.backend.Status(ctx)
	if err == nil {
		err = c.introduce(helloOf(l.id.device, status))
	}
	for {
		if err != nil {
			return fmt.Errorf("tell the panel the device's status: %w", err)
		}
		if err := c.sendStatus(status); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(statusPause):
		}
		status, err = l.backend.WaitStatus(ctx, status.Seq)
	}
}

func helloOf(device string, s control.Status) *wire.Hello {
	h := &wire.Hello{
		Device: device, Product: s.Product, Hardware: s.Hardware, Agent: s.Agent, Boot: bootID(), Protocol: wire.Protocol,
	}
	for _, slot := range s.Slots {
		h.Slots = append(h.Slots, wire.Slot{Name: slot.Name, State: slot.State, Version: slot.Version, Digest: slot.Digest})
	}
	return h
}

// bootID is the kernel's, "" where there is none.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// beat pings, so that the panel can tell a quiet device from a dead one.
func beat(ctx context.Context, c *conn) error {
	tick := time.NewTicker(wire.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := c.sendLater(ctx, wire.Up{Ping: &wire.Ping{}}); err != nil {
				return err
			}
		}
	}
}

func ended(ctx context.Context, err error, silence bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case silence:
		return fmt.Errorf("the panel was silent for %v", wire.SilenceLimit)
	case errors.Is(err, io.EOF):
		return errors.New("the panel ended the link")
	default:
		return why(err)
	}
}

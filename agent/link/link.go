package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Config says where the panel is and who we are.
type Config struct {
	URL       string // of the panel, such as https://panel.example
	TokenFile string // holds the device's token; read anew at each attempt
	CAFile    string // PEM certificates to trust instead of the system's; may be ""
	Device    string
}

const (
	connectTimeout = 15 * time.Second
	// statusPause bounds the reports to ten a second, however fast the progress of
	// a stage changes.
	statusPause = 100 * time.Millisecond
)

// Run keeps the link until ctx ends and then returns ctx's error, after every
// ask that it began has been answered. Another error is one of cfg.
func Run(ctx context.Context, cfg Config, backend control.Backend, media Media, log *slog.Logger) error {
	base, dial, err := dialer(cfg)
	if err != nil {
		return err
	}
	asks := newAsks(ctx, base, backend, media, log)
	defer asks.wait()
	l := &link{cfg: cfg, base: base, dial: dial, backend: backend, asks: asks, log: log}
	l.keep(ctx)
	return ctx.Err()
}

type link struct {
	cfg     Config
	base    *url.URL
	dial    func() *http.Client
	backend control.Backend
	asks    *asks
	log     *slog.Logger
}

// keep connects again and again until ctx ends.
func (l *link) keep(ctx context.Context) {
	var pause backoff
	for ctx.Err() == nil {
		lasted, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		pause.lasted(lasted)
		wait := pause.next()
		l.log.Warn("no link to the panel", "panel", l.base.Host, "cause", err, "again_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once connects and serves one link until it ends. It says for how long the link
// was up; the time of a vain attempt does not count.
func (l *link) once(ctx context.Context) (lasted time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, body := io.Pipe()
	defer body.Close()
	defer up.Close()
	client := l.dial()
	defer client.CloseIdleConnections()
	down, err := l.connect(ctx, cancel, client, up)
	if err != nil {
		return 0, err
	}
	defer down.Close()
	linked := time.Now()
	l.log.Info("linked to the panel", "panel", l.base.Host)

	conn := &conn{wire.NewWriter(body)}
	ended := make(chan error, 3)
	var owned sync.WaitGroup
	for _, part := range []func(context.Context) error{
		func(ctx context.Context) error { return l.report(ctx, conn) },
		func(ctx context.Context) error { return beat(ctx, conn) },
		func(ctx context.Context) error { return l.listen(ctx, down, conn) },
	} {
		owned.Go(func() { ended <- part(ctx) })
	}
	err = <-ended
	cancel()
	body.CloseWithError(context.Canceled)
	up.CloseWithError(context.Canceled)
	down.Close()
	owned.Wait()
	return time.Since(linked), err
}

// connect opens the stream and returns the panel's side of it. A panel that does
// not answer is given up after connectTimeout; ctx and cancel are those of the
// whole stream.
func (l *link) connect(ctx context.Context, cancel context.CancelFunc, client *http.Client, up io.Reader) (io.ReadCloser, error) {
	token, err := readToken(l.cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base.JoinPath(wire.Path).String(), up)
	if err != nil {
		return nil, fmt.Errorf("connect to the panel: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	tooLong := time.AfterFunc(connectTimeout, cancel)
	resp, err := client.Do(req)
	if !tooLong.Stop() && err != nil {
		return nil, fmt.Errorf("the panel did not answer in %v", connectTimeout)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the panel: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, errors.New("the panel does not know this device's token")
	}
	return nil, fmt.Errorf("the panel answered %s", resp.Status)
}

// report says who we are and then sends the status on each change.
func (l *link) report(ctx context.Context, c *conn) error {
	if err := c.send(wire.Up{Hello: &wire.Hello{Device: l.cfg.Device}}); err != nil {
		return err
	}
	status, err := l.backend.Status(ctx)
	for {
		if err != nil {
			return fmt.Errorf("read the device's status: %w", err)
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

// beat pings, so that the panel can tell a quiet device from a dead one.
func beat(ctx context.Context, c *conn) error {
	tick := time.NewTicker(wire.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := c.send(wire.Up{Ping: &wire.Ping{}}); err != nil {
				return err
			}
		}
	}
}

// listen takes the panel's lines and gives up when it hears nothing.
func (l *link) listen(ctx context.Context, body io.ReadCloser, c *conn) error {
	silent := time.AfterFunc(wire.SilenceLimit, func() { body.Close() })
	defer silent.Stop()
	lines := wire.NewReader(body)
	for {
		var down wire.Down
		if err := lines.Read(&down); err != nil {
			return l.why(ctx, err, !silent.Stop())
		}
		silent.Reset(wire.SilenceLimit)
		if down.Ask != nil {
			l.asks.begin(*down.Ask, c)
		}
	}
}

func (l *link) why(ctx context.Context, err error, silence bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case silence:
		return fmt.Errorf("the panel was silent for %v", wire.SilenceLimit)
	case errors.Is(err, io.EOF):
		return errors.New("the panel ended the link")
	default:
		return err
	}
}

// isLoopback tells whether host can only be this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

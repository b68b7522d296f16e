package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/wire"
)

const (
	connectTimeout = 15 * time.Second
	// leftIdle is how long a connection may lie about after its link.
	leftIdle = time.Second
	// window bounds what the panel sends of a download before the device has read it:
	// at 64 kbit/s the lines behind it are 8 s late, and nobody takes that for silence.
	window    = 64 << 10
	maxHeader = 64 << 10
	// deadAfter bounds for how long TCP may hope.
	pingAfter, deadAfter = 10 * time.Second, 10 * time.Second
)

// transport speaks HTTP/2 only: without it there is no stream that carries both ways.
// It follows no proxy of the environment.
func transport(config *tls.Config) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	dialer := net.Dialer{Timeout: connectTimeout, Control: keepShort}
	return &http.Transport{
		Protocols:              &protocols,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    connectTimeout,
		IdleConnTimeout:        leftIdle,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: window,
			SendPingTimeout:           pingAfter,
			PingTimeout:               deadAfter,
		},
	}
}

// maxUnsent is how much may wait in the kernel to be sent for the first time: a line
// that comes behind a leg's packets waits for no more than that.
const maxUnsent = 64 << 10

// keepShort bounds what waits in the kernel. A socket that refuses that has longer
// queues, and else nothing is amiss.
func keepShort(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

// config is for a panel whose certificate anchors vouch for; nil stands for the
// system's.
func config(host string, anchors func(chain []*x509.Certificate) (*x509.CertPool, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The check below takes the place of Go's own, which would not take a
		// certificate that is newer than a clock that is behind.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			roots, err := anchors(s.PeerCertificates)
			if err != nil {
				return err
			}
			return vouched(s.PeerCertificates, roots, host)
		},
	}
}

// vouched says whether a chain proves that its sender is the host. The time is now,
// or when the chain was made: a device whose clock is behind must not be lost.
func vouched(chain []*x509.Certificate, roots *x509.CertPool, host string) error {
	if len(chain) == 0 {
		return errors.New("the panel shows no certificate")
	}
	at, between := time.Now(), x509.NewCertPool()
	for i, c := range chain {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
		if i > 0 {
			between.AddCert(c)
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: host, Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("this is not the panel that was meant: %w", err)
	}
	return nil
}

// pinned takes for a root what a token names, and nothing else.
func pinned(token wire.Token) func([]*x509.Certificate) (*x509.CertPool, error) {
	return func(chain []*x509.Certificate) (*x509.CertPool, error) {
		if token.Pin == "" {
			return nil, nil
		}
		for _, c := range chain {
			if token.Pins(c) {
				roots := x509.NewCertPool()
				roots.AddCert(c)
				return roots, nil
			}
		}
		return nil, errors.New("this is not the panel that made the token")
	}
}

// lineOf makes the connection by which an enrolled device calls.
func lineOf(h *held) *http.Transport {
	c := config(h.base.Hostname(), func([]*x509.Certificate) (*x509.CertPool, error) { return h.roots, nil })
	c.Certificates = []tls.Certificate{h.certificate}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return transport(c)
}

// RoundTrip sends a request to the panel over the link's own connection, or over
// another one while there is no link. To other hosts it sends nothing.
func (i *Identity) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	h := i.held
	if h == nil {
		i.mu.Unlock()
		return nil, errNoPanel
	}
	if r.URL.Scheme != h.base.Scheme || r.URL.Host != h.base.Host {
		i.mu.Unlock()
		return nil, fmt.Errorf("%s is not this device's panel", r.URL.Host)
	}
	if i.line == nil {
		i.line = lineOf(h)
	}
	line := i.line
	i.mu.Unlock()
	return line.RoundTrip(r)
}

var errNoPanel = errors.New("this device belongs to no panel: slipstream enroll makes it belong to one")

// hangUp makes the next request open a connection of its own: the present one may be
// dead while TCP hopes for a quarter of an hour. What goes on over it goes on. The
// caller holds mu.
func (i *Identity) hangUp() {
	if i.line != nil {
		i.line.CloseIdleConnections()
		i.line = nil
	}
}

func (i *Identity) redial() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hangUp()
}

// Reach asks the panel for nothing, to see whether it answers.
func (i *Identity) Reach(ctx context.Context) error {
	h, _ := i.now()
	if h == nil {
		return errNoPanel
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base.JoinPath(wire.ReachPath).String(), nil)
	if err != nil {
		return err
	}
	resp, err := i.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("the panel is not reached: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxHeader)); err != nil {
		return fmt.Errorf("the panel is not reached: %w", err)
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the panel answers %s", resp.Status)
	}
	return nil
}

package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
)

// certificate is that of RTSPS. Its files are read again when they change, so that
// a renewed one needs no restart.
type certificate struct {
	cert, key string // files
	log       *slog.Logger

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	stamps [2]fileStamp
}

func newCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	return c, c.reload()
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now() },
	}
}

// now returns the certificate of this moment. What cannot be read leaves the one
// before in use, as it is while the two files are being replaced.
func (c *certificate) now() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.reload(); err != nil {
		c.log.Warn("the new certificate cannot be used; the one before stays", "err", err)
	}
	return c.pair, nil
}

// reload reads the files if one has changed; what is wrong with them is told once.
// The caller holds mu, or is the first.
func (c *certificate) reload() error {
	var stamps [2]fileStamp
	for i, path := range []string{c.cert, c.key} {
		stamps[i], _ = stampOf(path) // reading it will tell
	}
	if c.pair != nil && stamps == c.stamps {
		return nil
	}
	c.stamps = stamps
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

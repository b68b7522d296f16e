package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// maxPEM bounds each of the two files, in bytes.
const maxPEM = 256 << 10

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
	cert, err := readPEM(c.cert, 0o022)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	key, err := readPEM(c.key, 0o027) // a group may be given the right to read it
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

// readPEM reads a file that others must not have certain rights to.
func readPEM(path string, never fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&never != 0 {
		return nil, fmt.Errorf("others may read or change %s: chmod %o", path, 0o666&^never)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxPEM)
	}
	return text, err
}

package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"slipstream/agent/config"
	"slipstream/slots/fetch"
)

const (
	readAhead    = 1 << 20          // bytes fetched at once
	fetchTimeout = 60 * time.Second // for each of them: who is slower than 17 kB/s is given up
	maxToken     = 4 << 10          // bytes of the token file
)

// remote reads a package over HTTP, range by range, so that verifying its head
// costs no more than its head. What comes is not trusted more than a file is.
type remote struct {
	ctx  context.Context
	file *fetch.File
	size int64

	mu    sync.Mutex // guards the read-ahead
	block []byte
	start int64
}

// openRemote asks for the first block, and so learns the size.
func openRemote(ctx context.Context, address string, panel config.Panel) (*remote, error) {
	file, err := introduced(address, panel)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	r := &remote{ctx: ctx, file: file}
	if err := r.fetch(0); err != nil {
		r.Close()
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	r.size = file.Size()
	return r, nil
}

// introduced shows the device's token to its own panel, and to nobody else.
func introduced(address string, panel config.Panel) (*fetch.File, error) {
	var roots *tls.Config
	secret := ""
	if panel.URL != "" && under(address, panel.URL) {
		var err error
		if roots, secret, err = introduction(panel); err != nil {
			return nil, err
		}
	}
	return fetch.Open(patient(roots), address, secret)
}

// patient is a client that waits for a block no longer than fetchTimeout.
func patient(roots *tls.Config) *http.Client {
	client := fetch.NewClient(roots)
	client.Timeout = fetchTimeout
	return client
}

// introduction is how the panel and this device know each other: by the panel's
// certificates, nil for the machine's, and by the device's token.
func introduction(panel config.Panel) (roots *tls.Config, secret string, err error) {
	if panel.CAFile != "" {
		pem, err := os.ReadFile(panel.CAFile)
		if err != nil {
			return nil, "", err
		}
		roots = &tls.Config{RootCAs: x509.NewCertPool()}
		if !roots.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("%s holds no certificate", panel.CAFile)
		}
	}
	f, err := os.Open(panel.TokenFile)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	token, err := io.ReadAll(io.LimitReader(f, maxToken))
	if secret = strings.TrimSpace(string(token)); secret != "" {
		secret = "Bearer " + secret
	}
	return roots, secret, err
}

// under says whether an address lies under the panel's.
func under(address, panel string) bool {
	return strings.HasPrefix(address, strings.TrimSuffix(panel, "/")+"/")
}

// fetch replaces the read-ahead by the block from off on.
func (r *remote) fetch(off int64) error {
	body, err := r.file.Range(r.ctx, off, readAhead)
	if err != nil {
		return err
	}
	defer body.Close()
	block, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	r.block, r.start = block, off
	return nil
}

// ReadAt serves from the read-ahead.
func (r *remote) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		if at < r.start || at >= r.start+int64(len(r.block)) {
			if err := r.fetch(at); err != nil {
				return n, fmt.Errorf("fetch: %w", err)
			}
		}
		n += copy(p[n:], r.block[at-r.start:])
	}
	return n, nil
}

func (r *remote) Close() error {
	r.file.Close()
	return nil
}

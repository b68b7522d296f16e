package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipstream/agent/config"
)

const (
	readAhead    = 1 << 20 // bytes fetched at once
	fetchTimeout = 60 * time.Second
	maxToken     = 4 << 10 // bytes of the token file
)

// remote reads a package over HTTP, range by range, so that verifying its head
// costs no more than its head. What comes is not trusted more than a file is.
type remote struct {
	ctx    context.Context
	client *http.Client
	url    string
	token  string
	size   int64
	etag   string // the file must stay the same while it is read

	mu    sync.Mutex // guards the read-ahead
	block []byte
	start int64
}

// openRemote asks for the first block, and so learns the size.
func openRemote(ctx context.Context, address string, panel config.Panel) (*remote, error) {
	r := &remote{ctx: ctx, url: address}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("fetch %s: not an http:// or https:// address", address)
	}
	if err := r.introduce(panel); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	if err := r.fetch(0); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// introduce shows the device's token to its own panel, and to nobody else: not
// to a host that a redirect leads to either.
func (r *remote) introduce(panel config.Panel) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	r.client = &http.Client{Transport: transport, Timeout: fetchTimeout, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme || len(via) > 5 {
			return errors.New("it redirects to another server")
		}
		return nil
	}}
	if panel.URL == "" || !under(r.url, panel.URL) {
		return nil
	}
	if panel.CAFile != "" {
		pem, err := os.ReadFile(panel.CAFile)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", panel.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	f, err := os.Open(panel.TokenFile)
	if err != nil {
		return err
	}
	defer f.Close()
	token, err := io.ReadAll(io.LimitReader(f, maxToken))
	r.token = strings.TrimSpace(string(token))
	return err
}

// under says whether an address lies under the panel's.
func under(address, panel string) bool {
	return strings.HasPrefix(address, strings.TrimSuffix(panel, "/")+"/")
}

// fetch replaces the read-ahead by the block from off on.
func (r *remote) fetch(off int64) error {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+readAhead-1))
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.etag != "" {
		req.Header.Set("If-Match", r.etag)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer resp.Body.Close()
	size, err := ranged(resp, off)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", r.url, err)
	}
	if r.size != 0 && size != r.size {
		return fmt.Errorf("fetch %s: it changed while it was read", r.url)
	}
	r.size = size
	if tag := resp.Header.Get("ETag"); !strings.HasPrefix(tag, "W/") {
		r.etag = tag
	}
	r.block, err = io.ReadAll(io.LimitReader(resp.Body, readAhead))
	r.start = off
	if err != nil {
		return fmt.Errorf("fetch %s: %w", r.url, err)
	}
	return nil
}

// ranged checks that the answer is the range asked for, and returns the whole size.
func ranged(resp *http.Response, off int64) (int64, error) {
	if resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("the server answers %q where a range was asked for", resp.Status)
	}
	head, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || size <= 0 || !strings.HasPrefix(head, fmt.Sprintf("bytes %d-", off)) {
		return 0, fmt.Errorf("the server's range %q is not the one asked for", resp.Header.Get("Content-Range"))
	}
	return size, nil
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
				return n, err
			}
			if len(r.block) == 0 {
				return n, io.ErrUnexpectedEOF
			}
		}
		n += copy(p[n:], r.block[at-r.start:])
	}
	return n, nil
}

func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

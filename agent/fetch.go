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
	readAhead    = 1 << 20          // bytes fetched at once
	fetchTimeout = 60 * time.Second // for each of them: who is slower than 17 kB/s is given up
	maxToken     = 4 << 10          // bytes of the token file
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
	if r.etag != "" && !strings.HasPrefix(r.etag, "W/") { // weak ones never match there
		req.Header.Set("If-Match", r.etag)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer resp.Body.Close()
	if err := r.take(resp, off); err != nil {
		return fmt.Errorf("fetch %s: %w", r.url, err)
	}
	return nil
}

// take makes an answer the read-ahead, if it is what was asked for, all of it and
// no more, of the file that was there before.
func (r *remote) take(resp *http.Response, off int64) error {
	n, size, err := ranged(resp, off)
	if err != nil {
		return err
	}
	tag := resp.Header.Get("ETag")
	if r.size != 0 && (size != r.size || tag != r.etag) {
		return errors.New("it changed while it was read")
	}
	block, err := io.ReadAll(io.LimitReader(resp.Body, n+1))
	if err != nil {
		return err
	}
	if int64(len(block)) != n {
		return fmt.Errorf("the server's range of %d bytes has another length", n)
	}
	r.size, r.etag, r.block, r.start = size, tag, block, off
	return nil
}

// ranged checks that the answer is the range asked for, and returns its length and
// that of the whole file.
func ranged(resp *http.Response, off int64) (n, size int64, err error) {
	if resp.StatusCode != http.StatusPartialContent {
		return 0, 0, fmt.Errorf("the server answers %q where a range was asked for", resp.Status)
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return 0, 0, fmt.Errorf("the server has encoded the file by %q, which was not asked for", coding)
	}
	given := resp.Header.Get("Content-Range")
	_, total, _ := strings.Cut(given, "/")
	size, err = strconv.ParseInt(total, 10, 64)
	n = min(readAhead, size-off)
	if err != nil || n <= 0 || given != fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, size) {
		return 0, 0, fmt.Errorf("the server's range %q is not the one asked for", given)
	}
	return n, size, nil
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
		}
		n += copy(p[n:], r.block[at-r.start:])
	}
	return n, nil
}

func (r *remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

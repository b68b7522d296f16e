package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"slipstream/adminpanel/small"
	"slipstream/adminpanel/view"
)

// Bounds.
const (
	maxAnswer   = 32 << 20 // bytes of one answer
	maxCA       = 1 << 20
	dialTimeout = 10 * time.Second
	askTimeout  = 30 * time.Second // for one answer, beside what the panel is asked to wait
)

// Config says which panel, and who asks.
type Config struct {
	URL   string // of the panel, such as https://panel.example
	Token string // of the API; "": for what needs none, and before [Client.SignIn]
	// CA is a file of PEM certificates. The panel's has to be of one of these
	// authorities, and no other is believed; "": those of this machine are.
	CA string
}

// Client speaks to one panel. It is safe for concurrent use.
type Client struct {
	base   *url.URL
	token  string
	cookie *http.Cookie // of a session, in place of a token
	http   *http.Client
}

// New makes a client. Nothing is sent yet.
func New(cfg Config) (*Client, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	if cfg.CA != "" {
		if t.TLSClientConfig.RootCAs, err = authorities(cfg.CA); err != nil {
			return nil, err
		}
	}
	return &Client{base: base, token: cfg.Token, http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// parseURL refuses addresses that a token must not be sent to.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not a panel's address: it looks like https://panel.example", text)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("%s would carry the token in the clear over the network: use https", text)
	}
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func authorities(file string) (*x509.CertPool, error) {
	text, err := small.File(file, maxCA)
	if err != nil {
		return nil, fmt.Errorf("read the panel's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// URL is the panel's address.
func (c *Client) URL() string { return c.base.String() }

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one thing that is asked for. What is zero is not sent.
type call struct {
	method, path string // below /api/v1/
	query        url.Values
	body         any    // as JSON
	raw          []byte // in place of it
	kind         string // content type of raw
	header       http.Header
	rev          int64         // for If-Match; [anyRev] for any
	wait         time.Duration // that the panel may take beside the usual
	out          any           // of the answer's JSON; nil: whatever it is
}

// path joins parts that are escaped one by one: an id is a word of the path, whatever it holds.
func path(parts ...string) string {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = url.PathEscape(part)
	}
	return strings.Join(escaped, "/")
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: out})
}

func (c *Client) post(ctx context.Context, path string, body, out any) error {
	return c.do(ctx, call{method: http.MethodPost, path: path, body: body, out: out})
}

func (c *Client) delete(ctx context.Context, path string, rev int64) error {
	return c.do(ctx, call{method: http.MethodDelete, path: path, rev: seen(rev)})
}

// do asks until there is an answer, or asking again might do a thing twice.
func (c *Client) do(ctx context.Context, ask call) error {
	if ask.body != nil {
		text, err := json.Marshal(ask.body)
		if err != nil {
			return fmt.Errorf("ask the panel: %w", err)
		}
		ask.raw, ask.kind = text, "application/json"
	}
	key := ""
	if ask.method == http.MethodPost {
		key = rand.Text()
	}
	for try := 0; ; try++ {
		err := c.once(ctx, ask, key)
		if err == nil || try > 0 && ask.method == http.MethodDelete && gone(err) {
			return nil // what was to go has gone, by the try before
		}
		wait, again := backOff(err, ask.method, try)
		if !again || pause(ctx, wait) != nil {
			return err
		}
	}
}

// once asks once.
func (c *Client) once(ctx context.Context, ask call, key string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout+ask.wait)
	defer cancel()
	resp, err := c.send(ctx, ask, key)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.explain(ctx, err, true)
	case len(text) > maxAnswer:
		return fmt.Errorf("the panel's answer is larger than %d bytes", maxAnswer)
	case ask.out == nil || len(text) == 0:
		return nil
	}
	if to, ok := ask.out.(*[]byte); ok {
		*to = text
		return nil
	}
	if err := json.Unmarshal(text, ask.out); err != nil {
		return fmt.Errorf("the panel's answer is not understood: is %s a panel of this version? %w", c.base, err)
	}
	return nil
}

// download copies an answer that may be as large as it likes, as long as it goes on.
func (c *Client) download(ctx context.Context, ask call, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(askTimeout+ask.wait, func() { cancel(&LostError{URL: c.base.String(), Err: context.DeadlineExceeded}) })
	defer stalled.Stop()
	resp, err := c.send(ctx, ask, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, moving{resp.Body, stalled})
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return c.explain(ctx, err, true)
	}
	return nil
}

// moving puts off a timer with each byte that comes.
type moving struct {
	io.Reader

	stalled *time.Timer
}

func (m moving) Read(buf []byte) (int, error) {
	n, err := m.Reader.Read(buf)
	m.stalled.Reset(askTimeout)
	return n, err
}

// send returns an answer that is no refusal.
func (c *Client) send(ctx context.Context, ask call, key string) (*http.Response, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := c.request(ctx, ask, key)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err, sent.Load())
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, c.problem(resp)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, ask call, key string) (*http.Request, error) {
	u := c.base.JoinPath("api", "v1").String() + "/" + ask.path
	if len(ask.query) > 0 {
		u += "?" + ask.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, ask.method, u, bytes.NewReader(ask.raw))
	if err != nil {
		return nil, fmt.Errorf("ask the panel: %w", err)
	}
	maps.Copy(req.Header, ask.header)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Content-Type", ask.kind)
	set("Idempotency-Key", key)
	if ask.rev != 0 {
		set("If-Match", ifMatch(ask.rev))
	}
	if c.token != "" {
		set("Authorization", "Bearer "+c.token)
	}
	if c.cookie != nil {
		req.AddCookie(c.cookie)
	}
	return req, nil
}

// anyRev stands for whatever revision a thing has.
const anyRev = -1

func ifMatch(rev int64) string {
	if rev == anyRev {
		return "*"
	}
	return strconv.Quote(strconv.FormatInt(rev, 10))
}

// seen is the revision that callers give, where 0 is any.
func seen(rev int64) int64 {
	if rev == 0 {
		return anyRev
	}
	return rev
}

// explain takes the transport's wrapping off: a person asked for devices, not for a GET.
func (c *Client) explain(ctx context.Context, err error, sent bool) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if sent {
		return &LostError{URL: c.base.String(), Err: err}
	}
	return &UnreachableError{URL: c.base.String(), Err: err}
}

// problem reads a refusal.
func (c *Client) problem(resp *http.Response) error {
	p := &Problem{}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(text, &p.Problem) != nil || p.Detail == "" && p.Title == "" {
		p.Problem = view.Problem{Detail: fmt.Sprintf("%s answers with HTTP status %d and not as a panel does: is the address right?", c.base, resp.StatusCode)}
	}
	p.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.After = time.Duration(seconds) * time.Second
	}
	return p
}

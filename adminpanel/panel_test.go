package adminpanel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/view"
)

// patience bounds every wait of these tests.
const patience = time.Minute

const annPassword = "correct horse battery"

// world is a running panel with the means to talk to it, in the name of ann, who may do
// everything.
type world struct {
	*testing.T
	panel  *adminpanel.Panel
	cfg    config.Config
	url    string // of people
	link   string // where devices call
	client *http.Client
	ann    []*http.Cookie
	stop   func()
}

// blank is the configuration of a panel that keeps its data in a directory.
func blank(data string) config.Config {
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Devices, cfg.Names = data, "127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1"}
	return cfg
}

// launch runs a panel.
func launch(t *testing.T, cfg config.Config) *world {
	t.Helper()
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return launchAt(t, cfg, at)
}

// launchAt runs it on listeners.
func launchAt(t *testing.T, cfg config.Config, at adminpanel.Listeners) *world {
	t.Helper()
	p, err := adminpanel.New(t.Context(), cfg, at, slog.New(slog.DiscardHandler))
	if err != nil {
		at.Close()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Serve(ctx); err != nil {
			t.Errorf("the panel ended: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close the panel: %v", err)
		}
	}()
	w := &world{T: t, panel: p, cfg: cfg, url: p.URL(), link: "https://" + at.Devices.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
	w.stop = func() { cancel(); <-ended; w.client.CloseIdleConnections() }
	t.Cleanup(w.stop)
	return w
}

// start runs a panel on data and makes ann there, who signs in.
func start(t *testing.T, cfg config.Config) *world {
	t.Helper()
	w := launch(t, cfg)
	token, err := w.panel.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if token == "" {
		w.login()
		return w
	}
	w.ann = w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: token, Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
	return w
}

func (w *world) login() {
	w.Helper()
	w.ann = w.ask("POST", "/api/v1/sessions", view.Login{Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
}

// got is an answer.
type got struct {
	w       *world
	what    string
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    []byte
}

// ask sends a request in ann's name. A body that is no reader is sent as JSON.
func (w *world) ask(method, path string, body any, header ...string) got {
	w.Helper()
	var in io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		in, kind = strings.NewReader(b), "application/octet-stream"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, in)
	if err != nil {
		w.Fatal(err)
	}
	if in != nil {
		r.Header.Set("Content-Type", kind)
	}
	for _, c := range w.ann {
		r.AddCookie(c)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	return got{w, method + " " + path, resp.StatusCode, resp.Header, resp.Cookies(), text}
}

// is expects a status, and decodes the body into v unless that is nil.
func (g got) is(status int, v any) got {
	g.w.Helper()
	if g.status != status {
		g.w.Fatalf("%s: %d %s, want %d", g.what, g.status, g.body, status)
	}
	if v != nil {
		if err := json.Unmarshal(g.body, v); err != nil {
			g.w.Fatalf("%s: %v in %s", g.what, err, g.body)
		}
	}
	return g
}

// eventually asks again until it is so.
func (w *world) eventually(what string, so func() bool) {
	w.Helper()
	for late := time.Now().Add(patience); !so(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(late) {
			w.Fatalf("never: %s", what)
		}
	}
}

// Who has no account sees the pages, learns whether the panel is well, and nothing else.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := launch(t, blank(t.TempDir()))
	w.eventually("the panel is ready", func() bool { return w.ask("GET", "/readyz", nil).status == http.StatusOK })
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"GET", "/healthz", nil, http.StatusOK},
		{"GET", "/healthz", []string{"Host", "10.0.0.9:8080"}, http.StatusOK}, // a probe
		{"GET", "/", nil, http.StatusOK},
		{"GET", "/devices/cam-1", nil, http.StatusOK},
		{"GET", "/assets/none.js", nil, http.StatusNotFound},
		{"POST", "/", nil, http.StatusMethodNotAllowed},
		{"GET", "/", []string{"Host", "localhost:9000"}, http.StatusOK}, // a tunnel
		{"GET", "/", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"GET", "/", []string{"Host", "127.0.0.1.evil.example:80"}, http.StatusMisdirectedRequest},
		{"GET", "/metrics", nil, http.StatusUnauthorized},
		{"GET", "/metrics", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"GET", "/api/v1/me", nil, http.StatusUnauthorized},
		{"GET", "/api/v1/nothing", nil, http.StatusNotFound},
		{"GET", "/api/v1/me", []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{"POST", "/api/v1/sessions", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"GET", "/v1/releases/" + strings.Repeat("0", 32), nil, http.StatusOK}, // a page: releases are elsewhere
	} {
		if got := w.ask(c.method, c.path, nil, c.header...); got.status != c.status {
			t.Errorf("%s %s %v: %d %.200s, want %d", c.method, c.path, c.header, got.status, got.body, c.status)
		}
	}
	page := w.ask("GET", "/", nil)
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if !strings.Contains(page.header.Get(name), want) {
			t.Errorf("%s is %q", name, page.header.Get(name))
		}
	}
	if policy := page.header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") {
		t.Errorf("the policy allows inline code: %s", policy)
	}
}

// A directory that another panel has open, or that an earlier kind of panel has written, is
// refused with what to do.
func TestDataThatIsNotThisPanels(t *testing.T) {
	t.Parallel()
	w := launch(t, blank(t.TempDir()))
	old := t.TempDir()
	if err := writeFile(filepath.Join(old, "panel.db"), "of before"); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{w.cfg.Data: "stop it first", old: "name an empty directory"} {
		if err := opens(t, blank(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opened: %v, want %q in it", err, want)
		}
	}
}

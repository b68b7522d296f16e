package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/view"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

const password = "correct horse battery"

// world is a panel, ann who may do everything there, and what stands between her and it.
type world struct {
	*testing.T
	data   string
	url    string
	token  string
	direct *client.Client // not by way of between
	far    *client.Client // by way of it
	net    *between
}

// serve runs a panel. Before that its store is filled.
func serve(t *testing.T, cfg config.Config, fill func(context.Context, store.Store)) *world {
	t.Helper()
	t.Parallel()
	cfg.Data, cfg.Listen, cfg.Devices, cfg.Names = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1"}
	w := &world{T: t, data: cfg.Data}
	w.fill(cfg, fill)
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := adminpanel.New(t.Context(), cfg, at, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(errors.Join(err, at.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(p.Serve(ctx), p.Close()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the panel ended: %v", err)
		}
	})
	w.url = p.URL()
	if cfg.TLS.Mode != config.TLSOff {
		return w
	}
	w.direct, w.net = w.client(w.url), stand(t, w.url)
	w.far = w.client(w.net.URL)
	return w
}

func plain() config.Config { return config.Default() }

// fill makes ann and her token on the store of a panel that does not run yet.
func (w *world) fill(cfg config.Config, more func(context.Context, store.Store)) {
	w.Helper()
	ctx := w.Context()
	s, err := adminpanel.OpenStore(ctx, cfg)
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	if err := schema.Prepare(ctx, s); err != nil {
		w.Fatal(err)
	}
	a, err := auth.New(s, audit.New(s), auth.Config{Plain: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.Fatal(err)
	}
	console, err := a.Console(ctx, "")
	if err != nil {
		w.Fatal(err)
	}
	admin := []view.Grant{{Role: view.RoleAdmin}}
	if _, err := a.AddAccount(ctx, console, view.AccountRequest{Name: "ann", Password: password, Grants: admin}); err != nil {
		w.Fatal(err)
	}
	ann, err := a.Console(ctx, "ann")
	if err != nil {
		w.Fatal(err)
	}
	made, err := a.AddToken(ctx, ann, view.TokenRequest{Name: "of a test", Grants: admin, Until: time.Now().Add(time.Hour)})
	if err != nil {
		w.Fatal(err)
	}
	w.token = made.Text
	if more != nil {
		more(ctx, s)
	}
}

// devices fills a store with so many, half of them in the north.
func devices(t *testing.T, n int) func(context.Context, store.Store) {
	return func(ctx context.Context, s store.Store) {
		var ops []store.Op
		for i := range n {
			r := fleet.Record{ID: fmt.Sprintf("cam-%04d", i), Site: []string{"the north", "south"}[i%2]}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, store.Op{Key: "d/" + r.ID, Value: text})
		}
		for batch := range slices.Chunk(ops, store.MaxOps) {
			if _, err := s.Commit(ctx, nil, batch); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// loaded waits until the panel has so many devices in memory.
func (w *world) loaded(n int) {
	w.Helper()
	for late := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		page, err := w.direct.DevicePage(w.Context(), "", "", 1)
		if err != nil || time.Now().After(late) {
			w.Fatalf("%d devices are there, and %v", page.Total, err)
		}
		if page.Total == n {
			return
		}
	}
}

func (w *world) client(url string) *client.Client {
	w.Helper()
	c, err := client.New(client.Config{URL: url, Token: w.token})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	return c
}

// fault is what happens to one request on its way.
type fault func(b *between, w http.ResponseWriter, r *http.Request)

// between is a proxy with bad days: each request meets the next fault, and after the last
// of them all goes well.
type between struct {
	*httptest.Server

	proxy *httputil.ReverseProxy

	mu     sync.Mutex // guards what follows
	faults []fault
	asked  []*http.Request
}

func stand(t *testing.T, panel string) *between {
	t.Helper()
	to, err := url.Parse(panel)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{proxy: httputil.NewSingleHostReverseProxy(to)}
	b.proxy.FlushInterval = -1
	b.proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	b.Server = httptest.NewUnstartedServer(b)
	b.Config.ErrorLog = b.proxy.ErrorLog
	b.Start()
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

// next are the faults of the requests to come; what was asked before is forgotten.
func (b *between) next(faults ...fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults, b.asked = faults, nil
}

func (b *between) requests() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	do := pass
	if len(b.faults) > 0 {
		do, b.faults = b.faults[0], b.faults[1:]
	}
	b.mu.Unlock()
	do(b, w, r)
}

func pass(b *between, w http.ResponseWriter, r *http.Request) { b.proxy.ServeHTTP(w, r) }

// lose ends the connection before anything has come to the panel.
func lose(*between, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// loseAnswer lets the panel do it, and keeps its answer.
func loseAnswer(b *between, _ http.ResponseWriter, r *http.Request) {
	b.proxy.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// loseHalf lets half of the body through.
func loseHalf(b *between, _ http.ResponseWriter, r *http.Request) {
	r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
	b.proxy.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

func miss(_ *between, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// busy refuses for a time, as a panel does that is about to lead.
func busy(seconds int) fault {
	return func(_ *between, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"code":"not-leading","title":"Service Unavailable","detail":"no panel leads"}`)
	}
}

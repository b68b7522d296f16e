package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/view"
)

const (
	annPassword = "correct horse battery"
	bobPassword = "staple of the other kind"
)

// quick is an effort for tests that are about other things.
var quick = auth.Effort{Rounds: 1, MemoryKiB: 64, Threads: 1}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// panel is an Auth on a store in a file, with an administrator ann.
type panel struct {
	*auth.Auth
	t     *testing.T
	store store.Store
	clock *clock
	cfg   auth.Config
	ann   auth.Session
}

func newAuth(t *testing.T, s store.Store, cfg auth.Config) *auth.Auth {
	t.Helper()
	a, err := auth.New(s, audit.New(s), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func start(t *testing.T, change ...func(*auth.Config)) *panel {
	t.Helper()
	p := &panel{t: t, store: bolttest.Open(t), clock: &clock{at: time.Now()}}
	free := auth.Limit{Every: time.Microsecond, Burst: 1 << 20}
	p.cfg = auth.Config{Hosts: []string{"panel.example"}, Effort: quick, Now: p.clock.Now,
		Limits: auth.Limits{LoginName: free, LoginAddress: free, Token: free, Stranger: free}}
	for _, f := range change {
		f(&p.cfg)
	}
	p.Auth = newAuth(t, p.store, p.cfg)
	token, err := p.SetupToken(t.Context())
	if err != nil || token == "" {
		t.Fatalf("setup token %q, %v", token, err)
	}
	p.ann, err = p.Setup(request("POST", "/api/v1/setup"), view.SetupRequest{Token: token, Name: "ann", Password: annPassword})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is one to the panel, with cookies.
func request(method, path string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(method, "https://panel.example"+path, nil)
	r.RemoteAddr = "192.0.2.7:40000"
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

func bearer(text string) *http.Request {
	r := request("GET", "/api/v1/me")
	r.Header.Set("Authorization", "Bearer "+text)
	return r
}

// bob makes an account with grants and signs it in.
func (p *panel) bob(grants ...view.Grant) auth.Session {
	p.t.Helper()
	_, err := p.AddAccount(p.t.Context(), p.ann.Caller, view.AccountRequest{Name: "bob", Password: bobPassword, Grants: grants})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.login("bob", bobPassword)
}

func (p *panel) login(name, password string, cookies ...*http.Cookie) auth.Session {
	p.t.Helper()
	s, err := p.Login(request("POST", "/api/v1/sessions", cookies...), name, password)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *panel) by(cookie *http.Cookie) (auth.Caller, error) {
	return p.Authenticate(request("GET", "/api/v1/me", cookie))
}

// in expects that a cookie shows who somebody is, and out that it does not.
func (p *panel) in(cookie *http.Cookie, name string) auth.Caller {
	p.t.Helper()
	c, err := p.by(cookie)
	if err != nil || c.Name != name || c.Kind != auth.KindUser {
		p.t.Errorf("%s is signed in as %q, %v", name, c.Name, err)
	}
	return c
}

func (p *panel) out(cookie *http.Cookie) {
	p.t.Helper()
	c, err := p.by(cookie)
	expect(p.t, err, auth.ErrSignedOut)
	if c.Name != "" || c.May(auth.Me) {
		p.t.Errorf("a refused caller is %+v", c)
	}
}

func expect(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// audited tells how often an action is in the audit, whose chain must hold.
func (p *panel) audited(action string) (n int) {
	p.t.Helper()
	if _, err := audit.Verify(p.t.Context(), p.store); err != nil {
		p.t.Fatal(err)
	}
	told, more, err := audit.New(p.store).Lines(p.t.Context(), audit.Query{})
	if err != nil || more != 0 {
		p.t.Fatal(more, err)
	}
	for _, line := range told {
		if line.Action == action {
			n++
		}
	}
	return n
}

// holdsNot expects that a reader of the store does not find secrets.
func (p *panel) holdsNot(secrets ...string) {
	p.t.Helper()
	n := 0
	if _, err := store.All(p.t.Context(), p.store, "", func(item store.Item) error {
		n++
		for _, secret := range secrets {
			if strings.Contains(item.Key+string(item.Value), secret) {
				p.t.Errorf("%s holds what lets its reader in", item.Key)
			}
		}
		return nil
	}); err != nil || n == 0 {
		p.t.Fatal(n, err)
	}
}

// keys counts those with a prefix.
func (p *panel) keys(prefix string) int {
	p.t.Helper()
	n := 0
	if _, err := store.All(p.t.Context(), p.store, prefix, func(store.Item) error { n++; return nil }); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 20*time.Second)
}

// rewrite changes a record as a broken restore or a careless hand might.
func (p *panel) rewrite(key, from, to string) {
	p.t.Helper()
	item, err := p.store.Get(p.t.Context(), key)
	if err != nil || !strings.Contains(string(item.Value), from) {
		p.t.Fatalf("%s is %s, %v", key, item.Value, err)
	}
	value := strings.Replace(string(item.Value), from, to, 1)
	if _, err := p.store.Commit(p.t.Context(), nil, []store.Op{{Key: key, Value: []byte(value)}}); err != nil {
		p.t.Fatal(err)
	}
}

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/settings"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/view"
)

// patience bounds every wait of these tests.
const patience = 60 * time.Second

const annPassword = "correct horse battery"

// world is a whole panel on a store in a file, and the address at which its API answers
// people and its hub devices. Ann may do everything.
type world struct {
	*testing.T
	cfg     api.Config
	api     *api.API
	url     string // of people
	devices string // of devices
	ann     string // her token
	annWho  auth.Caller
	cookie  *http.Cookie // of her session
}

// newWorld starts all of it. Changes are made to the configuration before the API is.
func newWorld(t *testing.T, changes ...func(*api.Config)) *world {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	s := bolttest.Open(t)
	w := &world{T: t}
	w.cfg = w.parts(s, filepath.Join(dir, "releases"))
	for _, change := range changes {
		change(&w.cfg)
	}
	var err error
	if w.api, err = api.New(w.cfg); err != nil {
		t.Fatal(err)
	}
	people := httptest.NewServer(w.api)
	w.url = people.URL
	links := httptest.NewUnstartedServer(w.cfg.Hub)
	links.Config.Protocols = new(http.Protocols)
	links.Config.Protocols.SetUnencryptedHTTP2(true)
	links.Start()
	w.devices = links.URL
	ctx, stop := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	for _, run := range []func(context.Context) error{w.cfg.Fleet.Run, w.cfg.Drive.Run, w.cfg.Settings.Run, w.follow,
		func(ctx context.Context) error { return drive.Follow(ctx, w.cfg.Hub, w.cfg.Drive) }} {
		owned.Go(func() { _ = run(ctx) }) // it ends with ctx
	}
	t.Cleanup(func() {
		w.api.Close()
		people.CloseClientConnections()
		people.Close()
		links.CloseClientConnections()
		links.Close()
		stop()
		owned.Wait()
	})
	w.setUp()
	w.until("the fleet is loaded", w.cfg.Fleet.Loaded())
	return w
}

func (w *world) parts(s store.Store, dir string) api.Config {
	log := slog.New(slog.DiscardHandler)
	c := api.Config{Store: s, Audit: audit.New(s), Log: log}
	c.Settings = settings.New(s, c.Audit, log)
	c.Fleet = fleet.New(fleet.Config{Store: s, Audit: c.Audit, Panel: "one", OfflineAfter: c.Settings.OfflineAfter, Log: log})
	c.Hub = hub.New(hub.Config{Identify: func(r *http.Request) (string, bool) {
		id := r.Header.Get("Authorization")
		return id, c.Fleet.Admitted(id, "key of "+id)
	}}, log)
	var err error
	if c.Releases, err = release.Open(release.Config{Store: s, Audit: c.Audit, Dir: dir, Log: log}); err != nil {
		w.Fatal(err)
	}
	c.Drive = drive.New(drive.Config{Store: s, Audit: c.Audit, Fleet: c.Fleet.Table(), Release: c.Releases.Get, Asker: c.Hub}, log)
	free := auth.Limit{Every: time.Microsecond, Burst: 1 << 20}
	w.guarded(auth.Limits{LoginName: free, LoginAddress: free, Token: free, Stranger: free})(&c)
	return c
}

// guarded lets callers try so often.
func (w *world) guarded(limits auth.Limits) func(*api.Config) {
	return func(c *api.Config) {
		var err error
		c.Auth, err = auth.New(c.Store, c.Audit, auth.Config{Plain: true, Idle: c.Settings.SessionIdle,
			Effort: auth.Effort{Rounds: 1, MemoryKiB: 64, Threads: 1}, Limits: limits}, c.Log)
		if err != nil {
			w.Fatal(err)
		}
	}
}

// follow brings the fleet what the hub hears.
func (w *world) follow(ctx context.Context) error {
	watch := w.cfg.Hub.Watch()
	defer watch.Close()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
		}
		for _, id := range watch.Take() {
			if d, ok := w.cfg.Hub.Device(id); ok {
				w.cfg.Fleet.Heard(id, fleet.Link{Online: d.Online, Seen: d.Seen, Status: d.Status})
			}
		}
	}
}

// setUp makes ann, by the panel's first token.
func (w *world) setUp() {
	w.Helper()
	token, err := w.cfg.Auth.SetupToken(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	r := httptest.NewRequest("POST", "http://localhost/api/v1/setup", nil)
	session, err := w.cfg.Auth.Setup(r, view.SetupRequest{Token: token, Name: "ann", Password: annPassword})
	if err != nil {
		w.Fatal(err)
	}
	w.annWho, w.cookie = session.Caller, session.Cookie
	w.ann = w.tokenOf(session.Caller, session.Caller.Grants)
	// Asks are for a panel that leads.
	w.eventually("the panel leads", func() bool {
		_, err := w.cfg.Drive.Preview(w.Context(), view.Plan{})
		return !errors.Is(err, drive.ErrNotLeading)
	})
}

func (w *world) tokenOf(c auth.Caller, grants []view.Grant) string {
	w.Helper()
	made, err := w.cfg.Auth.AddToken(w.Context(), c, view.TokenRequest{Name: "of a test", Grants: grants, Until: time.Now().Add(24 * time.Hour)})
	if err != nil {
		w.Fatal(err)
	}
	return made.Text
}

// person makes an account with grants, such as "operator site:north", and returns the
// cookie of its session. Its password is ann's.
func (w *world) person(name string, grants ...string) *http.Cookie {
	w.Helper()
	return w.login(name, grants).Cookie
}

// token makes an account with grants and returns a token that may do the same.
func (w *world) token(name string, grants ...string) string {
	w.Helper()
	s := w.login(name, grants)
	return w.tokenOf(s.Caller, s.Caller.Grants)
}

func (w *world) login(name string, grants []string) auth.Session {
	w.Helper()
	req := view.AccountRequest{Name: name, Password: annPassword, Grants: []view.Grant{}}
	for _, g := range grants {
		role, selector, _ := strings.Cut(g, " ")
		req.Grants = append(req.Grants, view.Grant{Role: role, Selector: selector})
	}
	if _, err := w.cfg.Auth.AddAccount(w.Context(), w.annWho, req); err != nil {
		w.Fatal(err)
	}
	s, err := w.cfg.Auth.Login(httptest.NewRequest("POST", "http://localhost/api/v1/sessions", nil), name, annPassword)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// got is an answer.
type got struct {
	w      *world
	what   string
	status int
	header http.Header
	body   []byte
}

// with changes a request before it is sent.
type with func(*http.Request)

func header(name, value string) with { return func(r *http.Request) { r.Header.Set(name, value) } }

func by(token string) with { return header("Authorization", "Bearer "+token) }

func signedIn(c *http.Cookie) with {
	return func(r *http.Request) { r.Header.Del("Authorization"); r.AddCookie(c) }
}

func nobody(r *http.Request) { r.Header.Del("Authorization") }

func rev(text string) with { return header("If-Match", `"`+text+`"`) }

// call sends a request to /api/v1 in ann's name. A body that is no reader, string or bytes is sent as JSON.
func (w *world) call(method, path string, body any, changes ...with) got {
	w.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		in = b
	case string:
		in = strings.NewReader(b)
	case []byte:
		in = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+"/api/v1"+path, in)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.ann)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, change := range changes {
		change(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	return got{w, method + " " + path, resp.StatusCode, resp.Header, text}
}

// is expects a status, and decodes the body into v unless that is nil.
func (g got) is(status int, v any) got {
	g.w.Helper()
	if g.status != status {
		g.w.Fatalf("%s: %d %s, want %d", g.what, g.status, g.body, status)
	}
	if v != nil {
		reflect.ValueOf(v).Elem().SetZero() // what is left out now is not as it was before
		if err := json.Unmarshal(g.body, v); err != nil {
			g.w.Fatalf("%s: %v in %s", g.what, err, g.body)
		}
	}
	return g
}

// fails expects a problem with a status and a code, whole and in the right form.
func (g got) fails(status int, code string) view.Problem {
	g.w.Helper()
	var p view.Problem
	if err := json.Unmarshal(g.body, &p); err != nil || g.header.Get("Content-Type") != "application/problem+json" {
		g.w.Fatalf("%s: %d, and no problem: %s %s", g.what, g.status, g.header.Get("Content-Type"), g.body)
	}
	if g.status != status || p.Status != status || p.Code != code || p.Detail == "" || p.Title == "" || p.Type != "about:blank" {
		g.w.Errorf("%s: %d %s, want %d %s", g.what, g.status, g.body, status, code)
	}
	return p
}

// until waits for something to be closed.
func (w *world) until(what string, c <-chan struct{}) {
	w.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		w.Fatal("never: " + what)
	}
}

// eventually asks again until it is so. It is for what nothing tells of.
func (w *world) eventually(what string, so func() bool) {
	w.Helper()
	for late := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			w.Fatal("never: " + what)
		}
	}
}

// lines are the actions in the audit, newest first; its chain must hold.
func (w *world) lines() (actions []string) {
	w.Helper()
	if _, err := audit.Verify(w.Context(), w.cfg.Store); err != nil {
		w.Fatal(err)
	}
	lines, _, err := w.cfg.Audit.Lines(w.Context(), audit.Query{})
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range lines {
		actions = append(actions, l.Action)
	}
	return actions
}

package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

// people of the provider, by subject; all have one password.
var people = []*storage.User{
	{ID: "id-cid", Username: "cid", Password: "verysecure", Email: "cid@corp.example", EmailVerified: true},
	{ID: "id-dan", Username: "dan", Password: "verysecure", Email: "dan@corp.example"},
	{ID: "id-ann", Username: "ann", Password: "verysecure", Email: "ann@corp.example", EmailVerified: true},
	{ID: "id-odd", Username: "Odd Name", Password: "verysecure"},
}

type users struct{}

func (users) GetUserByID(id string) *storage.User {
	return user(func(u *storage.User) bool { return u.ID == id })
}

func (users) GetUserByUsername(name string) *storage.User {
	return user(func(u *storage.User) bool { return u.Username == name })
}

func (users) ExampleClientID() string { return "none" }

func user(is func(*storage.User) bool) *storage.User {
	for _, u := range people {
		if is(u) {
			return u
		}
	}
	return nil
}

// directory is the provider's storage, which knows groups too.
type directory struct {
	*storage.Storage
	inToken atomic.Bool // groups are in the id token, else only in the answer on the person

	mu     sync.Mutex
	groups map[string][]string // by subject
}

func (d *directory) set(subject string, groups ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups[subject] = groups
}

func (d *directory) add(info *oidc.UserInfo, subject string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	info.AppendClaims("groups", d.groups[subject])
}

func (d *directory) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	if d.inToken.Load() {
		d.add(info, r.GetSubject())
		info.PreferredUsername = d.name(r.GetSubject())
	}
	return d.Storage.SetUserinfoFromRequest(ctx, info, r, scopes)
}

func (d *directory) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	d.add(info, subject)
	return d.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
}

func (*directory) name(subject string) string { return users{}.GetUserByID(subject).Username }

// provider is a real one on loopback, with the panel beside it.
type provider struct {
	*panel
	oidc      *auth.OIDC
	directory *directory
	url       string // of the panel
	issuer    string
	back      atomic.Pointer[http.Request] // newest that has come back to the panel
}

func serve(t *testing.T, listener net.Listener, h http.Handler) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
}

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, "http://" + l.Addr().String()
}

// startProvider's tests come one after the other: each new provider writes into variables
// of its package, which those before it read.
func startProvider(t *testing.T, change func(*auth.OIDCConfig)) *provider {
	t.Helper()
	here, panelURL := listen(t)
	there, issuer := listen(t)
	p := &provider{panel: start(t, func(c *auth.Config) { c.Plain = true }), url: panelURL, issuer: issuer}
	client := storage.WebClient("panel", "between us", panelURL+"/api/v1/oidc/callback")
	p.directory = &directory{Storage: storage.NewStorageWithClients(users{}, map[string]*storage.Client{"panel": client}), groups: map[string][]string{}}
	serve(t, there, exampleop.SetupServer(issuer, p.directory, slog.New(slog.DiscardHandler), false))
	cfg := auth.OIDCConfig{Issuer: issuer, Client: "panel", Secret: "between us", Redirect: panelURL + "/api/v1/oidc/callback",
		Groups: map[string][]view.Grant{
			"video-ops":   {{Role: view.RoleOperator, Selector: "site:north"}},
			"video-leads": {{Role: view.RoleReleaser}},
		}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if p.oidc, err = auth.NewOIDC(p.Auth, cfg); err != nil {
		t.Fatal(err)
	}
	serve(t, here, p.pages())
	return p
}

// pages are the panel's, as far as this goes.
func (p *provider) pages() http.Handler {
	mux := http.NewServeMux()
	fail := func(w http.ResponseWriter, _ *http.Request, err error) {
		status := http.StatusInternalServerError
		if e, ok := errors.AsType[*auth.Error](err); ok {
			status = e.Status
		}
		http.Error(w, err.Error(), status)
	}
	mux.HandleFunc("GET /api/v1/oidc/login", func(w http.ResponseWriter, r *http.Request) {
		to, cookie, err := p.oidc.Begin(r, r.FormValue("next"))
		if err != nil {
			fail(w, r, err)
			return
		}
		http.SetCookie(w, cookie)
		http.Redirect(w, r, to, http.StatusFound)
	})
	mux.HandleFunc("GET /api/v1/oidc/callback", func(w http.ResponseWriter, r *http.Request) {
		p.back.Store(r.Clone(context.Background()))
		s, next, err := p.oidc.Finish(r)
		http.SetCookie(w, p.oidc.NoTrip())
		if err != nil {
			fail(w, r, err)
			return
		}
		http.SetCookie(w, s.Cookie)
		http.Redirect(w, r, next, http.StatusFound)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		c, err := p.Authenticate(r)
		if err != nil {
			fail(w, r, err)
			return
		}
		w.Write([]byte(c.Name + " at " + r.URL.Path))
	})
	return p.Guard(mux, fail)
}

// browser keeps cookies and follows redirects.
type browser struct {
	*http.Client
	p *provider
}

func (p *provider) browser() *browser {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Timeout: 20 * time.Second}, p}
}

func (b *browser) get(to string) (status int, text string, at *url.URL) {
	b.p.t.Helper()
	resp, err := b.Get(to)
	if err != nil {
		b.p.t.Fatal(err)
	}
	return answer(b.p.t, resp)
}

func answer(t *testing.T, resp *http.Response) (int, string, *url.URL) {
	t.Helper()
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(text.String(), "\r\n\r\n")
	return resp.StatusCode, body, resp.Request.URL
}

// signIn goes the whole way.
func (b *browser) signIn(name, next string) (status int, text string) {
	b.p.t.Helper()
	status, text, at := b.get(b.p.url + "/api/v1/oidc/login?next=" + url.QueryEscape(next))
	if status != http.StatusOK || at.Path != "/login/username" {
		return status, text
	}
	resp, err := b.PostForm(b.p.issuer+"/login/username", url.Values{"username": {name}, "password": {"verysecure"}, "id": {at.Query().Get("authRequestID")}})
	if err != nil {
		b.p.t.Fatal(err)
	}
	status, text, _ = answer(b.p.t, resp)
	return status, text
}

func TestPeopleSignInAtTheProvider(t *testing.T) {
	for name, inToken := range map[string]bool{"groups in the id token": true, "groups asked for": false} {
		t.Run(name, func(t *testing.T) {
			p := startProvider(t, nil)
			p.directory.inToken.Store(inToken)
			p.directory.set("id-cid", "video-ops", "something else")
			b := p.browser()
			if status, text := b.signIn("cid", "/fleet"); status != 200 || !strings.Contains(text, "cid at /fleet") {
				t.Fatalf("%d %s", status, text)
			}
			list, err := p.Accounts(t.Context(), p.ann.Caller)
			if err != nil || len(list) != 2 || list[1].Name != "cid" || !list[1].OIDC || len(list[1].Grants) != 1 || list[1].Grants[0].Selector != "site:north" {
				t.Fatalf("%+v, %v", list, err)
			}
			// The next login brings the grants of that day.
			p.directory.set("id-cid", "video-leads")
			if status, text := p.browser().signIn("cid", ""); status != 200 {
				t.Fatalf("%d %s", status, text)
			}
			if list, err = p.Accounts(t.Context(), p.ann.Caller); err != nil || list[1].Grants[0].Role != view.RoleReleaser {
				t.Errorf("%+v, %v", list, err)
			}
			if status, _, _ := b.get(p.url + "/"); status != 200 {
				t.Errorf("the first browser: %d", status)
			}
			// Who is in no group any more is out everywhere.
			p.directory.set("id-cid")
			if status, text := p.browser().signIn("cid", ""); status != 403 {
				t.Errorf("%d %s", status, text)
			}
			if status, _, _ := b.get(p.url + "/"); status != 401 {
				t.Errorf("the first browser: %d", status)
			}
		})
	}
}

func TestPeopleWhoAreNotLetIn(t *testing.T) {
	p := startProvider(t, nil)
	for _, u := range people {
		p.directory.set(u.ID, "video-leads")
	}
	if status, text := p.browser().signIn("ann", ""); status != 409 { // she has an account here, with a password
		t.Errorf("another ann: %d %s", status, text)
	}
	if status, text := p.browser().signIn("Odd Name", ""); status != 401 {
		t.Errorf("a name that is none: %d %s", status, text)
	}
	p.directory.set("id-dan", "video")
	if status, text := p.browser().signIn("dan", ""); status != 403 {
		t.Errorf("in no group of ours: %d %s", status, text)
	}
	if p.keys("u/") != 1 || p.keys("s/") != 1 {
		t.Errorf("%d accounts and %d sessions, want ann's", p.keys("u/"), p.keys("s/"))
	}
	if status, _ := p.browser().signIn("cid", ""); status != 200 {
		t.Fatal("cid is not let in")
	}
	if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "cid", view.AccountPatch{Password: new(bobPassword)}, 0); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("a password for an account of the provider: %v", err)
	}
	for _, password := range []string{"", "verysecure"} {
		_, err := p.Login(request("POST", "/"), "cid", password)
		expect(t, err, auth.ErrWrong)
	}
	if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "cid", view.AccountPatch{Disabled: new(true)}, 0); err != nil {
		t.Fatal(err)
	}
	before := p.keys("s/")
	if status, text := p.browser().signIn("cid", ""); status != 401 || p.keys("s/") != before {
		t.Errorf("disabled here: %d %s, %d sessions more", status, text, p.keys("s/")-before)
	}
}

func TestAMailAddressIsANameIfItIsVerified(t *testing.T) {
	p := startProvider(t, func(c *auth.OIDCConfig) { c.NameClaim = "email" })
	p.directory.set("id-cid", "video-leads")
	p.directory.set("id-dan", "video-leads")
	if status, text := p.browser().signIn("cid", ""); status != 200 || !strings.Contains(text, "cid@corp.example at /") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := p.browser().signIn("dan", ""); status != 401 {
		t.Errorf("not verified: %d %s", status, text)
	}
}

// The answer of the provider is good for one browser, one login and one time.
func TestAnswersOfTheProviderThatAreNotGood(t *testing.T) {
	p := startProvider(t, nil)
	p.directory.set("id-cid", "video-leads")
	if status, _ := p.browser().signIn("cid", ""); status != 200 {
		t.Fatal("cid is not let in")
	}
	back := p.back.Load()
	finish := func(change func(*http.Request)) error {
		r := back.Clone(t.Context())
		change(r)
		_, _, err := p.oidc.Finish(r)
		return err
	}
	with := func(r *http.Request, name, value string) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
	// As another login has it: its own state and cookie, which the code does not belong to.
	_, other, err := p.oidc.Begin(request("GET", "/"), "/")
	if err != nil {
		t.Fatal(err)
	}
	to, trip, err := p.oidc.Begin(request("GET", "/"), "/")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := url.Parse(to)
	if err != nil || sent.Query().Get("code_challenge_method") != "S256" || sent.Query().Get("nonce") == "" || len(sent.Query().Get("state")) < 40 {
		t.Fatalf("the browser is sent to %s, %v", to, err)
	}
	for name, change := range map[string]func(*http.Request){
		"a second time":    func(*http.Request) {},
		"without a cookie": func(r *http.Request) { r.Header.Del("Cookie") },
		"without a state":  func(r *http.Request) { with(r, "state", "") },
		"another state":    func(r *http.Request) { with(r, "state", sent.Query().Get("state")) },
		"another browser's cookie": func(r *http.Request) {
			r.Header.Del("Cookie")
			r.AddCookie(other)
		},
		"the code of another login": func(r *http.Request) {
			r.Header.Del("Cookie")
			r.AddCookie(trip)
			with(r, "state", sent.Query().Get("state"))
		},
		"a forged cookie": func(r *http.Request) {
			text, mac, _ := strings.Cut(trip.Value, ".")
			r.Header.Del("Cookie")
			r.AddCookie(&http.Cookie{Name: trip.Name, Value: text[:len(text)-4] + "AAAA." + mac})
			with(r, "state", sent.Query().Get("state"))
		},
		"an unsigned cookie": func(r *http.Request) {
			text, _, _ := strings.Cut(trip.Value, ".")
			r.Header.Del("Cookie")
			r.AddCookie(&http.Cookie{Name: trip.Name, Value: text})
			with(r, "state", sent.Query().Get("state"))
		},
		"two cookies": func(r *http.Request) { r.AddCookie(trip) },
		"no code":     func(r *http.Request) { with(r, "code", "") },
	} {
		if err := finish(change); !errors.Is(err, auth.ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, finish(func(r *http.Request) { with(r, "iss", "https://evil.example") }), auth.ErrProvider)
	if n := p.keys("s/"); n != 2 {
		t.Errorf("%d sessions, want ann's and cid's", n)
	}
}

// freshCode goes to the provider with a trip of our making and returns what comes back.
func (p *provider) freshCode(change func(url.Values)) *http.Request {
	p.t.Helper()
	to, trip, err := p.oidc.Begin(request("GET", "/"), "/")
	if err != nil {
		p.t.Fatal(err)
	}
	sent, err := url.Parse(to)
	if err != nil {
		p.t.Fatal(err)
	}
	q := sent.Query()
	change(q)
	sent.RawQuery = q.Encode()
	b := p.browser()
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), p.url) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	_, _, at := b.get(sent.String())
	resp, err := b.PostForm(p.issuer+"/login/username", url.Values{"username": {"cid"}, "password": {"verysecure"}, "id": {at.Query().Get("authRequestID")}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		p.t.Fatal(err)
	}
	return request("GET", back.RequestURI(), trip)
}

func TestCodesHangOnTheirLogin(t *testing.T) {
	p := startProvider(t, nil)
	p.directory.set("id-cid", "video-leads")
	for name, change := range map[string]func(url.Values){
		"another nonce":    func(q url.Values) { q.Set("nonce", "another") },
		"no nonce":         func(q url.Values) { q.Del("nonce") },
		"another verifier": func(q url.Values) { q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") },
	} {
		_, _, err := p.oidc.Finish(p.freshCode(change))
		if !errors.Is(err, auth.ErrWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	late := p.freshCode(func(url.Values) {})
	if _, _, err := p.oidc.Finish(p.freshCode(func(url.Values) {})); err != nil {
		t.Error(err)
	}
	p.clock.pass(11 * time.Minute)
	_, _, err := p.oidc.Finish(late)
	expect(t, err, auth.ErrWrong)
}

func TestAProviderThatIsAway(t *testing.T) {
	l, issuer := listen(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := startProvider(t, func(c *auth.OIDCConfig) { c.Issuer = issuer })
	_, _, err := p.oidc.Begin(request("GET", "/"), "/")
	expect(t, err, auth.ErrProvider)
	p.login("ann", annPassword)
}

func TestAProvidersConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	p := start(t)
	good := auth.OIDCConfig{Issuer: "https://id.corp.example", Client: "panel", Redirect: "https://panel.example/api/v1/oidc/callback",
		Groups: map[string][]view.Grant{"a": {{Role: view.RoleViewer}}}}
	if _, err := auth.NewOIDC(p.Auth, good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*auth.OIDCConfig){
		"an issuer without TLS":  func(c *auth.OIDCConfig) { c.Issuer = "http://id.corp.example" },
		"a way back without TLS": func(c *auth.OIDCConfig) { c.Redirect = "http://panel.example/" },
		"no issuer":              func(c *auth.OIDCConfig) { c.Issuer = "" },
		"no client":              func(c *auth.OIDCConfig) { c.Client = "" },
		"no groups":              func(c *auth.OIDCConfig) { c.Groups = nil },
		"a bad selector": func(c *auth.OIDCConfig) {
			c.Groups = map[string][]view.Grant{"a": {{Role: "viewer", Selector: "site:"}}}
		},
	} {
		cfg := good
		spoil(&cfg)
		if _, err := auth.NewOIDC(p.Auth, cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

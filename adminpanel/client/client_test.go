package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
)

// lying is a server that answers as a network or a proxy does that comes between: what it
// says is scripted, and what it was asked is kept.
type lying struct {
	*httptest.Server

	mu    sync.Mutex
	asked []*http.Request
}

func lie(t *testing.T, answers ...http.HandlerFunc) (*lying, *client.Client) {
	t.Helper()
	l := &lying{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		n := len(l.asked)
		l.asked = append(l.asked, r)
		l.mu.Unlock()
		answers[min(n, len(answers)-1)](w, r)
	}))
	t.Cleanup(l.Close)
	c, err := client.New(client.Config{URL: l.URL, Token: "slpt_x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return l, c
}

func (l *lying) requests() []*http.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

func say(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
}

func refuse(status int, code, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code, "detail": detail})
	}
}

// cut ends the connection in place of an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestRefusalsAreThePanelsOwnSentences(t *testing.T) {
	t.Parallel()
	_, c := lie(t, refuse(404, "no-device", "there is no such device"))
	_, err := c.Device(t.Context(), "cam/7")
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != 404 || !client.IsCode(err, "no-device") || err.Error() != "there is no such device" {
		t.Errorf("%#v", err)
	}
	_, c = lie(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	if _, err = c.Me(t.Context()); err == nil || !strings.Contains(err.Error(), "is the address right?") {
		t.Errorf("of something that is no panel: %v", err)
	}
	_, c = lie(t, say("a page"))
	if _, err = c.Me(t.Context()); err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("of something else that is no panel: %v", err)
	}
}

func TestWhatIsAskedAgain(t *testing.T) {
	t.Parallel()
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		refuse(503, "not-leading", "no panel leads")(w, r)
	}
	late := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		refuse(429, "too-many", "too many requests")(w, r)
	}
	bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }
	get := func(c *client.Client) error { _, err := c.Me(t.Context()); return err }
	post := func(c *client.Client) error {
		_, err := c.Ask(t.Context(), "cam-7", client.Wish{Verb: client.Revert})
		return err
	}
	patch := func(c *client.Client) error {
		_, err := c.PatchAccount(t.Context(), "ann", view.AccountPatch{}, 0)
		return err
	}
	remove := func(c *client.Client) error { return c.RemoveToken(t.Context(), "x") }
	for name, tt := range map[string]struct {
		do      func(*client.Client) error
		answers []http.HandlerFunc
		times   int
		good    bool
	}{
		"a question whose answer was lost":                {get, []http.HandlerFunc{cut, say(view.Me{})}, 2, true},
		"a question through a proxy that misses":          {get, []http.HandlerFunc{bad, say(view.Me{})}, 2, true},
		"a wish whose answer was lost, by its key":        {post, []http.HandlerFunc{cut, cut, say(view.Asked{})}, 3, true},
		"a wish that the panel had no time for":           {post, []http.HandlerFunc{busy, say(view.Asked{})}, 2, true},
		"not a change whose answer was lost":              {patch, []http.HandlerFunc{cut, say(view.Account{})}, 1, false},
		"a change that the panel had no time for":         {patch, []http.HandlerFunc{busy, say(view.Account{})}, 2, true},
		"what was removed is gone when asked again":       {remove, []http.HandlerFunc{cut, refuse(404, "not-found", "none")}, 2, true},
		"what was never there is not":                     {remove, []http.HandlerFunc{refuse(404, "not-found", "none")}, 1, false},
		"not when the panel wants an hour":                {get, []http.HandlerFunc{late, say(view.Me{})}, 1, false},
		"not a refusal":                                   {get, []http.HandlerFunc{refuse(403, "forbidden", "no"), say(view.Me{})}, 1, false},
		"not what the panel says is its own fault":        {post, []http.HandlerFunc{refuse(500, "internal", "no"), say(view.Asked{})}, 1, false},
		"and for ever of a panel that never answers, not": {get, []http.HandlerFunc{cut}, 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := lie(t, tt.answers...)
			err := tt.do(c)
			asked := l.requests()
			// The transport itself asks once more on a connection that was reused.
			if (err == nil) != tt.good || len(asked) != tt.times {
				t.Errorf("asked %d times and then %v", len(asked), err)
			}
			for _, r := range asked {
				if r.Header.Get("Idempotency-Key") != asked[0].Header.Get("Idempotency-Key") || r.Header.Get("Authorization") != "Bearer slpt_x" {
					t.Errorf("asked with %v", r.Header)
				}
			}
			if asked[0].Method == http.MethodPost && asked[0].Header.Get("Idempotency-Key") == "" {
				t.Error("asked without a key")
			}
		})
	}
}

func TestALostAnswerIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	_, c := lie(t, cut)
	_, err := c.PatchAccount(t.Context(), "ann", view.AccountPatch{}, 7)
	if _, ok := errors.AsType[*client.LostError](err); !ok {
		t.Errorf("lost: %v", err)
	}
	l, c := lie(t, cut)
	l.Close()
	_, err = c.PatchAccount(t.Context(), "ann", view.AccountPatch{}, 7)
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
		t.Errorf("unreachable: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, c = lie(t, func(http.ResponseWriter, *http.Request) { cancel(); cut(nil, nil) })
	if _, err = c.Me(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestWhereATokenGoes(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://panel.example", "http://10.0.0.1:8080", "panel.example", "ftp://panel.example", "https://", "https://u:p@panel.example", "https://panel.example/?x=1", "http://localhost.evil.example"} {
		if _, err := client.New(client.Config{URL: url}); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "https://panel.example/below"} {
		if _, err := client.New(client.Config{URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	other, _ := lie(t, say(view.Me{}))
	_, c := lie(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := c.Me(t.Context()); err == nil || len(other.requests()) != 0 {
		t.Errorf("a token was sent on to another address: %v", err)
	}
}

func TestAuthoritiesOfAFileAloneAreBelieved(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(say(view.Me{Name: "ann"}))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	dir := t.TempDir()
	good, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(good, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: s.URL, CA: good})
	if err != nil {
		t.Fatal(err)
	}
	if me, err := c.Me(t.Context()); err != nil || me.Name != "ann" {
		t.Errorf("%+v, %v", me, err)
	}
	c, err = client.New(client.Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Me(t.Context())
	if e, ok := errors.AsType[*client.UnreachableError](err); !ok || !e.Untrusted() {
		t.Errorf("an authority that nobody named is believed: %v", err)
	}
	for _, file := range []string{empty, filepath.Join(dir, "none")} {
		if _, err := client.New(client.Config{URL: s.URL, CA: file}); err == nil {
			t.Errorf("%s is an authority", file)
		}
	}
}

func TestPagesAreOneList(t *testing.T) {
	t.Parallel()
	page := func(after string, ids ...string) http.HandlerFunc {
		p := view.Devices{After: after, Total: 3}
		for _, id := range ids {
			p.Devices = append(p.Devices, view.Device{ID: id})
		}
		return say(p)
	}
	l, c := lie(t, page("b", "a", "b"), page("", "c"))
	got := ""
	for d, err := range c.Devices(t.Context(), `site:"the north" -state:offline`) {
		if err != nil {
			t.Fatal(err)
		}
		got += d.ID
	}
	asked := l.requests()
	if got != "abc" || len(asked) != 2 || asked[0].FormValue("q") != `site:"the north" -state:offline` || asked[0].FormValue("after") != "" || asked[1].FormValue("after") != "b" {
		t.Errorf("got %s by %v", got, asked)
	}
	_, c = lie(t, page("b", "a", "b"))
	n := 0
	var last error
	for _, err := range c.Devices(t.Context(), "") {
		n++
		last = err
	}
	if n != 5 || last == nil {
		t.Errorf("of pages in a circle: %d, %v", n, last)
	}
	l, c = lie(t, page("b", "a", "b"), refuse(403, "forbidden", "no"))
	for range c.Devices(t.Context(), "") {
		break
	}
	if len(l.requests()) != 1 {
		t.Error("a page was fetched that nobody wanted")
	}
}

func TestASessionTakesTheTokensPlace(t *testing.T) {
	t.Parallel()
	open := func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-slipstream", Value: "secret", Path: "/", Secure: true, HttpOnly: true})
		fmt.Fprint(w, `{"name":"ann"}`)
	}
	l, c := lie(t, open, say(view.Token{Text: "slpt_new"}), say(struct{}{}))
	in, err := c.SignIn(t.Context(), "ann", "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	made, err := in.AddToken(t.Context(), view.TokenRequest{Name: "script", Until: time.Now().Add(time.Hour)})
	if err != nil || made.Text != "slpt_new" {
		t.Errorf("%+v, %v", made, err)
	}
	if err := in.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range l.requests()[1:] {
		if cookie, err := r.Cookie("__Host-slipstream"); err != nil || cookie.Value != "secret" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
	}
	_, c = lie(t, refuse(401, "wrong-login", "the name or the password is wrong"))
	if _, err := c.SignIn(t.Context(), "ann", "x"); !client.IsCode(err, "wrong-login") {
		t.Errorf("%v", err)
	}
}

package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

func TestRefusalsAreThePanelsOwnSentences(t *testing.T) {
	w := serve(t, plain(), nil)
	_, err := w.direct.Device(t.Context(), "cam/7 %2f?")
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != http.StatusNotFound || !client.IsCode(err, "no-device") || err.Error() != "there is no such device, or you may not see it" {
		t.Errorf("%#v", err)
	}
	for _, err := range w.direct.Devices(t.Context(), "sit:north") {
		if !client.IsCode(err, "selector") || !strings.Contains(err.Error(), "column 1") {
			t.Errorf("%v", err)
		}
	}
	_, err = w.direct.PatchAccount(t.Context(), "ann", view.AccountPatch{}, 12345)
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusPreconditionFailed {
		t.Errorf("of another revision: %v", err)
	}
	w.net.next(func(_ *between, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if _, err = w.far.Me(t.Context()); err == nil || !strings.Contains(err.Error(), "is the address right?") {
		t.Errorf("of something that is no panel: %v", err)
	}
	w.net.next(func(_ *between, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("<html>"))
	})
	if _, err = w.far.Me(t.Context()); err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("of something else that is no panel: %v", err)
	}
	gone := w.client(w.net.URL)
	w.net.CloseClientConnections()
	w.net.Close()
	_, err = gone.PatchAccount(t.Context(), "ann", view.AccountPatch{}, 0)
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
		t.Errorf("of nobody: %v", err)
	}
}

func TestWhatIsAskedAgainIsDoneOnce(t *testing.T) {
	w := serve(t, plain(), nil)
	enrol := func(ctx context.Context) error {
		_, err := w.far.AddEnrolment(ctx, view.EnrolmentRequest{Uses: 1, Until: time.Now().Add(time.Hour)})
		return err
	}
	me := func(ctx context.Context) error { _, err := w.far.Me(ctx); return err }
	patch := func(ctx context.Context) error {
		_, err := w.far.PatchAccount(ctx, "ann", view.AccountPatch{Grants: &[]view.Grant{{Role: view.RoleAdmin}}}, 0)
		return err
	}
	remove := func(ctx context.Context) error {
		list, err := w.direct.Enrolments(ctx)
		if err != nil {
			return err
		}
		return w.far.RemoveEnrolment(ctx, list.Enrolments[0].ID)
	}
	for _, tt := range []struct {
		name         string
		do           func(context.Context) error
		faults       []fault
		times, lines int // that it is asked, and that the panel has done
		good         bool
	}{
		{"a question whose answer was lost", me, []fault{loseAnswer}, 2, 0, true},
		{"a question through a proxy that misses", me, []fault{miss, lose}, 3, 0, true},
		{"a wish whose answers were lost, by its key", enrol, []fault{loseAnswer, lose, loseAnswer}, 4, 1, true},
		{"a wish that the panel had no time for", enrol, []fault{busy(1)}, 2, 1, true},
		{"what was removed is gone when asked again", remove, []fault{loseAnswer}, 2, 1, true},
		{"a change that the panel had no time for", patch, []fault{busy(1)}, 2, 1, true},
		{"not a change whose answer was lost", patch, []fault{loseAnswer}, 1, 1, false},
		{"not when the panel wants an hour", me, []fault{busy(3600)}, 1, 0, false},
		{"and not for ever", me, []fault{miss, miss, miss, miss, miss}, 5, 0, false},
	} {
		before := w.lines()
		w.net.next(tt.faults...)
		err := tt.do(t.Context())
		asked := w.net.requests()
		if (err == nil) != tt.good || len(asked) != tt.times || w.lines()-before != tt.lines {
			t.Errorf("%s: asked %d times and then %v; the panel has done %d things", tt.name, len(asked), err, w.lines()-before)
		}
		for _, r := range asked {
			if key := r.Header.Get("Idempotency-Key"); key != asked[0].Header.Get("Idempotency-Key") || (key != "") != (r.Method == http.MethodPost) {
				t.Errorf("%s: asked with %v", tt.name, r.Header)
			}
		}
		if _, lost := errors.AsType[*client.LostError](err); lost != (tt.name == "not a change whose answer was lost") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := w.far.RemoveEnrolment(t.Context(), "never"); err == nil {
		t.Error("what was never there was removed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.net.next(func(*between, http.ResponseWriter, *http.Request) { cancel(); panic(http.ErrAbortHandler) })
	if err := me(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// lines is how much the panel has done.
func (w *world) lines() int {
	w.Helper()
	for line, err := range w.direct.Audit(w.Context(), "") {
		if err != nil {
			w.Fatal(err)
		}
		return int(line.Seq)
	}
	return 0
}

func TestWhereATokenGoes(t *testing.T) {
	w := serve(t, plain(), nil)
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
	met := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { met = true }))
	defer other.Close()
	w.net.next(func(_ *between, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := w.far.Me(t.Context()); err == nil || met {
		t.Errorf("a token was sent on to another address: %v", err)
	}
}

func TestAuthoritiesOfAFileAloneAreBelieved(t *testing.T) {
	cfg := plain()
	cfg.TLS.Mode = config.TLSOwn
	w := serve(t, cfg, nil)
	roots, err := filepath.Glob(filepath.Join(w.data, "ca", "*", "root.pem"))
	if err != nil || len(roots) != 1 {
		t.Fatalf("%v, %v", roots, err)
	}
	c, err := client.New(client.Config{URL: w.url, Token: w.token, CA: roots[0]})
	if err != nil {
		t.Fatal(err)
	}
	if me, err := c.Me(t.Context()); err != nil || me.Kind != "token" {
		t.Errorf("%+v, %v", me, err)
	}
	if c, err = client.New(client.Config{URL: w.url, Token: w.token}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Me(t.Context())
	if e, ok := errors.AsType[*client.UnreachableError](err); !ok || !e.Untrusted() {
		t.Errorf("an authority that nobody named is believed: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + "x"} {
		if _, err := client.New(client.Config{URL: w.url, CA: file}); err == nil {
			t.Errorf("%s is an authority", file)
		}
	}
}

func TestPagesAreOneList(t *testing.T) {
	const n = 1203 // three pages
	w := serve(t, plain(), func(ctx context.Context, s store.Store) {
		devices(t, n)(ctx, s)
		log := audit.New(s)
		for range 15 {
			if err := log.Append(ctx, slices.Repeat([]view.AuditLine{{Actor: "panel", Action: "test", Object: "device cam-0001"}}, 20)...); err != nil {
				t.Fatal(err)
			}
		}
	})
	w.loaded(n)
	var ids []string
	for d, err := range w.far.Devices(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	if len(ids) != n || !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != n || len(w.net.requests()) != 3 {
		t.Errorf("%d devices by %d requests", len(ids), len(w.net.requests()))
	}
	some := 0
	for d, err := range w.direct.Devices(t.Context(), `site:"the north" -id:cam-0000`) {
		if err != nil || d.Site != "the north" || d.ID == "cam-0000" {
			t.Fatalf("%+v, %v", d, err)
		}
		some++
	}
	if some != n/2 {
		t.Errorf("%d in the north", some)
	}
	lines := 0
	for line, err := range w.far.Audit(t.Context(), "device cam-0001") {
		if err != nil || line.Object != "device cam-0001" {
			t.Fatalf("%+v, %v", line, err)
		}
		lines++
	}
	if lines != 300 {
		t.Errorf("%d lines", lines)
	}
	w.net.next()
	for range w.far.Devices(t.Context(), "") {
		break
	}
	if len(w.net.requests()) != 1 {
		t.Error("a page was fetched that nobody wanted")
	}
	// No panel does that; something that stands before it may.
	first := func(b *between, w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		q.Del("after")
		r.URL.RawQuery = q.Encode()
		pass(b, w, r)
	}
	w.net.next(slices.Repeat([]fault{first}, 5)...)
	var last error
	for _, err := range w.far.Devices(t.Context(), "") {
		last = err
	}
	if last == nil || len(w.net.requests()) != 2 {
		t.Errorf("of pages in a circle: %v", last)
	}
}

func TestASessionTakesTheTokensPlace(t *testing.T) {
	w := serve(t, plain(), nil)
	if _, err := w.far.SignIn(t.Context(), "ann", "wrong horse battery"); !client.IsCode(err, "wrong-login") {
		t.Errorf("%v", err)
	}
	in, err := w.far.SignIn(t.Context(), "ann", password)
	if err != nil {
		t.Fatal(err)
	}
	if me, err := in.Me(t.Context()); err != nil || me.Name != "ann" || me.Kind != "user" {
		t.Errorf("%+v, %v", me, err)
	}
	made, err := in.AddToken(t.Context(), view.TokenRequest{Name: "script", Grants: []view.Grant{{Role: view.RoleViewer}}, Until: time.Now().Add(time.Hour)})
	if err != nil || made.Text == "" {
		t.Errorf("%+v, %v", made, err)
	}
	if err := in.RemoveToken(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	if err := in.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := in.Me(t.Context()); !client.IsCode(err, "signed-out") {
		t.Errorf("after signing out: %v", err)
	}
}

func TestTheAuditIsExportedAsItIsChained(t *testing.T) {
	w := serve(t, plain(), nil)
	var out strings.Builder
	if err := w.direct.ExportAudit(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if head, err := audit.VerifyExport(strings.NewReader(out.String()), audit.Head{}); err != nil || int(head.Seq) != w.lines() {
		t.Errorf("%+v, %v of %d lines", head, err, w.lines())
	}
}

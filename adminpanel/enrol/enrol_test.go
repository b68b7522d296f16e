package enrol_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

var ann = audit.Who{Actor: "user ann", From: "10.0.0.7"}

// panel is one panel's door on a store, as devices find it.
type panel struct {
	*testing.T
	store     store.Store
	authority *ca.Authority
	fleet     *fleet.Fleet
	tokens    *enrol.Tokens
	desk      *enrol.Desk
	url       string
	deaf      func() // it hears of nothing any more that others write
}

func open(t *testing.T) store.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "panel.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// begin opens a panel's door on a store, which others may be on too.
func begin(t *testing.T, s store.Store, name string) *panel {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := &panel{T: t, store: s}
	var err error
	if p.authority, err = ca.OpenStore(s, ""); err != nil {
		t.Fatal(err)
	}
	chain := audit.New(s)
	p.fleet = fleet.New(fleet.Config{Store: s, Audit: chain, Panel: name, Log: log})
	p.tokens = enrol.NewTokens(s, chain, p.authority, "https://panel.example:8443", log)
	p.desk = enrol.New(enrol.Config{Authority: p.authority, Tokens: p.tokens, Fleet: p.fleet, Names: []string{"127.0.0.1"}, Log: log})
	mux := http.NewServeMux()
	p.desk.Register(mux)
	mux.Handle("GET "+wire.ReachPath, p.desk.Devices(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	server := httptest.NewUnstartedServer(mux)
	server.TLS = p.desk.TLS()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	t.Cleanup(server.Close)
	p.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() { _ = p.fleet.Run(ctx) }) // it ends with ctx
	p.deaf = func() { cancel(); owned.Wait() }
	t.Cleanup(p.deaf)
	select {
	case <-p.fleet.Loaded():
	case <-time.After(time.Minute):
		t.Fatal("the fleet was not loaded")
	}
	return p
}

// token makes one; e says for whom.
func (p *panel) token(e view.Enrolment) view.Enrolment {
	p.Helper()
	made, err := p.tokens.Add(p.Context(), ann, e)
	if err != nil {
		p.Fatal(err)
	}
	return made
}

func (p *panel) forDevice(id string) string {
	p.Helper()
	return p.token(view.Enrolment{Device: id}).Text
}

// caller shows a certificate, if there is one, and trusts whoever answers.
func caller(own *tls.Certificate) *http.Transport {
	c := &tls.Config{InsecureSkipVerify: true}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
}

// reaches is the status with which a panel answers who shows a certificate; 0: there was no
// handshake.
func (p *panel) reaches(own *tls.Certificate) int {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.url+wire.ReachPath, nil)
	if err != nil {
		p.Fatal(err)
	}
	resp, err := caller(own).RoundTrip(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// holder is a device that a test speaks for.
type holder struct {
	key *ecdsa.PrivateKey
	csr []byte
}

func newHolder(t *testing.T) holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return holder{key, csr}
}

// ask sends a request for a certificate, and returns it or the code of the refusal.
func (h holder) ask(p *panel, path string, own *tls.Certificate, ask any) (*tls.Certificate, string) {
	p.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		p.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, p.url+path, bytes.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	resp, err := caller(own).RoundTrip(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		var refusal wire.Problem
		if err := json.Unmarshal(text, &refusal); err != nil || refusal.Detail == "" || refusal.Status != resp.StatusCode ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			p.Errorf("no problem document: %s", text)
		}
		return nil, refusal.Code
	}
	e, err := wire.ParseEnrollment(text)
	if err != nil {
		p.Fatal(err)
	}
	return &tls.Certificate{Certificate: e.Certificate, PrivateKey: h.key}, ""
}

func (h holder) enroll(p *panel, token, device string) (*tls.Certificate, string) {
	p.Helper()
	return h.ask(p, wire.EnrollPath, nil, wire.EnrollRequest{Token: token, Device: device, CSR: h.csr})
}

func (p *panel) must(own *tls.Certificate, code string) *tls.Certificate {
	p.Helper()
	if code != "" {
		p.Fatalf("not enrolled: %s", code)
	}
	return own
}

func TestATokenEnrolsOnce(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	made := p.token(view.Enrolment{Device: "cam-1", Site: "north", Tags: []string{"lab"}})
	if made.Line != "echo "+made.Text+" | slipstream enroll --panel https://panel.example:8443 --token-file -" || made.By != "user ann" || made.Uses != 1 {
		t.Errorf("the token is %+v", made)
	}
	kept, err := p.store.Get(t.Context(), "e/"+made.ID)
	if err != nil || bytes.Contains(kept.Value, []byte(must(wire.ParseToken(made.Text)).Secret)) {
		t.Errorf("the secret itself is kept: %s, %v", kept.Value, err)
	}
	first := newHolder(t)
	if _, code := first.enroll(p, made.Text, "cam-2"); code != wire.CodeOtherDevice {
		t.Errorf("for another device: %q", code)
	}
	own := p.must(first.enroll(p, made.Text, "cam-1"))
	if got := p.reaches(own); got != http.StatusNoContent {
		t.Errorf("the device got %d", got)
	}
	again := p.must(first.enroll(p, made.Text, "cam-1"))
	if got := p.reaches(again); got != http.StatusNoContent {
		t.Errorf("the same device, whose answer was lost, got %d", got)
	}
	if _, code := newHolder(t).enroll(p, made.Text, "cam-1"); code != wire.CodeUsedToken {
		t.Errorf("replayed by somebody else: %q", code)
	}
	if _, code := newHolder(t).enroll(p, wire.NewToken("").String(), "cam-1"); code != wire.CodeBadToken {
		t.Errorf("a token that nobody made: %q", code)
	}
	wrong := must(wire.ParseToken(made.Text))
	wrong.Secret = wire.NewToken("").Secret
	if _, code := first.enroll(p, wrong.String(), "cam-1"); code != wire.CodeBadToken {
		t.Errorf("with another secret: %q", code)
	}
	leaf := must(x509.ParseCertificate(again.Certificate[0]))
	d, _, ok := p.fleet.Record("cam-1")
	if !ok || d.Site != "north" || !slices.Equal(d.Tags, []string{"lab"}) || d.Serial != leaf.SerialNumber.Text(16) || !d.Until.Equal(leaf.NotAfter) {
		t.Errorf("the record is %+v", d)
	}
	if left := must(p.tokens.List(t.Context())); len(left) != 0 {
		t.Errorf("still to be used: %+v", left)
	}
	if err := p.tokens.Remove(t.Context(), ann, made.ID); !errors.Is(err, enrol.ErrUnknown) {
		t.Errorf("what was used up is removed: %v", err)
	}
	want := []string{"device.enrol enrolment " + made.ID, "device.enrol enrolment " + made.ID, "enrolment.add user ann"}
	if got := p.lines(); !slices.Equal(got, want) {
		t.Errorf("the audit says %q", got)
	}
}

// lines are actions and actors of the audit, newest first; its chain must hold.
func (p *panel) lines() (said []string) {
	p.Helper()
	if _, err := audit.Verify(p.Context(), p.store); err != nil {
		p.Error(err)
	}
	lines, _, err := audit.New(p.store).Lines(p.Context(), audit.Query{})
	if err != nil {
		p.Fatal(err)
	}
	for _, l := range lines {
		said = append(said, l.Action+" "+l.Actor)
	}
	return said
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Two panels over one store use a token up once, and a device that one has let in is known
// to the other at once.
func TestTwoPanelsUseATokenOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	panels := []*panel{begin(t, s, "one"), begin(t, s, "two")}
	for range 5 {
		batch := panels[0].token(view.Enrolment{Uses: 1})
		var mu sync.Mutex
		var in []*tls.Certificate
		var at []*panel
		var under sync.WaitGroup
		for i := range 8 {
			p, h := panels[i%2], newHolder(t)
			under.Go(func() {
				own, code := h.enroll(p, batch.Text, batch.ID[:8]+string(rune('a'+i)))
				mu.Lock()
				defer mu.Unlock()
				switch code {
				case "":
					in, at = append(in, own), append(at, panels[(i+1)%2])
				case wire.CodeUsedToken:
				default:
					t.Errorf("refused with %q", code)
				}
			})
		}
		under.Wait()
		if len(in) != 1 {
			t.Fatalf("%d devices are in by a token for one", len(in))
		}
		if got := at[0].reaches(in[0]); got != http.StatusNoContent {
			t.Errorf("the other panel answers %d", got)
		}
	}
	if got := panels[1].fleet.Table().Len(); got > 5 {
		t.Errorf("the fleet has %d devices", got)
	}
}

// A device may call another panel before that has heard of it.
func TestADeviceIsKnownBeforeTheNewsOfIt(t *testing.T) {
	t.Parallel()
	s := open(t)
	one, two := begin(t, s, "one"), begin(t, s, "two")
	two.deaf()
	own := one.must(newHolder(t).enroll(one, one.forDevice("cam-1"), "cam-1"))
	if got := two.reaches(own); got != http.StatusNoContent {
		t.Errorf("the panel that has not heard of it answers %d", got)
	}
}

func TestABatchEnrolsAsManyAsItSays(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	batch := p.token(view.Enrolment{Uses: 3})
	for want := 2; want >= 0; want-- {
		p.must(newHolder(t).enroll(p, batch.Text, "cam-"+string(rune('a'+want))))
		left := 0
		for _, e := range must(p.tokens.List(t.Context())) {
			left += e.Uses
		}
		if left != want {
			t.Errorf("%d are left, want %d", left, want)
		}
	}
	if _, code := newHolder(t).enroll(p, batch.Text, "cam-d"); code != wire.CodeUsedToken {
		t.Errorf("one more: %q", code)
	}
}

func TestNobodyTakesAnothersName(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	old := p.must(newHolder(t).enroll(p, p.token(view.Enrolment{}).Text, "cam-1"))
	batch := p.token(view.Enrolment{}).Text
	if _, code := newHolder(t).enroll(p, batch, "cam-1"); code != wire.CodeTakenName {
		t.Errorf("by a token for anybody: %q", code)
	}
	p.must(newHolder(t).enroll(p, batch, "cam-2")) // the refusal has not used it up
	named, h := p.forDevice("cam-1"), newHolder(t)
	fresh := p.must(h.enroll(p, named, "cam-1"))
	if got := p.reaches(old); got == http.StatusNoContent {
		t.Error("the device whose place was taken still gets in")
	}
	if got := p.reaches(fresh); got != http.StatusNoContent {
		t.Errorf("the new device got %d", got)
	}
	if err := p.fleet.Revoke(t.Context(), ann, "cam-1", 0); err != nil {
		t.Fatal(err)
	}
	if got := p.reaches(fresh); got == http.StatusNoContent {
		t.Error("a revoked device gets in")
	}
	if _, code := h.enroll(p, named, "cam-1"); code != wire.CodeTakenName {
		t.Errorf("a revoked device by the token that it has used: %q", code)
	}
	if _, code := h.enroll(p, p.token(view.Enrolment{}).Text, "cam-1"); code != wire.CodeTakenName {
		t.Errorf("a revoked device by a token for anybody: %q", code)
	}
	if got := p.reaches(p.must(h.enroll(p, p.forDevice("cam-1"), "cam-1"))); got != http.StatusNoContent {
		t.Errorf("a revoked device by another token for it got %d", got)
	}
}

func TestRequestsForCertificatesThatAreRefused(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	good, h := p.token(view.Enrolment{}).Text, newHolder(t)
	for name, ask := range map[string]any{
		"no token": wire.EnrollRequest{Device: "cam-1", CSR: h.csr}, "no key": wire.EnrollRequest{Token: good, Device: "cam-1"},
		"a name that is none": wire.EnrollRequest{Token: good, Device: "../cam-1", CSR: h.csr}, "a list": []int{1},
		"no end": wire.EnrollRequest{Token: good, Device: strings.Repeat("x", 2*wire.MaxEnrollment), CSR: h.csr},
	} {
		if _, code := h.ask(p, wire.EnrollPath, nil, ask); code != wire.CodeBadRequest {
			t.Errorf("%s: %q", name, code)
		}
	}
	own := p.must(h.enroll(p, good, "cam-1")) // they have not used it up
	if _, code := h.ask(p, wire.RenewPath, nil, wire.RenewRequest{CSR: h.csr}); code != wire.CodeNoIdentity {
		t.Errorf("a renewal without a certificate: %q", code)
	}
	if _, code := h.ask(p, wire.RenewPath, own, wire.RenewRequest{CSR: newHolder(t).csr}); code != wire.CodeBadRequest {
		t.Errorf("a renewal over another key: %q", code)
	}
	newer := p.must(h.ask(p, wire.RenewPath, own, wire.RenewRequest{CSR: h.csr}))
	serial := must(x509.ParseCertificate(newer.Certificate[0])).SerialNumber.Text(16)
	if d, _, _ := p.fleet.Record("cam-1"); d.Serial != serial {
		t.Errorf("the newest certificate is %s, not %s", d.Serial, serial)
	}
}

// Whatever a caller shows besides the certificate of an enrolled device, it gets nothing.
func TestCertificatesThatLetNobodyIn(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	h, now := newHolder(t), time.Now()
	p.must(h.enroll(p, p.forDevice("cam-1"), "cam-1"))
	foreign := must(ca.Open(t.TempDir()))
	issue := func(a *ca.Authority, device string, h holder, at time.Time) *tls.Certificate {
		return &tls.Certificate{Certificate: must(a.Device(wire.DeviceURI(device), h.csr, at)), PrivateKey: h.key}
	}
	if got := p.reaches(issue(p.authority, "cam-1", h, now)); got != http.StatusNoContent {
		t.Fatalf("the device itself got %d", got)
	}
	for name, own := range map[string]*tls.Certificate{
		"another panel's":                   issue(foreign, "cam-1", h, now),
		"for a device that is not enrolled": issue(p.authority, "cam-2", h, now),
		"for the device, over another key":  issue(p.authority, "cam-1", newHolder(t), now),
		"expired":                           issue(p.authority, "cam-1", h, now.Add(-ca.DeviceLife-time.Hour)),
		"for a name that is none":           issue(p.authority, "../d/cam-1", h, now),
		"none at all":                       nil,
	} {
		if got := p.reaches(own); got != 0 && got != http.StatusUnauthorized {
			t.Errorf("a certificate %s got %d", name, got)
		}
	}
}

// A certificate is looked at again while its link lasts: one that expires meanwhile lets
// nobody do anything any more, as one that was revoked.
func TestACertificateThatExpiresUnderALink(t *testing.T) {
	t.Parallel()
	p := begin(t, open(t), "one")
	h := newHolder(t)
	p.must(h.enroll(p, p.forDevice("cam-1"), "cam-1"))
	shown := func(made time.Time) *http.Request {
		chain := must(wire.Certificates(must(p.authority.Device(wire.DeviceURI("cam-1"), h.csr, made))))
		return &http.Request{TLS: &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}}
	}
	young, old := shown(time.Now()), shown(time.Now().Add(-ca.DeviceLife-time.Minute))
	if device, ok := p.desk.Identify(young); !ok || device != "cam-1" {
		t.Errorf("a good certificate: %q, %v", device, ok)
	}
	if _, ok := p.desk.Identify(old); ok {
		t.Error("an expired certificate counts while the link lasts")
	}
	if !p.desk.Authorities(shown(time.Now().Add(-ca.DeviceLife*3/4))).Renew || p.desk.Authorities(young).Renew {
		t.Error("the panel asks for renewal at another age than the last third")
	}
	unverified := shown(time.Now())
	unverified.TLS.VerifiedChains = nil
	for _, r := range []*http.Request{unverified, {}} {
		if _, ok := p.desk.Identify(r); ok {
			t.Error("who was not vouched for is somebody")
		}
	}
	if err := p.fleet.Revoke(t.Context(), ann, "cam-1", 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.desk.Identify(young); ok {
		t.Error("a revoked device is let in")
	}
}

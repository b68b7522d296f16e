package adminpanel_test

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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/link"
	"slipstream/agent/wire"
)

// stranger trusts whoever answers and shows nothing.
func stranger(world) http.RoundTripper { return caller(nil) }

// caller shows a certificate, if there is one.
func caller(own *tls.Certificate) http.RoundTripper {
	c := &tls.Config{InsecureSkipVerify: true}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
}

func call(t *testing.T, line http.RoundTripper, url string, header ...string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := line.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
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
func (h holder) ask(t *testing.T, line http.RoundTripper, url string, ask any) (*tls.Certificate, string) {
	t.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := line.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		var p wire.Problem
		if err := json.Unmarshal(text, &p); err != nil || p.Detail == "" || p.Status != resp.StatusCode || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("no problem document: %s", text)
		}
		return nil, p.Code
	}
	e, err := wire.ParseEnrollment(text)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: e.Certificate, PrivateKey: h.key}, ""
}

func (h holder) enroll(t *testing.T, w world, token, device string) (*tls.Certificate, string) {
	t.Helper()
	return h.ask(t, stranger(w), w.link+wire.EnrollPath, wire.EnrollRequest{Token: token, Device: device, CSR: h.csr})
}

func TestATokenEnrolsOnce(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	text := token(t, w.data, "cam-1")
	first := newHolder(t)
	if _, code := first.enroll(t, w, text, "cam-2"); code != wire.CodeOtherDevice {
		t.Errorf("for another device: %q", code)
	}
	certificate, code := first.enroll(t, w, text, "cam-1")
	if code != "" {
		t.Fatal(code)
	}
	if status, _ := call(t, caller(certificate), w.link+wire.ReachPath); status != http.StatusNoContent {
		t.Errorf("the device got %d", status)
	}
	if _, code := first.enroll(t, w, text, "cam-1"); code != "" {
		t.Errorf("the same device, whose answer was lost: %q", code)
	}
	if _, code := newHolder(t).enroll(t, w, text, "cam-1"); code != wire.CodeUsedToken {
		t.Errorf("replayed by somebody else: %q", code)
	}
	if _, code := newHolder(t).enroll(t, w, wire.NewToken("").String(), "cam-1"); code != wire.CodeBadToken {
		t.Errorf("a token that nobody made: %q", code)
	}
	var audit struct{ Audit []shelf.AuditLine }
	if w.get(t, "/api/audit", &audit); len(audit.Audit) != 2 || audit.Audit[0].Action != "enrol" || audit.Audit[0].Device != "cam-1" {
		t.Errorf("the audit says %+v", audit.Audit)
	}
}

func TestNobodyTakesAnothersName(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	old, code := newHolder(t).enroll(t, w, token(t, w.data, ""), "cam-1")
	if code != "" {
		t.Fatal(code)
	}
	batch := token(t, w.data, "")
	if _, code := newHolder(t).enroll(t, w, batch, "cam-1"); code != wire.CodeTakenName {
		t.Errorf("by a token for anybody: %q", code)
	}
	if _, code := newHolder(t).enroll(t, w, batch, "cam-2"); code != "" {
		t.Errorf("the refusal has used the token up: %q", code)
	}
	certificate, code := newHolder(t).enroll(t, w, token(t, w.data, "cam-1"), "cam-1")
	if code != "" {
		t.Fatalf("by a token for the name: %q", code)
	}
	if status, _ := call(t, caller(old), w.link+wire.ReachPath); status == http.StatusNoContent {
		t.Error("the device whose place was taken still gets in")
	}
	if status, _ := call(t, caller(certificate), w.link+wire.ReachPath); status != http.StatusNoContent {
		t.Errorf("the new device got %d", status)
	}
}

func TestRequestsForCertificatesThatAreRefused(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	good, h := token(t, w.data, ""), newHolder(t)
	for name, ask := range map[string]any{
		"no token": wire.EnrollRequest{Device: "cam-1", CSR: h.csr}, "no key": wire.EnrollRequest{Token: good, Device: "cam-1"},
		"a name that is none": wire.EnrollRequest{Token: good, Device: "../cam-1", CSR: h.csr}, "a list": []int{1},
		"no end": wire.EnrollRequest{Token: good, Device: strings.Repeat("x", 2*wire.MaxEnrollment), CSR: h.csr},
	} {
		if _, code := h.ask(t, stranger(w), w.link+wire.EnrollPath, ask); code != wire.CodeBadRequest {
			t.Errorf("%s: %q", name, code)
		}
	}
	certificate, code := h.enroll(t, w, good, "cam-1")
	if code != "" {
		t.Fatalf("they have used the token up: %q", code)
	}
	if _, code := h.ask(t, stranger(w), w.link+wire.RenewPath, wire.RenewRequest{CSR: h.csr}); code != wire.CodeNoIdentity {
		t.Errorf("a renewal without a certificate: %q", code)
	}
	if _, code := h.ask(t, caller(certificate), w.link+wire.RenewPath, wire.RenewRequest{CSR: newHolder(t).csr}); code != wire.CodeBadRequest {
		t.Errorf("a renewal over another key: %q", code)
	}
	if _, code := h.ask(t, caller(certificate), w.link+wire.RenewPath, wire.RenewRequest{CSR: h.csr}); code != "" {
		t.Errorf("a renewal: %q", code)
	}
}

// Whatever a caller shows besides the certificate of an enrolled device, it gets
// nothing.
func TestCertificatesThatLetNobodyIn(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	h := newHolder(t)
	if _, code := h.enroll(t, w, token(t, data, "cam-1"), "cam-1"); code != "" {
		t.Fatal(code)
	}
	ours, foreign := must(ca.Open(adminpanel.AuthorityDir(data))), must(ca.Open(t.TempDir()))
	issue := func(a *ca.Authority, device string, h holder, at time.Time) *tls.Certificate {
		return &tls.Certificate{Certificate: must(a.Device(wire.DeviceURI(device), h.csr, at)), PrivateKey: h.key}
	}
	now := time.Now()
	if status, said := call(t, caller(issue(ours, "cam-1", h, now)), w.link+wire.ReachPath); status != http.StatusNoContent {
		t.Fatalf("the device itself: %d %s", status, said)
	}
	for name, own := range map[string]*tls.Certificate{
		"another panel's":                    issue(foreign, "cam-1", h, now),
		"for a device that is not enrolled":  issue(ours, "cam-2", h, now),
		"for the device, over another key":   issue(ours, "cam-1", newHolder(t), now),
		"expired":                            issue(ours, "cam-1", h, now.Add(-ca.DeviceLife-time.Hour)),
		"for a name that leaves a directory": issue(ours, "../enrolled/cam-1", h, now),
	} {
		if status, _ := call(t, caller(own), w.link+wire.ReachPath); status != 0 && status != http.StatusUnauthorized {
			t.Errorf("a certificate %s got %d", name, status)
		}
	}
}

// A device that says another name than its certificate's is cut off, and nobody sees
// it under that name.
func TestADeviceSpeaksForItselfOnly(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	own, code := newHolder(t).enroll(t, w, token(t, w.data, ""), "cam-1")
	if code != "" {
		t.Fatal(code)
	}
	hello, err := json.Marshal(wire.Up{Hello: &wire.Hello{Device: "cam-2"}})
	if err != nil {
		t.Fatal(err)
	}
	up, body := io.Pipe()
	defer body.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.link+wire.Path, up)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := caller(own).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body.Write(append(hello, '\n'))
	if _, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Logf("the link ended with %v", err)
	}
	var list struct{ Devices []device }
	if w.get(t, "/api/devices", &list); len(list.Devices) != 1 || list.Devices[0].ID != "cam-1" || list.Devices[0].Online {
		t.Errorf("the panel shows %+v", list.Devices)
	}
}

func TestARevokedDeviceIsCutOff(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	s := w.device(t, "cam-1")
	if err := must(shelf.OpenEnrolled(w.data)).Revoke("cam-1"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "cam-1", func(d device) bool { return !d.Online })
	if err := s.panel.Reach(t.Context()); err == nil {
		t.Error("the revoked device still reaches the panel")
	}
	fresh := must(wire.ParseToken(token(t, w.data, "cam-1")))
	if _, err := s.panel.Prepare(t.Context(), w.link, fresh); err != nil {
		t.Fatalf("with a token for it: %v", err)
	}
	if err := s.panel.Commit(); err != nil {
		t.Fatal(err)
	}
	w.until(t, "cam-1", func(d device) bool { return d.Online }) // by itself
}

// A device hears of another authority by its link, renews by itself, and outlives the
// old one; the panel's own certificate changes under it.
func TestTheAuthorityRotatesUnderALink(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	s := w.device(t, "cam-1")
	authority := must(ca.Open(adminpanel.AuthorityDir(data)))
	old := authority.Pinned()
	if err := authority.Rotate(); err != nil {
		t.Fatal(err)
	}
	renewed := func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "enrolment.json"))
		if err != nil {
			t.Fatal(err)
		}
		var e wire.Enrollment
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(e.Certificate[0])
		return err == nil && len(e.Authorities) == 2 && authority.IsNewest(leaf)
	}
	for late := time.Now().Add(patience); !renewed(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the device did not renew")
		}
	}
	if err := authority.Retire(); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(w.link, "https://")
	w.stop()
	again := startAt(t, adminpanel.Config{Data: data}, address)
	again.until(t, "cam-1", func(d device) bool { return d.Online })
	if authority.Pinned().Equal(old) {
		t.Error("the old authority is still there")
	}
}

// A panel that stops asks its devices to come back soon, not after a back-off.
func TestDevicesComeBackToAPanelThatStartsAnew(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	w.device(t, "cam-1")
	w.stop()
	again := startAt(t, adminpanel.Config{Data: data}, strings.TrimPrefix(w.link, "https://"))
	again.until(t, "cam-1", func(d device) bool { return d.Online })
}

// Who is not the panel that made the token never hears the secret.
func TestAForeignPanelGetsNoToken(t *testing.T) {
	ours, theirs := start(t, adminpanel.Config{Data: t.TempDir()}), start(t, adminpanel.Config{Data: t.TempDir()})
	id, err := link.OpenIdentity(t.TempDir(), "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	parsed := must(wire.ParseToken(token(t, ours.data, "")))
	if _, err := id.Prepare(t.Context(), theirs.link, parsed); err == nil || !strings.Contains(err.Error(), "made the token") {
		t.Errorf("the other panel: %v", err)
	}
	parsed.Pin = ""
	if _, err := id.Prepare(t.Context(), ours.link, parsed); err == nil {
		t.Error("without a pin the system's authorities vouch for the panel")
	}
	if _, err := id.Prepare(t.Context(), strings.Replace(ours.link, "127.0.0.1", "localhost", 1), must(wire.ParseToken(token(t, ours.data, "")))); err == nil {
		t.Error("by a name that the panel's certificate is not for")
	}
	if _, err := adminpanel.New(adminpanel.Config{Data: t.TempDir(), Fleet: "/none"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a panel without the root of its fleet")
	}
}

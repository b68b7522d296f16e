package adminpanel_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/view"
	"slipstream/agent/link"
	"slipstream/agent/wire"
)

// An operator brings a release to a device step by step, and each step is in the audit.
func TestAReleaseGoesToADeviceAndBecomesPermanent(t *testing.T) {
	t.Parallel()
	w := start(t, blank(t.TempDir()))
	s := w.device("cam-1")
	release := w.upload(build(t, newKey(t), "2.0.0", 2))
	for _, step := range []struct {
		verb  string
		body  any
		state string
	}{
		{"stage", view.StageRequest{Release: release.ID}, view.DeviceStaged},
		{"activate", view.ActivateRequest{}, view.DeviceTrial},
		{"confirm", nil, view.DeviceReady},
	} {
		var asked view.Asked
		if w.ask("POST", "/api/v1/devices/cam-1/"+step.verb+"?wait=60s", step.body).is(http.StatusOK, &asked); !asked.Done || asked.Exit != 0 {
			t.Fatalf("%s was answered %+v", step.verb, asked)
		}
		w.until("cam-1", step.state, func(d view.DeviceDetail) bool { return d.State == step.state })
	}
	d := w.until("cam-1", "at 2.0.0", func(d view.DeviceDetail) bool { return d.Running == "2.0.0" })
	if d.Previous != "1.0.0" || d.Slot != "b" {
		t.Errorf("the device is %+v", d.Device)
	}
	if got := s.Asked(); !slices.Equal(got, []string{"stage 2.0.0", "activate", "greenlight"}) {
		t.Errorf("the device was asked %q", got)
	}
	var history view.History
	if w.ask("GET", "/api/v1/devices/cam-1/history", nil).is(http.StatusOK, &history); len(history.Records) != 2 || history.Records[0].To != "2.0.0" {
		t.Errorf("the history is %+v", history)
	}
	var audit view.Audit
	w.ask("GET", "/api/v1/audit", nil).is(http.StatusOK, &audit)
	var actions []string
	for _, line := range slices.Backward(audit.Lines) {
		actions = append(actions, line.Action)
	}
	for _, want := range []string{"account.setup", "enrolment.add", "device.enrol", "release.add", "device.stage", "device.activate", "device.confirm"} {
		if !slices.Contains(actions, want) {
			t.Errorf("the audit does not say %s: %q", want, actions)
		}
	}
}

// A panel that restarts knows its devices, releases and people; the devices come back by
// themselves, soon.
func TestAPanelThatRestarts(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	w := start(t, cfg)
	w.device("cam-1")
	w.upload(build(t, newKey(t), "2.0.0", 2))
	cfg.Devices = strings.TrimPrefix(w.link, "https://")
	w.stop()
	again := launch(t, cfg)
	again.ann = w.ann // the session goes on
	var list view.Releases
	if again.ask("GET", "/api/v1/releases", nil).is(http.StatusOK, &list); len(list.Releases) != 1 {
		t.Errorf("the releases are %+v", list)
	}
	again.until("cam-1", "back", func(d view.DeviceDetail) bool { return d.Online && d.Running == "1.0.0" })
	if token, err := again.panel.SetupToken(t.Context()); token != "" || err != nil {
		t.Errorf("who reads the log could make another first account: %q, %v", token, err)
	}
}

// caller shows a certificate, if there is one, and trusts whoever answers.
func caller(own *tls.Certificate) *http.Transport {
	c := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the panel is the test's own
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DisableKeepAlives: true}
}

func fetch(t *testing.T, line http.RoundTripper, url string, header ...string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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

// enrolled is a device that only has its certificate.
func (w *world) enrolled(id string) *link.Identity {
	w.Helper()
	own, err := link.OpenIdentity(w.TempDir(), id)
	if err == nil {
		_, err = own.Prepare(w.Context(), w.link, w.token(id))
	}
	if err == nil {
		err = own.Commit()
	}
	if err != nil {
		w.Fatal(err)
	}
	return own
}

func TestReleasesAreForEnrolledDevicesByRanges(t *testing.T) {
	t.Parallel()
	w := start(t, blank(t.TempDir()))
	id := w.enrolled("cam-1")
	slip := build(t, newKey(t), "2.0.0", 2)
	release := w.upload(slip)
	path := "/v1/releases/" + release.ID
	if status, _ := fetch(t, caller(nil), w.link+path); status != http.StatusUnauthorized {
		t.Errorf("who shows no certificate got %d", status)
	}
	if status, body := fetch(t, id, w.link+path, "Range", "bytes=1000-1999"); status != http.StatusPartialContent || body != slip[1000:2000] {
		t.Errorf("a range: %d, %d bytes", status, len(body))
	}
	for _, bad := range []string{"/v1/releases/..%2fstore.db", "/v1/releases/" + strings.Repeat("0", 32)} {
		if status, _ := fetch(t, id, w.link+bad); status != http.StatusNotFound {
			t.Errorf("%s: %d", bad, status)
		}
	}
	w.ask("DELETE", "/api/v1/releases/"+release.ID, nil)
	if status, _ := fetch(t, id, w.link+path); status != http.StatusNotFound {
		t.Errorf("a withdrawn one: %d", status)
	}
}

// A device that says another name than its certificate's is cut off, and nobody sees
// it under that name.
func TestADeviceSpeaksForItselfOnly(t *testing.T) {
	t.Parallel()
	w := start(t, blank(t.TempDir()))
	own := w.enrolled("cam-1")
	hello, err := json.Marshal(wire.Up{Hello: &wire.Hello{Device: "cam-2"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	up, body := io.Pipe()
	defer body.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.link+wire.Path, up)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := own.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body.Write(append(hello, '\n'))
	if _, err := io.ReadAll(resp.Body); ctx.Err() != nil {
		t.Errorf("the link did not end: %v", err)
	}
	var list view.Devices
	if w.ask("GET", "/api/v1/devices", nil).is(http.StatusOK, &list); len(list.Devices) != 1 || list.Devices[0].ID != "cam-1" || list.Devices[0].Online {
		t.Errorf("the panel shows %+v", list.Devices)
	}
}

// A device that is revoked has no link in the next moment, and is let in again by a token
// for it alone.
func TestARevokedDeviceIsCutOff(t *testing.T) {
	t.Parallel()
	w := start(t, blank(t.TempDir()))
	s, other := w.device("cam-1"), w.device("cam-2")
	w.ask("DELETE", "/api/v1/devices/cam-1", nil, "If-Match", "*").is(http.StatusNoContent, nil)
	w.eventually("its link is ended", func() bool { return s.Identity().Reach(t.Context()) != nil && w.links() == 1 })
	if err := other.Identity().Reach(t.Context()); err != nil {
		t.Errorf("the other device: %v", err)
	}
	if got := w.ask("GET", "/api/v1/devices/cam-1", nil); got.status != http.StatusNotFound {
		t.Errorf("it is still shown: %d", got.status)
	}
	if _, err := s.Identity().Prepare(t.Context(), w.link, w.token("cam-1")); err != nil {
		t.Fatalf("with a token for it: %v", err)
	}
	if err := s.Identity().Commit(); err != nil {
		t.Fatal(err)
	}
	w.until("cam-1", "back", func(d view.DeviceDetail) bool { return d.Online }) // by itself
}

// links is how many devices are linked.
func (w *world) links() int {
	w.Helper()
	var h view.Hub
	w.ask("GET", "/api/v1/hub", nil).is(http.StatusOK, &h)
	return h.Linked
}

// A device hears of another authority by its link, renews by itself, and outlives the
// old one; the panel's own certificate changes under it.
func TestTheAuthorityRotatesUnderALink(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	w := start(t, cfg)
	s := w.device("cam-1")
	authority := must(ca.Open(filepath.Join(cfg.Data, "ca")))
	old := authority.Pinned()
	if err := authority.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.eventually("the device renews", func() bool {
		text, err := os.ReadFile(filepath.Join(s.State, "cam-1", "enrolment.json"))
		if err != nil {
			t.Fatal(err)
		}
		var e wire.Enrollment
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(e.Certificate[0])
		return err == nil && len(e.Authorities) == 2 && authority.IsNewest(leaf)
	})
	if err := authority.Retire(); err != nil {
		t.Fatal(err)
	}
	cfg.Devices = strings.TrimPrefix(w.link, "https://")
	w.stop()
	again := launch(t, cfg)
	again.ann = w.ann
	again.until("cam-1", "back", func(d view.DeviceDetail) bool { return d.Online })
	if authority.Pinned().Equal(old) {
		t.Error("the old authority is still there")
	}
}

// Who is not the panel that made the token never hears the secret.
func TestAForeignPanelGetsNoToken(t *testing.T) {
	t.Parallel()
	ours, theirs := start(t, blank(t.TempDir())), start(t, blank(t.TempDir()))
	id := must(link.OpenIdentity(t.TempDir(), "cam-1"))
	parsed := ours.token("")
	if _, err := id.Prepare(t.Context(), theirs.link, parsed); err == nil || !strings.Contains(err.Error(), "made the token") {
		t.Errorf("the other panel: %v", err)
	}
	unpinned := parsed
	unpinned.Pin = ""
	if _, err := id.Prepare(t.Context(), ours.link, unpinned); err == nil {
		t.Error("without a pin the system's authorities vouch for the panel")
	}
	if _, err := id.Prepare(t.Context(), strings.Replace(ours.link, "127.0.0.1", "localhost", 1), parsed); err == nil {
		t.Error("by a name that the panel's certificate is not for")
	}
}

// What a configuration names and is not there keeps a panel from starting, with its name.
func TestAPanelWithoutWhatItIsToldOf(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(data string) error{
		"the fleet's root":         func(data string) error { cfg := blank(data); cfg.Fleet = "/none"; return opens(t, cfg) },
		"the panel's trusted keys": func(data string) error { cfg := blank(data); cfg.Trust = "/none"; return opens(t, cfg) },
		"the secret for the identity provider": func(data string) error {
			cfg := blank(data)
			cfg.URL, cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.SecretFile = "https://panel.example", "https://id.example", "panel", "/none"
			return opens(t, cfg)
		},
	} {
		if err := change(t.TempDir()); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("without %s: %v", what, err)
		}
	}
}

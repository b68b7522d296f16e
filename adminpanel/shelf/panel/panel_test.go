package adminpanel_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/control"
	"slipstream/agent/wire"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// world is a running panel with the means to talk to it.
type world struct {
	url  string // of the page
	link string // where devices call
	data string
	stop func()
}

// start runs a panel on data, which is kept when it is stopped.
func start(t *testing.T, cfg adminpanel.Config) world {
	t.Helper()
	return startAt(t, cfg, "127.0.0.1:0")
}

// startAt lets devices call at an address.
func startAt(t *testing.T, cfg adminpanel.Config, link string) world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg.Names = []string{"127.0.0.1"}
	p, err := adminpanel.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := adminpanel.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := net.Listen("tcp", link)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Serve(ctx, l, devices); err != nil {
			t.Errorf("the panel ended: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close the panel: %v", err)
		}
	}()
	stop := func() { cancel(); <-ended }
	t.Cleanup(stop)
	return world{"http://" + l.Addr().String(), "https://" + devices.Addr().String(), cfg.Data, stop}
}

// device enrols a simulated device and waits until it is linked.
func (w world) device(t *testing.T, id string) *sim {
	t.Helper()
	s := newSim(id, token(t, w.data, id))
	s.run(t, w.link)
	w.until(t, id, func(d device) bool { return d.Online && d.Status.Phase != "" })
	return s
}

// token makes a token for a device, "" for any.
func token(t *testing.T, data, id string) string {
	t.Helper()
	authority, err := ca.Open(adminpanel.AuthorityDir(data))
	if err != nil {
		t.Fatal(err)
	}
	made := wire.NewToken(wire.Pin(authority.Pinned()))
	if err := must(shelf.OpenTokens(data)).Add(made.ID, made.Secret, id, 1, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return made.String()
}

// device is what these tests read of a device's JSON.
type device struct {
	ID      string `json:"id"`
	Online  bool   `json:"online"`
	Version string `json:"version"`
	Status  struct {
		Phase string `json:"phase"`
		Slots []struct{ State, Version string }
	} `json:"status"`
	Asked struct {
		Kind, Code, Message string
		Done                bool
		Exit                int
	} `json:"asked"`
}

func (w world) until(t *testing.T, id string, wanted func(device) bool) device {
	t.Helper()
	var d device
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if w.get(t, "/api/devices/"+id, &d); wanted(d) {
			return d
		}
	}
	t.Fatalf("%s stayed %+v", id, d)
	return d
}

func (w world) get(t *testing.T, path string, v any) {
	t.Helper()
	resp, err := http.Get(w.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// said is an answer as a client sees it.
type said struct {
	status int
	header http.Header
	body   string
	Code   string `json:"code"`
	Detail string `json:"detail"`
	ID     string `json:"id"`
	Exit   int    `json:"exit"`
	Done   bool   `json:"done"`
}

func (w world) do(t *testing.T, method, path, kind, body string, header ...string) said {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := said{status: resp.StatusCode, header: resp.Header, body: string(text)}
	json.Unmarshal(text, &s) // what is no JSON has none of the fields
	return s
}

const asJSON = "application/json"

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// build makes a small real package.
func build(t *testing.T, key *ecdsa.PrivateKey, version string, counter int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err := pack.Build(t.Context(), &out, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: counter,
		IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Notes: "Sharper at night.",
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (w world) upload(t *testing.T, slip string) said {
	t.Helper()
	return w.do(t, http.MethodPost, "/api/releases", "application/octet-stream", slip)
}

func trustFile(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	text, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trust.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAReleaseGoesToADeviceAndBecomesPermanent(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	s := w.device(t, "cam-1")
	release := w.upload(t, build(t, newKey(t), "2.0.0", 2))
	if release.status != http.StatusCreated {
		t.Fatalf("the upload was answered %d %s", release.status, release.body)
	}
	for _, step := range []struct{ verb, body, phase string }{
		{"stage", `{"release":"` + release.ID + `"}`, "staged"},
		{"activate", "", "trial"},
		{"greenlight", "", "idle"},
	} {
		got := w.do(t, http.MethodPost, "/api/devices/cam-1/"+step.verb+"?wait=20s", asJSON, step.body)
		if got.status != http.StatusOK || !got.Done || got.Exit != 0 {
			t.Fatalf("%s was answered %d %s", step.verb, got.status, got.body)
		}
		w.until(t, "cam-1", func(d device) bool { return d.Status.Phase == step.phase })
	}
	if d := w.until(t, "cam-1", func(d device) bool { return d.Version == "2.0.0" }); d.Status.Slots[1].State != "permanent" {
		t.Errorf("the device is %+v", d)
	}
	if got := s.askedOf(); !slices.Equal(got, []string{"stage 2.0.0", "activate", "greenlight"}) {
		t.Errorf("the device was asked %q", got)
	}
	var history struct {
		History []struct{ To, Outcome string }
	}
	if w.get(t, "/api/devices/cam-1/history", &history); len(history.History) != 2 || history.History[0].To != "2.0.0" {
		t.Errorf("the history is %+v", history)
	}
	var audit struct{ Audit []shelf.AuditLine }
	w.get(t, "/api/audit", &audit)
	var actions []string
	for _, line := range audit.Audit {
		actions = append(actions, line.Action)
	}
	want := []string{"greenlight answered", "greenlight", "activate answered", "activate", "stage answered", "stage", "add release", "enrol"}
	if !slices.Equal(actions, want) {
		t.Errorf("the audit says %q, want %q", actions, want)
	}
}

func TestAVerbIsAnsweredAtOnce(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	w.device(t, "cam-1")
	release := w.upload(t, build(t, newKey(t), "2.0.0", 2))
	got := w.do(t, http.MethodPost, "/api/devices/cam-1/stage", asJSON, `{"release":"`+release.ID+`"}`)
	if got.status != http.StatusAccepted && got.status != http.StatusOK {
		t.Errorf("stage was answered %d %s", got.status, got.body)
	}
	w.until(t, "cam-1", func(d device) bool { return d.Asked.Done && d.Asked.Kind == "stage" && d.Asked.Exit == 0 })
}

func TestWhatThePanelSaysToMistakes(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	enrolled(t, w.link, "cam-away", token(t, w.data, "cam-away"))
	w.device(t, "cam-1")
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		code                     string
	}{
		{"GET", "/api/devices/cam-9", "", "", 404, "unknown-device"},
		{"GET", "/api/devices/cam-9/history", "", "", 404, "unknown-device"},
		{"POST", "/api/devices/cam-9/revert", "", "", 404, "unknown-device"},
		{"POST", "/api/devices/cam-away/revert", "", "", 503, "device-offline"},
		{"POST", "/api/devices/cam-away/whep/main", "application/sdp", "v=0", 503, "device-offline"},
		{"POST", "/api/devices/cam-1/stage", asJSON, `{"release":"none"}`, 404, "unknown-release"},
		{"POST", "/api/devices/cam-1/stage", asJSON, `{"release":7}`, 400, "bad-json"},
		{"POST", "/api/devices/cam-1/stage", "text/plain", `{}`, 415, "not-json"},
		{"POST", "/api/devices/cam-1/stage", asJSON, long, 413, "too-large"},
		{"POST", "/api/devices/cam-1/revert?wait=soon", "", "", 400, "bad-wait"},
		{"POST", "/api/devices/cam-1/whep/main", asJSON, "{}", 415, "not-sdp"},
		{"POST", "/api/devices/cam-1/whep/main", "application/sdp", long, 413, "too-large"},
		{"POST", "/api/devices/cam-1/whep/main", "application/sdp", "v=0", 502, "device-failed"},
		{"POST", "/api/releases", "", "no package", 422, "truncated"},
		{"GET", "/api/nothing", "", "", 404, "no-such-route"},
		{"DELETE", "/api/releases", "", "", 404, "no-such-route"},
	} {
		got := w.do(t, c.method, c.path, c.kind, c.body)
		if got.status != c.status || got.Code != c.code || got.Detail == "" || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	w.device(t, "cam-1")
	for _, c := range []struct {
		header []string
		status int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{[]string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{[]string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
		{[]string{"Host", "127.0.0.1.evil.example:80"}, http.StatusMisdirectedRequest},
		{[]string{"Host", "localhost:9000"}, http.StatusOK}, // a tunnel
	} {
		if got := w.do(t, http.MethodPost, "/api/devices/cam-1/greenlight?wait=20s", "", "", c.header...); got.status != c.status {
			t.Errorf("%v: %d %s", c.header, got.status, got.body)
		}
	}
	page := w.do(t, http.MethodGet, "/", "", "")
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

func TestTheLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "[::]:0", "panel.example:80", "127.0.0.1"} {
		if l, err := adminpanel.Listen(addr); err == nil {
			l.Close()
			t.Errorf("the panel listens at %s", addr)
		} else if strings.Contains(addr, "0.0.0.0") && !strings.Contains(err.Error(), "no logins yet") {
			t.Errorf("the refusal does not say why: %v", err)
		}
	}
}

func TestReleases(t *testing.T) {
	ours, strangers := newKey(t), newKey(t)
	w := start(t, adminpanel.Config{Data: t.TempDir(), Trust: trustFile(t, ours)})
	slip := build(t, ours, "2.0.0", 2)
	if got := w.upload(t, slip); got.status != http.StatusCreated {
		t.Fatalf("a good package: %d %s", got.status, got.body)
	}
	if got := w.upload(t, slip); got.status != http.StatusOK {
		t.Errorf("the same again: %d %s", got.status, got.body)
	}
	flipped := []byte(slip)
	flipped[len(flipped)-1500] ^= 1
	for name, bad := range map[string]string{
		"untrusted": build(t, strangers, "3.0.0", 3), "corrupt": string(flipped), "truncated": slip[:len(slip)-600],
	} {
		if got := w.upload(t, bad); got.status != http.StatusUnprocessableEntity || got.Code != name {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	var list struct{ Releases []shelf.Release }
	if w.get(t, "/api/releases", &list); len(list.Releases) != 1 || !list.Releases[0].Verified || list.Releases[0].Version != "2.0.0" {
		t.Errorf("the list is %+v", list)
	}
	if left, _ := filepath.Glob(filepath.Join(w.data, "incoming", "*")); len(left) > 0 {
		t.Errorf("refused uploads were left: %v", left)
	}
}

func TestReleasesAreForEnrolledDevicesByRanges(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	id := enrolled(t, w.link, "cam-1", token(t, w.data, "cam-1"))
	slip := build(t, newKey(t), "2.0.0", 2)
	path := "/v1/releases/" + w.upload(t, slip).ID
	if status, _ := call(t, stranger(w), w.link+path); status != http.StatusUnauthorized {
		t.Errorf("who shows no certificate got %d", status)
	}
	if status, body := call(t, id, w.link+path, "Range", "bytes=1000-1999"); status != http.StatusPartialContent || body != slip[1000:2000] {
		t.Errorf("a range: %d, %d bytes", status, len(body))
	}
	if status, _ := call(t, id, w.link+"/v1/releases/..%2fpanel.db"); status != http.StatusNotFound {
		t.Errorf("a name that leaves the directory: %d", status)
	}
	if status, _ := call(t, http.DefaultTransport, w.url+path); status == http.StatusOK {
		t.Error("releases are to be had at the page's address")
	}
}

func TestAPanelThatRestarts(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	w.device(t, "cam-1")
	w.upload(t, build(t, newKey(t), "2.0.0", 2))
	if _, err := adminpanel.New(adminpanel.Config{Data: data}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another panel") {
		t.Errorf("a second panel on the same data: %v", err)
	}
	w.stop()
	again := start(t, adminpanel.Config{Data: data})
	d := again.until(t, "cam-1", func(device) bool { return true })
	if d.Online || d.Version != "1.0" {
		t.Errorf("the panel remembers %+v", d)
	}
	var list struct{ Releases []shelf.Release }
	if again.get(t, "/api/releases", &list); len(list.Releases) != 1 {
		t.Errorf("the releases are %+v", list)
	}
	if enrolled, err := (must(shelf.OpenEnrolled(data))).Devices(); err != nil || !slices.Equal(enrolled, []string{"cam-1"}) {
		t.Errorf("enrolled are %v, %v", enrolled, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEventsTellEverythingOnceAndThenChanges(t *testing.T) {
	w := start(t, adminpanel.Config{Data: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/events", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen strings.Builder
	wait := func(wanted string) {
		t.Helper()
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), wanted) {
			n, err := resp.Body.Read(buf)
			if err != nil {
				t.Fatalf("no %s in %s: %v", wanted, seen.String(), err)
			}
			seen.Write(buf[:n])
		}
	}
	wait(`event: snapshot`)
	s := w.device(t, "cam-1")
	wait(`event: device`)
	s.Activate(ctx, control.ActivateRequest{})
	wait(`"phase":"trial"`)
	w.upload(t, build(t, newKey(t), "2.0.0", 2))
	wait(`event: releases`)
}

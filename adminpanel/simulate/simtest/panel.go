package simtest

import (
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/hub"
	"slipstream/agent/wire"
)

// Panel is a hub behind its door, which lets in whoever enrols.
type Panel struct {
	Hub       *hub.Hub
	Door      *hub.Door
	URL       string
	Token     wire.Token
	Releases  http.Handler // of GET /v1/releases/…; nil: there are none
	Full      atomic.Bool  // nobody may enrol any more
	authority *ca.Authority
	server    *http.Server
	address   string
	t         testing.TB
}

// New makes a panel. Change may set what the hub needs besides.
func New(t testing.TB, change func(*hub.Config)) *Panel {
	t.Helper()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Panel{t: t, authority: authority, address: "127.0.0.1:0", Token: wire.NewToken(wire.Pin(authority.Pinned()))}
	p.Open(change)
	t.Cleanup(p.Close)
	return p
}

// Open begins to serve, with a hub that knows nothing. After a Close it is at the
// address of before.
func (p *Panel) Open(change func(*hub.Config)) {
	p.t.Helper()
	cfg := hub.Config{Identify: identify}
	if change != nil {
		change(&cfg)
	}
	log := slog.New(slog.DiscardHandler)
	p.Hub = hub.New(cfg, log)
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := p.authority.Server([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	p.Door = hub.NewDoor(listener, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*server},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: p.authority.Pool(),
	}, log)
	p.address = listener.Addr().String()
	p.URL = "https://" + p.address
	mux := http.NewServeMux()
	mux.Handle("POST "+wire.Path, p.Hub)
	mux.HandleFunc("POST "+wire.EnrollPath, p.enrol)
	mux.HandleFunc("GET /v1/releases/", func(w http.ResponseWriter, r *http.Request) { p.Releases.ServeHTTP(w, r) })
	p.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: wire.LegWindow, MaxReceiveBufferPerConnection: wire.LinkWindow},
	}
	go func() { _ = p.server.Serve(p.Door) }() // it ends with the server
}

// Close ends the panel as a crash would, but for what the kernel says to the devices.
func (p *Panel) Close() {
	p.server.Close()
	p.Door.Close()
	p.Hub.Wait()
}

func identify(r *http.Request) (string, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", false
	}
	return wire.DeviceOf(r.TLS.PeerCertificates[0])
}

// enrol lets in whoever asks: the panel's real desk is package enrol.
func (p *Panel) enrol(w http.ResponseWriter, r *http.Request) {
	if p.Full.Load() {
		reply(w, http.StatusForbidden, wire.Problem{Status: http.StatusForbidden, Code: wire.CodeUsedToken, Detail: "the token was used"})
		return
	}
	var ask wire.EnrollRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, wire.MaxEnrollment)).Decode(&ask)
	var chain [][]byte
	if err == nil {
		chain, err = p.authority.Device(wire.DeviceURI(ask.Device), ask.CSR, time.Now())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply(w, http.StatusOK, wire.Enrollment{Device: ask.Device, Certificate: chain, Authorities: p.authority.Roots()})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to whoever still reads
}

// Online is how many devices are linked.
func (p *Panel) Online() (n int) {
	for _, d := range p.Hub.Devices() {
		if d.Online {
			n++
		}
	}
	return n
}

// UntilOnline waits until exactly so many devices are linked and have said what they are.
func (p *Panel) UntilOnline(n int, within time.Duration) {
	p.t.Helper()
	p.Until(n, within, func(d hub.Device) bool { return d.Online && d.Status != nil })
}

// Until waits until so many devices are as wanted.
func (p *Panel) Until(n int, within time.Duration, wanted func(hub.Device) bool) {
	p.t.Helper()
	late := time.After(within)
	watch := p.Hub.Watch()
	defer watch.Close()
	are := map[string]bool{}
	look := func(d hub.Device) {
		if delete(are, d.ID); wanted(d) {
			are[d.ID] = true
		}
	}
	for _, d := range p.Hub.Devices() {
		look(d)
	}
	for len(are) != n {
		select {
		case <-watch.Changed():
		case <-late:
			p.t.Fatalf("%d devices are as wanted after %v, not %d", len(are), within, n)
		}
		for _, id := range watch.Take() {
			if d, ok := p.Hub.Device(id); ok {
				look(d)
			}
		}
	}
}

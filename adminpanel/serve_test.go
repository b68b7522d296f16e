package adminpanel_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/view"
)

// certificate writes one of a name's own, or of an address's, and returns whom to trust then.
func certificate(t *testing.T, cert, key, name string) *x509.CertPool {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		c.DNSNames, c.IPAddresses = nil, []net.IP{ip}
	}
	der := must(x509.CreateCertificate(rand.Reader, c, c, private.Public(), private))
	file := func(path, kind string, bytes []byte) {
		if err := writeFile(path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))); err != nil {
			t.Fatal(err)
		}
	}
	file(cert, "CERTIFICATE", der)
	file(key, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(private)))
	pool := x509.NewCertPool()
	pool.AddCert(must(x509.ParseCertificate(der)))
	return pool
}

// answers says whether a panel serves people by TLS to who knows an authority and calls it
// by a name.
func answers(t *testing.T, w *world, name string, roots *x509.CertPool) error {
	t.Helper()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.panel.URL(), "https://"))
	line := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil))
	resp, err := line.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
		return fmt.Errorf("it answers %s %s %v", resp.Proto, resp.Status, resp.Header)
	}
	return nil
}

// A certificate in files is taken up when it is replaced; what cannot be read leaves the one
// before in its place.
func TestTLSWithFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := blank(t.TempDir())
	cfg.Names = []string{"panel.example"}
	cfg.TLS = config.TLS{Mode: config.TLSFiles, Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key")}
	if err := serves(t, cfg); err == nil || !strings.Contains(err.Error(), "certificate for people") {
		t.Errorf("without its files: %v", err)
	}
	first := certificate(t, cfg.TLS.Cert, cfg.TLS.Key, "panel.example")
	w := launch(t, cfg)
	if err := answers(t, w, "panel.example", first); err != nil {
		t.Fatal(err)
	}
	second := certificate(t, cfg.TLS.Cert, cfg.TLS.Key, "panel.example")
	w.eventually("the new certificate is taken up", func() bool { return answers(t, w, "panel.example", second) == nil })
	if err := writeFile(cfg.TLS.Cert, "torn"); err != nil {
		t.Fatal(err)
	}
	<-time.After(1100 * time.Millisecond) // it has looked again by then
	if err := answers(t, w, "panel.example", second); err != nil {
		t.Errorf("while the files are torn: %v", err)
	}
}

// serves tells why a panel does not serve.
func serves(t *testing.T, cfg config.Config) error {
	t.Helper()
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := adminpanel.New(t.Context(), cfg, at, slog.New(slog.DiscardHandler))
	if err != nil {
		return errors.Join(err, at.Close())
	}
	err = p.Serve(t.Context())
	if again := p.Close(); again != nil {
		t.Error(again)
	}
	return err
}

func TestTLSByThePanelsOwnAuthority(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	cfg.URL, cfg.TLS = "", config.TLS{Mode: config.TLSOwn, Hosts: []string{"panel.example"}}
	w := launch(t, cfg)
	roots := must(ca.Open(filepath.Join(cfg.Data, "ca"))).Pool()
	if err := answers(t, w, "panel.example", roots); err != nil {
		t.Error(err)
	}
	if err := answers(t, w, "evil.example", roots); err == nil {
		t.Error("it has a certificate for another name")
	}
	if err := answers(t, w, "panel.example", x509.NewCertPool()); err == nil {
		t.Error("somebody else vouches for it")
	}
}

// Figures are there for who may look, at the people's address, and for all at that for those
// who watch over the panel.
func TestMetrics(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	cfg.Metrics = "127.0.0.1:0"
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := launchAt(t, cfg, at)
	token := must(w.panel.SetupToken(t.Context()))
	w.ann = w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: token, Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
	w.device("cam-1")
	w.ask("GET", "/api/v1/devices/none", nil).is(http.StatusNotFound, nil)
	w.ask("GET", "/api/v1/"+strings.Repeat("x", 50), nil)
	for _, url := range []string{w.url, "http://" + at.Metrics.Addr().String()} {
		w.url = url
		w.eventually("the figures are there", func() bool {
			text := w.ask("GET", "/metrics", nil).is(http.StatusOK, nil).body
			for _, want := range []string{
				`slipstream_panel_links 1`, `slipstream_panel_devices\{state="ready"\} 1`, `slipstream_panel_event_readers 0`,
				`slipstream_panel_http_requests_total\{route="GET /api/v1/devices/\{id\}",status="404"\} 1`,
				`slipstream_panel_http_requests_total\{route="POST /api/v1/setup",status="201"\} 1`,
				`slipstream_panel_store_commit_seconds_count\{outcome="ok"\} [1-9]`,
			} {
				if !regexp.MustCompile(`(?m)^` + want).Match(text) {
					t.Logf("there is no %s", want)
					return false
				}
			}
			if bytes.Contains(text, []byte("xxxx")) {
				t.Error("a caller can make a label")
			}
			return true
		})
	}
	w.ask("GET", "/readyz", nil).is(http.StatusOK, nil)
	if got := w.ask("GET", "/api/v1/me", nil); got.status != http.StatusNotFound {
		t.Errorf("the API is at the address for figures: %d", got.status)
	}
}

// asPanel makes a process of this test a panel on a directory.
const asPanel = "SLIPSTREAM_TEST_PANEL"

func TestMain(m *testing.M) {
	if data := os.Getenv(asPanel); data != "" {
		if err := bePanel(data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func bePanel(data string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	at, err := adminpanel.Listen(blank(data))
	if err != nil {
		return err
	}
	p, err := adminpanel.New(ctx, blank(data), at, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Serve(ctx)
}

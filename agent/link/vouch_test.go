package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A device tells nothing to who is not its panel, although that listens at the panel's
// place.
func TestAnotherPanelIsNotCalled(t *testing.T) {
	for name, change := range map[string]func(h *held){
		"by another authority": func(h *held) { h.roots = x509.NewCertPool() },
		"for another name": func(h *held) {
			h.base = &url.URL{Scheme: "https", Host: strings.Replace(h.base.Host, "127.0.0.1", "localhost", 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			l, h := vain(t, func(w http.ResponseWriter, _ *http.Request) { called = true })
			change(h)
			if _, err := l.once(t.Context(), h); err == nil || !strings.Contains(err.Error(), "this is not the panel that was meant") || called {
				t.Errorf("called %v, %v", called, err)
			}
			if err := l.id.Reach(t.Context()); err == nil || called {
				t.Errorf("reached %v, %v", called, err)
			}
		})
	}
}

// A panel's certificate may be newer than the device's clock, and not older.
func TestWhenAPanelsCertificateIsGood(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		from  time.Duration
		usage x509.ExtKeyUsage
		good  bool
	}{
		{"now", -time.Minute, x509.ExtKeyUsageServerAuth, true},
		{"to come", 1000 * time.Hour, x509.ExtKeyUsageServerAuth, true},
		{"over", -2 * time.Hour, x509.ExtKeyUsageServerAuth, false},
		{"a device's", -time.Minute, x509.ExtKeyUsageClientAuth, false},
	} {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"panel.example"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(test.from), NotAfter: time.Now().Add(test.from + time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{test.usage},
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		roots, err := pool([][]byte{der})
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		if err := vouched([]*x509.Certificate{c}, roots, "panel.example"); (err == nil) != test.good {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if vouched(nil, nil, "panel.example") == nil {
		t.Error("no certificate is good")
	}
}

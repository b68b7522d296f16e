package adminpanel_test

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store"
)

// A certificate that an ACME authority gave is in the store, where a panel finds it that
// starts anew, or another one on the same store. For other names none is asked for.
func TestTLSByACertificateOfTheStore(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	cfg.TLS = config.TLS{Mode: config.TLSAuto, Hosts: []string{"panel.example"}}
	roots := keeps(t, cfg, "panel.example")
	w := launch(t, cfg)
	if err := answers(t, w, "panel.example", roots); err != nil {
		t.Error(err)
	}
	if err := answers(t, w, "evil.example", roots); err == nil {
		t.Error("it has a certificate for another name")
	}
}

// keeps puts a certificate into a panel's store as if it had been given.
func keeps(t *testing.T, cfg config.Config, name string) *x509.CertPool {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	roots := certificate(t, cert, key, name)
	s, err := adminpanel.OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	value := append(must(os.ReadFile(key)), must(os.ReadFile(cert))...)
	if _, err := s.Commit(context.Background(), nil, []store.Op{{Key: "ca/acme/" + name, Value: value}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return roots
}

package ca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
)

func open(t *testing.T, dir string) *ca.Authority {
	t.Helper()
	a, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func csr(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root of all"}, DNSNames: []string{"panel.example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "panel.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openIn(t *testing.T, s store.Store, dir string) *ca.Authority {
	t.Helper()
	a, err := ca.OpenStore(s, dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func device(t *testing.T, a *ca.Authority, now time.Time) (*x509.Certificate, *x509.CertPool) {
	t.Helper()
	chain, err := a.Device(&url.URL{Scheme: "slipstream", Opaque: "device:cam-1"}, csr(t, newKey(t, elliptic.P256())), now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	issuing, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	between.AddCert(issuing)
	return leaf, between
}

func vouched(c *x509.Certificate, roots, between *x509.CertPool, use x509.ExtKeyUsage, at time.Time) error {
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: at})
	return err
}

func TestADevicesCertificateIsForItsNameAndForAClientOnly(t *testing.T) {
	now := time.Now()
	a := open(t, t.TempDir())
	leaf, between := device(t, a, now)
	if err := vouched(leaf, a.Pool(), between, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Error(err)
	}
	if err := vouched(leaf, a.Pool(), nil, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Errorf("shown alone: %v", err)
	}
	if err := vouched(leaf, a.Pool(), between, x509.ExtKeyUsageServerAuth, now); err == nil {
		t.Error("a device could pass for the panel")
	}
	if leaf.Subject.CommonName == "root of all" || len(leaf.DNSNames) > 0 || leaf.IsCA || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "slipstream:device:cam-1" {
		t.Errorf("the certificate says %v %v %v", leaf.Subject, leaf.DNSNames, leaf.URIs)
	}
	if err := vouched(leaf, a.Pool(), between, x509.ExtKeyUsageClientAuth, now.Add(ca.DeviceLife+time.Hour)); err == nil {
		t.Error("the certificate does not expire")
	}
	foreign := open(t, t.TempDir())
	if err := vouched(leaf, foreign.Pool(), between, x509.ExtKeyUsageClientAuth, now); err == nil {
		t.Error("another panel vouches for the device")
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	a := open(t, t.TempDir())
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := csr(t, newKey(t, elliptic.P256()))
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	for name, der := range map[string][]byte{
		"nothing": nil, "nonsense": []byte("hello"), "a signature that is wrong": broken, "too much": make([]byte, 1<<20),
		"RSA": csr(t, weak), "P-384": csr(t, newKey(t, elliptic.P384())),
	} {
		if _, err := a.Device(&url.URL{Scheme: "slipstream", Opaque: "device:cam-1"}, der, time.Now()); err == nil {
			t.Errorf("%s got a certificate", name)
		}
	}
}

func TestThePanelsOwnCertificate(t *testing.T) {
	a, now := open(t, t.TempDir()), time.Now()
	names := []string{"panel.example", "192.0.2.7", "::1"}
	s, err := a.Server(names, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := s.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if len(s.Certificate) != 3 || string(s.Certificate[2]) != string(a.Pinned().Raw) {
		t.Error("the chain does not show what tokens name")
	}
	again, err := a.Server(names, now.Add(time.Hour))
	if err != nil || again != s {
		t.Errorf("it was made anew within an hour, %v", err)
	}
	later, err := a.Server(names, now.Add(70*24*time.Hour))
	if err != nil || later == s {
		t.Errorf("it was not renewed in its last third, %v", err)
	}
}

// Two panels, or a panel and a command, have one authority between them.
func TestRotation(t *testing.T) {
	t.Run("in files", func(t *testing.T) {
		dir := t.TempDir()
		rotates(t, func() *ca.Authority { return open(t, dir) })
	})
	t.Run("in a store", func(t *testing.T) {
		s := openStore(t)
		rotates(t, func() *ca.Authority { return openIn(t, s, "") })
	})
}

func rotates(t *testing.T, open func() *ca.Authority) {
	t.Helper()
	now := time.Now()
	a, elsewhere := open(), open()
	first, between := device(t, a, now)
	pinned := a.Pinned()
	before := a.Pool()
	if err := a.Retire(); !errors.Is(err, ca.ErrLast) {
		t.Errorf("the last one was retired: %v", err)
	}
	if err := elsewhere.Rotate(); err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(); err != nil || !changed {
		t.Errorf("the rotation by another process was not seen: %v", err)
	}
	if after := a.Pool(); after.Equal(before) || after != a.Pool() {
		t.Error("connections do not share what vouches, or it is that of before")
	}
	second, betweenSecond := device(t, a, now)
	if a.IsNewest(first) || !a.IsNewest(second) || !a.Pinned().Equal(pinned) || len(a.Roots()) != 2 {
		t.Error("the newest does not issue, or the oldest is not what devices know")
	}
	if err := vouched(first, a.Pool(), between, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Errorf("before the old one is retired: %v", err)
	}
	for _, c := range []*x509.Certificate{first, second} {
		if err := vouched(c, a.Pool(), nil, x509.ExtKeyUsageClientAuth, now); err != nil {
			t.Errorf("shown alone: %v", err)
		}
	}
	if err := elsewhere.Retire(); err != nil {
		t.Fatal(err)
	}
	a = open() // as after a restart
	for _, chain := range []*x509.CertPool{between, nil} {
		if err := vouched(first, a.Pool(), chain, x509.ExtKeyUsageClientAuth, now); err == nil {
			t.Error("the retired one still vouches")
		}
	}
	if err := vouched(second, a.Pool(), betweenSecond, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Error(err)
	}
	if changed, err := a.Reload(); err != nil || changed {
		t.Errorf("nothing had changed: %v, %v", changed, err)
	}
}

func TestTheKeysAreTheirOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	keys, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(keys) != 4 {
		t.Fatalf("files: %v, %v", keys, err)
	}
	for _, key := range keys {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "1", "issuing.key"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(dir); err == nil {
		t.Error("an authority without its key was opened")
	}
}

// A panel that moves to a store which others can share takes its authority along, once: a
// panel with another one of its own does not bring it in.
func TestAnAuthorityMovesIntoAStore(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	own := open(t, dir)
	if err := own.Rotate(); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	open(t, foreign)
	for _, from := range []string{dir, foreign, "", filepath.Join(dir, "none")} {
		a := openIn(t, s, from)
		if !a.Pinned().Equal(own.Pinned()) || len(a.Roots()) != 2 {
			t.Errorf("beside %q the authority is another one", from)
		}
	}
}

// A panel hears of what another one has changed.
func TestAChangeIsNoticed(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	for name, open := range map[string]func() *ca.Authority{
		"in files": func() *ca.Authority { return open(t, dir) }, "in a store": func() *ca.Authority { return openIn(t, s, "") },
	} {
		a, elsewhere := open(), open()
		ctx, cancel := context.WithCancel(t.Context())
		changed := make(chan int, 10)
		var owned sync.WaitGroup
		owned.Go(func() {
			a.Run(ctx, func() { changed <- len(a.Roots()) }, func(err error) { t.Error(err) })
		})
		for want, change := range []func() error{elsewhere.Rotate, elsewhere.Retire} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-changed:
				if got != 2-want {
					t.Errorf("%s: %d generations, want %d", name, got, 2-want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: nothing was noticed", name)
			}
		}
		cancel()
		owned.Wait()
	}
}

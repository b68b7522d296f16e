package adminpanel_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"slipstream/adminpanel/config"
)

// guarded is a real etcd that speaks TLS alone, to who shows a certificate of an authority
// that it knows, and has an account for the panel over the panel's keys.
func guarded(t *testing.T) config.Store {
	t.Helper()
	dir, ip := t.TempDir(), ownLoopback(88)
	file := func(name string) string { return filepath.Join(dir, name) }
	// Both vouch for themselves.
	roots := certificate(t, file("etcd.crt"), file("etcd.key"), ip)
	certificate(t, file("panel.crt"), file("panel.key"), "panel.example")
	certificate(t, file("stranger.crt"), file("stranger.key"), "stranger.example")
	url := "https://" + ip + ":2379"
	program(t, nil, "etcd", "--data-dir", file("data"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", "http://"+ip+":2380", "--initial-advertise-peer-urls", "http://"+ip+":2380", "--initial-cluster", "default=http://"+ip+":2380",
		"--cert-file", file("etcd.crt"), "--key-file", file("etcd.key"), "--client-cert-auth", "--trusted-ca-file", file("panel.crt"), "--log-level", "error")

	own := must(tls.LoadX509KeyPair(file("panel.crt"), file("panel.key")))
	admin := must(clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop(), DialTimeout: patience,
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}}))
	defer admin.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for { // until it has started
		if _, err := admin.Get(ctx, "x"); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("etcd does not start")
		case <-time.After(50 * time.Millisecond):
		}
	}
	must(admin.UserAdd(ctx, "root", "of the machine"))
	must(admin.UserGrantRole(ctx, "root", "root"))
	must(admin.RoleAdd(ctx, "panel"))
	must(admin.RoleGrantPermission(ctx, "panel", "/slipstream/", clientv3.GetPrefixRangeEnd("/slipstream/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(admin.UserAdd(ctx, "panel", "between us"))
	must(admin.UserGrantRole(ctx, "panel", "panel"))
	must(admin.AuthEnable(ctx))
	for name, text := range map[string]string{"password": "between us\n", "wrong": "guessed\n"} {
		if err := writeFile(file(name), text); err != nil {
			t.Fatal(err)
		}
	}
	return config.Store{Kind: config.StoreEtcd, Endpoints: []string{url}, Prefix: "/slipstream/", CA: file("etcd.crt"),
		Cert: file("panel.crt"), Key: file("panel.key"), Username: "panel", PasswordFile: file("password")}
}

// A panel works on a cluster that lets in nobody without TLS, a certificate and a password, with
// no more rights than over its own keys; with one of these wrong it does not start.
func TestEtcdByTLSAndPassword(t *testing.T) {
	t.Parallel()
	store := guarded(t)
	cfg := blank(t.TempDir())
	cfg.Store = store
	w := start(t, cfg)
	w.device("cam-1")
	w.ask("PATCH", "/api/v1/devices/cam-1", map[string]string{"name": "Gate"}, "If-Match", "*").is(http.StatusOK, nil)
	w.eventually("the panel is ready", func() bool { return w.ask("GET", "/readyz", nil).status == http.StatusOK })
	if _, err := w.panel.SetupToken(t.Context()); err != nil {
		t.Error(err)
	}
	dir := filepath.Dir(store.CA)
	for name, c := range map[string]struct {
		change func(*config.Store)
		want   string
	}{
		"another authority": {func(s *config.Store) { s.CA = filepath.Join(dir, "stranger.crt") }, "unknown authority"},
		"no certificate":    {func(s *config.Store) { s.Cert, s.Key = "", "" }, "remote error: tls"},
		"a stranger's": {func(s *config.Store) {
			s.Cert, s.Key = filepath.Join(dir, "stranger.crt"), filepath.Join(dir, "stranger.key")
		}, "remote error: tls"},
		"a wrong password":       {func(s *config.Store) { s.PasswordFile = filepath.Join(dir, "wrong") }, "authentication failed"},
		"others' keys":           {func(s *config.Store) { s.Prefix = "/elsewhere/" }, "permission denied"},
		"a key that is not its":  {func(s *config.Store) { s.Key = filepath.Join(dir, "etcd.key") }, "TLS to etcd"},
		"no file of a password":  {func(s *config.Store) { s.PasswordFile = filepath.Join(dir, "none") }, "the password for etcd"},
		"no authority in a file": {func(s *config.Store) { s.CA = filepath.Join(dir, "password") }, "holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := blank(t.TempDir())
			other.Store = store
			c.change(&other.Store)
			if err := opens(t, other); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

package adminpanel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
)

// ownLoopback is an address of this machine that no other process of these tests has, so that
// the ports of programs that cannot choose one are free.
func ownLoopback(net byte) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", net, pid>>8&0xff, pid&0xff)
}

// program runs one of Debian's until the test ends, and tells what it has said if that fails.
func program(t *testing.T, environ []string, name string, args ...string) (end func()) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: apt-get install it", name)
	}
	said := &bytes.Buffer{}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), environ...), said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait() //nolint:errcheck // it is killed
	}()
	end = func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-ended
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
	return end
}

// authority is a real ACME authority on this machine, Pebble, which calls the names that it
// vouches for at a port of the test's.
type authority struct {
	directory, ca string // its URL, and who vouches for that
	manage        string
	http          *http.Client
	end           func()
}

func startAuthority(t *testing.T, port int) *authority {
	t.Helper()
	dir, ip := t.TempDir(), ownLoopback(77)
	a := &authority{directory: "https://" + ip + ":14000/dir", manage: "https://" + ip + ":15000", ca: filepath.Join(dir, "crt")}
	roots := certificate(t, a.ca, filepath.Join(dir, "key"), ip)
	a.http = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	conf := must(json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": ip + ":14000", "managementListenAddress": ip + ":15000", "certificate": a.ca, "privateKey": filepath.Join(dir, "key"),
		"httpPort": 1, "tlsPort": port, // it proves names by TLS-ALPN-01 alone
	}}))
	if err := writeFile(filepath.Join(dir, "conf"), string(conf)); err != nil {
		t.Fatal(err)
	}
	// All names are those of this machine.
	program(t, nil, "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", ip+":8053", "-management", ip+":8055",
		"-http01", "", "-https01", "", "-tlsalpn01", "")
	a.end = program(t, []string{"PEBBLE_VA_NOSLEEP=1"}, "pebble", "-config", filepath.Join(dir, "conf"), "-dnsserver", ip+":8053", "-strict")
	return a
}

// get is nil until the authority answers.
func (a *authority) get(t *testing.T, url string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := a.http.Do(must(http.NewRequestWithContext(ctx, http.MethodGet, url, nil)))
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil // it is starting
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return must(io.ReadAll(resp.Body))
}

// A panel proves its name to an ACME authority by itself, and has the certificate in its store
// from then on: when it starts anew it asks nobody. For other names it asks for none.
func TestTLSByAnACMEAuthority(t *testing.T) {
	t.Parallel()
	cfg := blank(t.TempDir())
	at := must(adminpanel.Listen(cfg))
	_, text, err := net.SplitHostPort(at.People.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	acme := startAuthority(t, must(strconv.Atoi(text)))
	cfg.TLS = config.TLS{Mode: config.TLSAuto, Hosts: []string{"panel.example"}, ACME: acme.directory, ACMECA: acme.ca, Mail: "ops@panel.example"}
	w := launchAt(t, cfg, at)
	w.eventually("the authority answers", func() bool { return acme.get(t, acme.directory) != nil })
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(acme.get(t, acme.manage+"/roots/0")) {
		t.Fatal("the authority does not say who it is")
	}
	// Who calls first waits for the certificate, but not longer than for a handshake.
	var last error
	w.eventually("the panel has a certificate", func() bool {
		last = answers(t, w, "panel.example", roots)
		return last == nil
	})
	if err := answers(t, w, "evil.example", roots); err == nil {
		t.Error("it has a certificate for another name")
	}
	w.stop()
	acme.end()
	again := launch(t, cfg)
	if err := answers(t, again, "panel.example", roots); err != nil {
		t.Errorf("started anew, without the authority: %v", err)
	}

	cfg.Data, cfg.TLS.ACMECA = t.TempDir(), filepath.Join(t.TempDir(), "none")
	if err := serves(t, cfg); err == nil {
		t.Error("it serves without knowing who vouches for the authority")
	}
}

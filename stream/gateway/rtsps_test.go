package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/stream/gateway"
)

// guarded lets in those in a file only, and says where the file is.
func guarded(t *testing.T, viewers string) func(*gateway.Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "viewers")
	if err := os.WriteFile(path, []byte(viewers), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *gateway.Config) { c.Public, c.Viewers = false, path }
}

// secured serves RTSPS too.
func secured(t *testing.T) func(*gateway.Config) {
	t.Helper()
	cert, key := filepath.Join(t.TempDir(), "tls.pem"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key, "camera")
	return func(c *gateway.Config) { c.RTSPS, c.TLSCert, c.TLSKey = "127.0.0.1:0", cert, key }
}

func writeCertificate(t *testing.T, cert, key, name string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) rtsps(who string) string {
	return "rtsps://" + who + w.gateway.RTSPSAddr().String() + "/main"
}

// Over TLS viewers watch as over TCP; ffmpeg and GStreamer believe a certificate
// that nobody has signed only if they are told to.
func TestPlayersPlayOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t), guarded(t, "nvr:right-secret\n"))
	w.forward(t)
	w.publish(t)
	for _, p := range rtspPlayers("tcp")[:2] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := p.play(ctx, w.rtsps("nvr:right-secret@"), 45); err != nil {
				t.Error(err)
			}
			if err := p.play(ctx, w.rtsps("nvr:wrong-secret@"), 45); err == nil || ctx.Err() != nil {
				t.Errorf("with a wrong secret: %v", err)
			}
		})
	}
}

// talkTLS is talk over TLS.
func talkTLS(t *testing.T, w *world) *conversation {
	t.Helper()
	conn, err := tls.Dial("tcp", w.gateway.RTSPSAddr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return converse(t, conn)
}

// Who watches over TLS is fed through the gateway; its numbering begins as it was
// told and goes on over switches and the forwarder's end.
func TestTLSViewerSurvivesTheForwarder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t))
	stopForwarder := w.forward(t)
	stopSource := w.publish(t)
	c := talkTLS(t, w)
	c.wants(t, "200", "SETUP", w.rtsps("")+"/trackID=0", interleaved)
	told := c.header.Get("Transport")
	c.wants(t, "200", "PLAY", w.rtsps(""))
	next := c.firstSeq(t)
	c.reported(t)
	for n, restarted := 0, false; n < 200 || !restarted; n++ {
		channel, pkt := c.packet(t)
		if channel == 1 {
			continue
		}
		if seq := binary.BigEndian.Uint16(pkt[2:]); seq != next {
			t.Fatalf("packet %d has sequence number %d, not %d", n, seq, next)
		}
		if ssrc := fmt.Sprintf("ssrc=%08X", pkt[8:12]); !strings.Contains(told, ssrc) {
			t.Fatalf("packet %d has %s; the viewer was told %s", n, ssrc, told)
		}
		next++
		if n >= 60 && !restarted {
			stopForwarder()
			stopSource()
			w.forward(t)
			w.publish(t)
			restarted, n = true, 100
		}
	}
}

// A viewer over TLS has its answers between the packets.
func TestTLSViewerAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t))
	w.forward(t)
	w.publish(t)
	c := talkTLS(t, w)
	c.play(t, w.rtsps(""))
	for _, request := range []struct{ method, want string }{
		{"OPTIONS", "200"}, {"GET_PARAMETER", "200"}, {"PAUSE", "455"}, {"SETUP", "455"}, {"PLAY", "200"}, {"TEARDOWN", "200"},
	} {
		c.between(t, request.method, w.rtsps("")+"/trackID=0", request.want)
	}
	w.log.await(t, "the viewer ended it")
}

func TestTLSViewersHaveNoUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t))
	newFakeWithSound(t, w)
	if status, _ := talkTLS(t, w).ask(t, "SETUP", w.rtsps("")+"/trackID=0", "Transport: RTP/AVP;unicast;client_port=5000-5001"); !strings.HasPrefix(status, "RTSP/1.0 461 ") {
		t.Errorf("SETUP: %s", status)
	}
}

// A certificate is renewed while the gateway runs; one that is broken changes nothing.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	var cert, key string
	w := newWorld(t, secured(t), func(c *gateway.Config) { cert, key = c.TLSCert, c.TLSKey })
	name := func() string {
		conn, err := tls.Dial("tcp", w.gateway.RTSPSAddr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "camera" {
		t.Errorf("at first %q", got)
	}
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "camera" {
		t.Errorf("with a broken file %q", got)
	}
	w.log.await(t, "the new certificate cannot be used")
	writeCertificate(t, cert, key, "renewed")
	if got := name(); got != "renewed" {
		t.Errorf("afterwards %q", got)
	}
}

// A key that others may read is no secret.
func TestOpenKeyIsRefused(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "tls.pem"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key, "camera")
	for mode, fine := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		cfg := gateway.Config{Run: t.TempDir(), Public: true, RTSPS: "127.0.0.1:0", TLSCert: cert, TLSKey: key}
		g, err := gateway.New(cfg, slog.New(slog.DiscardHandler))
		if g != nil { // its sockets are closed at its end
			ended, end := context.WithCancel(t.Context())
			end()
			g.Run(ended)
		}
		if (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "chmod 640") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestNoCertificate(t *testing.T) {
	t.Parallel()
	_, err := gateway.New(gateway.Config{Run: t.TempDir(), RTSPS: "127.0.0.1:0", TLSCert: "/none", TLSKey: "/none"}, nil)
	if err == nil || !strings.Contains(err.Error(), "rtsps: certificate") {
		t.Errorf("got %v", err)
	}
}

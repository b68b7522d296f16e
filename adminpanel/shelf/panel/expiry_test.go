package adminpanel_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/enrol"
	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/wire"
)

// A certificate is looked at again while its link lasts: one that expires meanwhile lets
// nobody do anything any more, as one that was revoked.
func TestACertificateThatExpiresUnderALink(t *testing.T) {
	data := t.TempDir()
	w := start(t, adminpanel.Config{Data: data})
	h := newHolder(t)
	if _, code := h.enroll(t, w, token(t, data, "cam-1"), "cam-1"); code != "" {
		t.Fatal(code)
	}
	authority := must(ca.Open(adminpanel.AuthorityDir(data)))
	desk := enrol.New(enrol.Config{Authority: authority, Enrolled: must(shelf.OpenEnrolled(data)), Log: slog.New(slog.DiscardHandler)})
	shown := func(made time.Time) *http.Request {
		chain := must(wire.Certificates(must(authority.Device(wire.DeviceURI("cam-1"), h.csr, made))))
		return &http.Request{TLS: &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}}
	}
	young, old := shown(time.Now()), shown(time.Now().Add(-ca.DeviceLife-time.Minute))
	if device, ok := desk.Identify(young); !ok || device != "cam-1" {
		t.Errorf("a good certificate: %q, %v", device, ok)
	}
	if _, ok := desk.Identify(old); ok {
		t.Error("an expired certificate counts while the link lasts")
	}
	if !desk.Authorities(shown(time.Now().Add(-ca.DeviceLife*3/4))).Renew || desk.Authorities(young).Renew {
		t.Error("the panel asks for renewal at another age than the last third")
	}
	unverified := shown(time.Now())
	unverified.TLS.VerifiedChains = nil
	for _, r := range []*http.Request{unverified, {}} {
		if _, ok := desk.Identify(r); ok {
			t.Error("who was not vouched for is somebody")
		}
	}
	if err := must(shelf.OpenEnrolled(data)).Revoke("cam-1"); err != nil {
		t.Fatal(err)
	}
	if _, ok := desk.Identify(young); ok {
		t.Error("a revoked device is let in")
	}
}

package link_test

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"slipstream/agent/wire"
)

// A certificate of which less than a third is left is renewed, over the same key, and the
// device calls with the new one; one with more left is not, and a panel that answers with
// one that is as old is not asked again and again.
func TestACertificateIsRenewedByItsAge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		left  time.Duration // of an hour, at first
		then  time.Duration // of what the panel makes
		asked int
	}{
		"young":        {50 * time.Minute, 0, 0},
		"old":          {15 * time.Minute, 50 * time.Minute, 1},
		"old for ever": {15 * time.Minute, 15 * time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, asked := newAuthority(t), make(chan *x509.Certificate, 10)
			others := http.NewServeMux()
			others.HandleFunc("POST "+wire.RenewPath, func(w http.ResponseWriter, r *http.Request) {
				var ask wire.RenewRequest
				if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
					t.Error(err)
				}
				asked <- r.TLS.PeerCertificates[0]
				der := ca.certifyFrom(t, "cam-1", ask.CSR, time.Now().Add(test.then-time.Hour))
				json.NewEncoder(w).Encode(wire.Enrollment{Device: "cam-1", Certificate: [][]byte{der}})
			})
			s, links := panelThat(t, others, func(device string, csr []byte) []byte {
				return ca.certifyFrom(t, device, csr, time.Now().Add(test.left-time.Hour))
			})
			run(t, enrolled(t, s), newDevice())
			first := accept(t, links)
			if test.asked == 0 {
				ask(t, first, wire.Ask{ID: 1, Revert: &struct{}{}})
				if len(asked) > 0 {
					t.Error("a certificate with most of its life left was renewed")
				}
				return
			}
			second := accept(t, links)
			ask(t, second, wire.Ask{ID: 1, Revert: &struct{}{}})
			if len(asked) != test.asked {
				t.Fatalf("the device asked %d times", len(asked))
			}
			old := <-asked
			if second.certificate.Equal(old) || !old.Equal(first.certificate) || string(second.certificate.RawSubjectPublicKeyInfo) != string(old.RawSubjectPublicKeyInfo) {
				t.Error("the second call was not with another certificate over the same key")
			}
		})
	}
}

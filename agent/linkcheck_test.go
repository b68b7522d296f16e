package agent_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/ca"
	"slipstream/agent/control"
	"slipstream/agent/wire"
	"slipstream/verify"
)

// newPanel enrols whoever asks, and answers who wants to know whether it is there.
func newPanel(t *testing.T) *httptest.Server {
	t.Helper()
	authority, err := ca.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s := httptest.NewUnstartedServer(mux)
	mux.HandleFunc("POST "+wire.EnrollPath, func(w http.ResponseWriter, r *http.Request) {
		var ask wire.EnrollRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			t.Error(err)
		}
		chain, err := authority.Device(wire.DeviceURI(ask.Device), ask.CSR, time.Now())
		if err != nil {
			t.Error(err)
		}
		json.NewEncoder(w).Encode(wire.Enrollment{Device: ask.Device, Certificate: chain, Authorities: [][]byte{s.Certificate().Raw}})
	})
	mux.HandleFunc("GET "+wire.ReachPath, func(w http.ResponseWriter, r *http.Request) {
		if device, _ := wire.DeviceOf(r.TLS.PeerCertificates[0]); device != "cam-1" {
			t.Errorf("%q calls", device)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// A version may ask that the panel is reached while it is tried. It becomes permanent
// with a panel, and is reverted without one, or when the panel goes.
func TestThePanelIsReachedInATrial(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	reaches := checks(verify.Check{Name: "panel", Kind: verify.CheckLink})
	if r := d.install(d.pack("2.0.0", goodApp, reaches)); r.Exit != control.ExitReverted || r.Record.Reason != "invariant:panel" || !strings.Contains(r.Record.Detail, "no panel") {
		t.Errorf("without a panel: %+v", r)
	}
	s := newPanel(t)
	token := wire.NewToken(wire.Pin(s.Certificate())).String()
	if r := d.agent.Enroll(t.Context(), control.EnrollRequest{Panel: s.URL, Token: token}); r.Exit != control.ExitDone {
		t.Fatalf("enroll: %+v", r)
	}
	if r := d.install(d.pack("3.0.0", goodApp, reaches)); r.Exit != control.ExitDone {
		t.Fatalf("with a panel: %+v", r)
	}
	if p := d.last().Proof; p == nil || len(p.Verdicts) != 1 || !p.Verdicts[0].Holds || p.Verdicts[0].Measure != verify.CheckLink {
		t.Errorf("the proof: %+v", p)
	}
	d.begin(d.pack("4.0.0", mute, reaches))
	d.wait("verdict", func(s control.Status) bool {
		return s.Trial != nil && len(s.Trial.Verdicts) == 1 && s.Trial.Verdicts[0].Judged && s.Trial.Verdicts[0].Holds
	})
	s.CloseClientConnections()
	s.Close()
	d.wait("revert", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "3.0.0" })
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "invariant:panel" || !strings.Contains(r.Detail, "the panel is not reached") {
		t.Errorf("history: %+v", r)
	}
}

package link_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"slipstream/agent/wire"
)

// What a panel answers must be for this device and for its own key. Else nothing of it is
// kept, and the device may try again.
func TestEnrolmentsThatAreNotForThisDevice(t *testing.T) {
	ca := newAuthority(t)
	foreign := func(device string) []byte { // over a key of somebody else's
		s, _ := panel(t)
		var csr []byte
		instead(s, wire.EnrollPath, func(_ http.ResponseWriter, r *http.Request) {
			var ask wire.EnrollRequest
			json.NewDecoder(r.Body).Decode(&ask)
			csr = ask.CSR
		})
		if _, err := nobody(t).Prepare(t.Context(), s.URL, wire.NewToken(wire.Pin(s.Certificate()))); err == nil {
			t.Error("an empty answer was taken")
		}
		return ca.certify(t, device, csr)
	}("cam-1")
	for name, answer := range map[string]func(ask wire.EnrollRequest) any{
		"for another device": func(ask wire.EnrollRequest) any {
			return wire.Enrollment{Device: "cam-2", Certificate: [][]byte{ca.certify(t, "cam-2", ask.CSR)}}
		},
		"for another device than it says": func(ask wire.EnrollRequest) any {
			return wire.Enrollment{Device: "cam-1", Certificate: [][]byte{ca.certify(t, "cam-2", ask.CSR)}}
		},
		"over another key": func(wire.EnrollRequest) any { return wire.Enrollment{Device: "cam-1", Certificate: [][]byte{foreign}} },
		"no certificate":   func(wire.EnrollRequest) any { return wire.Enrollment{Device: "cam-1"} },
		"nonsense":         func(wire.EnrollRequest) any { return []int{1} },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := panel(t)
			instead(s, wire.EnrollPath, func(w http.ResponseWriter, r *http.Request) {
				var ask wire.EnrollRequest
				if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
					t.Error(err)
				}
				json.NewEncoder(w).Encode(answer(ask))
			})
			id := nobody(t)
			token := wire.NewToken(wire.Pin(s.Certificate()))
			if _, err := id.Prepare(t.Context(), s.URL, token); err == nil || id.Commit() == nil || id.Panel() != "" {
				t.Errorf("the device enrolled by it: %v", err)
			}
			instead(s, wire.EnrollPath, func(w http.ResponseWriter, r *http.Request) {
				var ask wire.EnrollRequest
				if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
					t.Error(err)
				}
				json.NewEncoder(w).Encode(wire.Enrollment{Device: "cam-1", Certificate: [][]byte{ca.certifyFrom(t, "cam-1", ask.CSR, time.Now())}})
			})
			if _, err := id.Prepare(t.Context(), s.URL, token); err != nil || id.Commit() != nil || id.Panel() != s.URL {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

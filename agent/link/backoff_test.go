package link

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// vain is a link to a panel that answers so.
func vain(t *testing.T, answer http.HandlerFunc) (*link, *held) {
	s := httptest.NewUnstartedServer(answer)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := &held{base: base, roots: x509.NewCertPool()}
	h.roots.AddCert(s.Certificate())
	return &link{id: &Identity{held: h}, log: slog.New(slog.DiscardHandler)}, h
}

// The pauses must grow also when each attempt takes long, as with a panel whose
// packets go nowhere.
func TestAVainAttemptIsNoSteadyLink(t *testing.T) {
	const delay = 50 * time.Millisecond
	l, h := vain(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	lasted, err := l.once(ctx, h)
	if err == nil || time.Since(began) < delay || lasted != 0 {
		t.Errorf("a link of %v after %v, %v", lasted, time.Since(began), err)
	}
}

func TestAPanelSaysWhenItWantsToBeCalled(t *testing.T) {
	l, h := vain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "70")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	_, err := l.once(t.Context(), h)
	for range 50 {
		var b backoff
		if pause := b.next(err); pause < 70*time.Second || pause > 2*70*time.Second {
			t.Fatalf("a pause of %v after %v", pause, err)
		}
	}
	if wait := (&waitError{after: bounded(100 * time.Hour)}); wait.after != backoffLast {
		t.Errorf("a panel can send devices away for %v", wait.after)
	}
}

// Devices that are asked to leave come back over the whole time, not at its end.
func TestDevicesThatLeaveComeBackSpread(t *testing.T) {
	var early, late int
	for range 400 {
		var b backoff
		switch pause := b.next(&waitError{after: time.Minute, spread: true}); {
		case pause > time.Minute+backoffLeast:
			t.Fatalf("a pause of %v", pause)
		case pause < 20*time.Second:
			early++
		case pause > 40*time.Second:
			late++
		}
	}
	if early < 50 || late < 50 {
		t.Errorf("of 400 devices %d come back in the first third, %d in the last", early, late)
	}
}

func TestPausesGrowUntilALinkWasSteady(t *testing.T) {
	var b backoff
	why := errors.New("no panel")
	for range 20 {
		b.next(why)
		b.lasted(steadyAfter)
	}
	if b.limit != backoffLast {
		t.Errorf("the limit is %v", b.limit)
	}
	b.lasted(steadyAfter + 1)
	if pause := b.next(why); pause > backoffFirst+backoffLeast {
		t.Errorf("a pause of %v after a steady link", pause)
	}
}

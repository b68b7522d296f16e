package link

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The pauses must grow also when each attempt takes long, as with a panel whose
// packets go nowhere.
func TestAVainAttemptIsNoSteadyLink(t *testing.T) {
	const delay = 50 * time.Millisecond
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{URL: s.URL, TokenFile: token}
	base, dial, err := dialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{cfg: cfg, base: base, dial: dial, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	lasted, err := l.once(ctx)
	if err == nil || time.Since(began) < delay || lasted != 0 {
		t.Errorf("a link of %v after %v, %v", lasted, time.Since(began), err)
	}
}

func TestPausesGrowUntilALinkWasSteady(t *testing.T) {
	var b backoff
	for range 20 {
		b.next()
		b.lasted(steadyAfter)
	}
	if b.limit != backoffLast {
		t.Errorf("the limit is %v", b.limit)
	}
	b.lasted(steadyAfter + 1)
	if pause := b.next(); pause > backoffFirst {
		t.Errorf("a pause of %v after a steady link", pause)
	}
}

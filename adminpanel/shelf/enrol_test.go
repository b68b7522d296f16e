package shelf_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/shelf"
)

const id, secret = "ABCDEFGH", "SECRETSECRETSECRETSECRETSE"

func tokens(t *testing.T, dir string) *shelf.Tokens {
	t.Helper()
	tokens, err := shelf.OpenTokens(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func anybody(bool) error { return nil }

func TestATokenIsUsedUp(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := tokens(t, dir).Add(id, secret, "", 2, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	use := func(secret, device, key string, at time.Time) error {
		_, err := tokens(t, dir).Use(id, secret, shelf.Use{Device: device, Key: key}, at, anybody) // as after a restart
		return err
	}
	for _, step := range []struct {
		secret, device, key string
		at                  time.Time
		want                error
	}{
		{"X" + secret[1:], "cam-1", "1", now, shelf.ErrTokenUnknown},
		{secret, "cam-1", "1", now.Add(2 * time.Hour), shelf.ErrTokenExpired},
		{secret, "cam-1", "1", now, nil},
		{secret, "cam-1", "1", now, nil}, // the answer was lost
		{secret, "cam-2", "2", now, nil},
		{secret, "cam-3", "3", now, shelf.ErrTokenUsed},
		{secret, "cam-1", "9", now, shelf.ErrTokenUsed}, // replayed by another key
		{secret, "cam-2", "2", now, nil},
	} {
		if err := use(step.secret, step.device, step.key, step.at); !errors.Is(err, step.want) {
			t.Errorf("%+v: %v", step, err)
		}
	}
	if _, err := tokens(t, dir).Use("HGFEDCBA", secret, shelf.Use{}, now, anybody); !errors.Is(err, shelf.ErrTokenUnknown) {
		t.Errorf("a token that nobody made: %v", err)
	}
	if _, err := tokens(t, dir).Use("../tokens/"+id, secret, shelf.Use{}, now, anybody); !errors.Is(err, shelf.ErrTokenUnknown) {
		t.Errorf("a name that leaves the directory: %v", err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "tokens", id))
	if err != nil || strings.Contains(string(kept), secret) {
		t.Errorf("the secret itself is kept: %s, %v", kept, err)
	}
}

func TestATokenForADevice(t *testing.T) {
	tokens, now := tokens(t, t.TempDir()), time.Now()
	if err := tokens.Add(id, secret, "cam-1", 1, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Use(id, secret, shelf.Use{Device: "cam-2", Key: "1"}, now, anybody); !errors.Is(err, shelf.ErrTokenDevice) {
		t.Errorf("another device: %v", err)
	}
	no := errors.New("no")
	if _, err := tokens.Use(id, secret, shelf.Use{Device: "cam-1", Key: "1"}, now, func(bool) error { return no }); !errors.Is(err, no) {
		t.Errorf("who may not: %v", err)
	}
	if named, err := tokens.Use(id, secret, shelf.Use{Device: "cam-1", Key: "1"}, now, anybody); err != nil || !named {
		t.Errorf("the device itself: %v, %v", named, err)
	}
	// Else a revoked device could come back by the token that it has used.
	if named, err := tokens.Use(id, secret, shelf.Use{Device: "cam-1", Key: "1"}, now, anybody); err != nil || named {
		t.Errorf("the device again: %v, %v", named, err)
	}
}

func TestTokensThatCannotBe(t *testing.T) {
	tokens, now := tokens(t, t.TempDir()), time.Now()
	for _, err := range []error{
		tokens.Add("../x", secret, "", 1, now), tokens.Add(id, "", "", 1, now), tokens.Add(id, secret, "", 0, now),
		tokens.Add(id, secret, "", shelf.MaxBatch+1, now), tokens.Add(id, secret, "cam-1", 2, now), tokens.Add(id, secret, "a/b", 1, now),
	} {
		if err == nil {
			t.Error("a token was made that cannot be")
		}
	}
}

// The largest batch must fit its record.
func TestABatchEnrolsAsManyAtOnceAsItSays(t *testing.T) {
	tokens, now := tokens(t, t.TempDir()), time.Now()
	if err := tokens.Add(id, secret, "", shelf.MaxBatch, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var under sync.WaitGroup
	errs := make(chan error, shelf.MaxBatch+1)
	for i := range shelf.MaxBatch + 1 {
		under.Go(func() {
			u := shelf.Use{Device: strings.Repeat("x", 60) + string(rune('a'+i/26)) + string(rune('a'+i%26)), Key: strings.Repeat("f", 64)}
			_, err := tokens.Use(id, secret, u, now, anybody)
			errs <- err
		})
	}
	under.Wait()
	close(errs)
	refused := 0
	for err := range errs {
		if errors.Is(err, shelf.ErrTokenUsed) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d were refused", refused)
	}
}

func TestWhoMayCallAsADevice(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	e, err := shelf.OpenEnrolled(dir)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	must(e.Enrol("cam-1", "k1", false, now), nil)
	must(e.Enrol("cam-1", "k1", false, now), nil)
	must(e.Enrol("cam-1", "k2", false, now), shelf.ErrNameTaken)
	if !e.Is("cam-1", "k1") || e.Is("cam-1", "k2") || e.Is("cam-2", "k1") || e.Is("../enrolled/cam-1", "k1") {
		t.Error("somebody else may call")
	}
	before := e.Revocations()
	must(e.Revoke("cam-2"), shelf.ErrNotFound)
	must(e.Revoke("cam-1"), nil)
	if e.Is("cam-1", "k1") || e.Revocations() == before {
		t.Error("the revocation is not seen")
	}
	must(e.Enrol("cam-1", "k1", false, now), shelf.ErrRevoked)
	must(e.Enrol("cam-1", "k2", true, now), nil)
	if !e.Is("cam-1", "k2") || e.Is("cam-1", "k1") {
		t.Error("the device that took the place may not call, or the old one still may")
	}
	if names, err := e.Devices(); err != nil || !slices.Equal(names, []string{"cam-1"}) {
		t.Errorf("enrolled are %q, %v", names, err)
	}
}

package auth

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// All four turns and the whole queue are taken by hand, so that no clock is in the test.
func TestAFewHashAtATimeAndFewWait(t *testing.T) {
	t.Parallel()
	h := newHasher(Effort{Rounds: 1, MemoryKiB: 64, Threads: 1})
	var back []func()
	for range hashAtOnce {
		done, err := h.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, done)
	}
	got := make(chan error, hashQueue)
	for range hashQueue {
		go func() {
			done, err := h.turn(t.Context())
			if err == nil {
				done()
			}
			got <- err
		}()
	}
	for len(h.queue) < cap(h.queue) {
		select {
		case err := <-got:
			t.Fatalf("a fifth one hashes: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if len(h.turns) != hashAtOnce {
		t.Errorf("%d hash at a time", len(h.turns))
	}
	_, err := h.matches(t.Context(), "password", "")
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, ErrLimit) || e.After != hashWait {
		t.Errorf("one more than may wait: %v", err)
	}
	for _, done := range back {
		done()
	}
	for range hashQueue {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if len(h.turns) != 0 || len(h.queue) != 0 {
		t.Errorf("%d turns and %d places were not given back", len(h.turns), len(h.queue))
	}
}

// What a name costs that is none is what a password costs, because it is one: of a hash of
// the same effort.
func TestTheDecoyCostsWhatAPasswordCosts(t *testing.T) {
	t.Parallel()
	h := newHasher(Effort{Rounds: 2, MemoryKiB: 128, Threads: 2})
	real, err := h.hash(t.Context(), "a password of ann's")
	if err != nil {
		t.Fatal(err)
	}
	e1, salt1, key1, err1 := decode(h.decoy)
	e2, salt2, key2, err2 := decode(real)
	if err1 != nil || err2 != nil || e1 != e2 || len(salt1) != len(salt2) || len(key1) != len(key2) {
		t.Errorf("%+v and %+v", e1, e2)
	}
	if ok, err := h.matches(t.Context(), "", ""); ok || err != nil {
		t.Errorf("the decoy has a password: %v", err)
	}
	if ok, err := h.matches(t.Context(), "a password of ann's", real); !ok || err != nil {
		t.Errorf("the password is not its own: %v", err)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	b := newBuckets(Limit{Every: time.Minute, Burst: 2}, 100)
	for i := range 1000 {
		if err := b.take(fmt.Sprint(i), now); (err == nil) != (i < 102) {
			t.Fatalf("key %d: %v", i, err) // those that find no room share one bucket of two
		}
	}
	if len(b.keys) != 100 {
		t.Errorf("%d buckets", len(b.keys))
	}
	// Nobody's count went by it.
	if b.take("7", now) != nil || b.take("7", now) == nil {
		t.Error("a count was lost")
	}
	// What is full again makes room; what is not stays.
	now = now.Add(time.Minute)
	if err := b.take("new", now); err != nil || len(b.keys) != 2 {
		t.Errorf("%d buckets are left, %v", len(b.keys), err)
	}
	if b.take("7", now) != nil || b.take("7", now) == nil {
		t.Error("a count was lost when there was no room")
	}
}

func TestLoginsLeadToThePanelAlone(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/fleet?q=site:north": "/fleet?q=site:north", "": "/", "fleet": "/", "//evil.example": "/", "https://evil.example": "/",
		`/\evil.example`: "/", "/\t/evil.example": "/", "/x\r\nSet-Cookie: a=b": "/", "javascript:alert(1)": "/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

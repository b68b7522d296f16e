package slots_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"slipstream/slots"
)

func TestATryIsTakenOnce(t *testing.T) {
	run := t.TempDir()
	want := slots.Try{Boot: "b1", Slot: "b", Digest: "d1", Version: "2.0.0", Deadline: 7}
	if _, err := slots.TakeTry(run, "b1"); !errors.Is(err, slots.ErrNoTry) {
		t.Errorf("without a try: %v", err)
	}
	if err := slots.AskTry(run, want); err != nil || slots.TryUnderWay(run) {
		t.Fatalf("asked for: %v, under way %v", err, slots.TryUnderWay(run))
	}
	if got, err := slots.TakeTry(run, "b1"); err != nil || got != want || !slots.TryUnderWay(run) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := slots.TakeTry(run, "b1"); !errors.Is(err, slots.ErrNoTry) {
		t.Errorf("a second time: %v", err)
	}
	if err := slots.EndTry(run); err != nil || slots.TryUnderWay(run) {
		t.Errorf("ended: %v, under way %v", err, slots.TryUnderWay(run))
	}
	if err := slots.EndTry(run); err != nil {
		t.Errorf("ended twice: %v", err)
	}
}

func TestATryOfAnotherBootOrThatIsNoneIsSpent(t *testing.T) {
	run := t.TempDir()
	if err := slots.AskTry(run, slots.Try{Boot: "b1", Slot: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, err := slots.TakeTry(run, "b2"); !errors.Is(err, slots.ErrNoTry) {
		t.Errorf("in another boot: %v", err)
	}
	for _, text := range []string{"", "{", `{"boot":7}`} {
		if err := os.WriteFile(filepath.Join(run, "runtime.try"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := slots.TakeTry(run, "b1"); err == nil || errors.Is(err, slots.ErrNoTry) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
		if _, err := slots.TakeTry(run, "b1"); !errors.Is(err, slots.ErrNoTry) {
			t.Errorf("%q was not spent: %v", text, err)
		}
	}
}

func TestWhatIsTriedIsWhole(t *testing.T) {
	p, _ := runtimePlace(t)
	want := slots.FoundRuntime{Dir: filepath.Join(p.Slots, "b", "root"), Version: "1.0.0"}
	if got, err := p.Tried(t.Context(), slots.Try{BuiltIn: true}); err != nil || got.Dir != p.BuiltIn || got.Version != "" {
		t.Errorf("the built-in copy: %+v, %v", got, err)
	}
	if got, err := p.Tried(t.Context(), slots.Try{Slot: "b", Digest: "d1", Version: "1.0.0"}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, try := range []slots.Try{{Slot: "a", Digest: "d1"}, {Slot: "b", Digest: "d2"}, {Slot: "../b", Digest: "d1"}, {}} {
		if got, err := p.Tried(t.Context(), try); err == nil {
			t.Errorf("%+v: got %+v", try, got)
		}
	}
	if err := os.WriteFile(filepath.Join(p.Slots, "b", "root", "app"), []byte("#!/bin/zz\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Tried(t.Context(), slots.Try{Slot: "b", Digest: "d1"}); !errors.Is(err, slots.ErrDamaged) {
		t.Errorf("a changed program: %v", err)
	}
}

func TestStartsAreCountedUntilOneIsProven(t *testing.T) {
	run := t.TempDir()
	for _, want := range []int64{1, 2, 3} {
		if n, err := slots.CountStart(run); n != want || err != nil {
			t.Errorf("start %d: counted %d, %v", want, n, err)
		}
	}
	for range 2 {
		if err := slots.ProveStart(run); err != nil {
			t.Error(err)
		}
	}
	if n, err := slots.CountStart(run); n != 1 || err != nil {
		t.Errorf("after a proven one: counted %d, %v", n, err)
	}
	if _, err := slots.CountStart(filepath.Join(run, "none")); err == nil {
		t.Error("counted where no directory is")
	}
}

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOnlyAnotherProgramIsOne: a program that was merely touched is the one that runs,
// and one that was tried already is not tried again.
func TestOnlyAnotherProgramIsOne(t *testing.T) {
	r, err := findRenewal("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(r.path, later, later); err != nil {
		t.Fatal(err)
	}
	if r.replaced() {
		t.Error("our own program counts as another one")
	}
	r.path = filepath.Join(t.TempDir(), "slipstream")
	if r.replaced() {
		t.Error("a program that is not there counts")
	}
	for i := range 2 {
		if err := os.WriteFile(r.path, make([]byte, i+1), 0o755); err != nil {
			t.Fatal(err)
		}
		if !r.replaced() {
			t.Errorf("program %d does not count", i)
		}
		if r.replaced() {
			t.Errorf("program %d counts twice", i)
		}
	}
}

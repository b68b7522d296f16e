package powercut

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is where the module lies, from this directory.
const repository = "../.."

// A build that lacks a flush is found out, by what is wrong then; and it lies nowhere but
// in an overlay.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, f := range Faults {
		dir := t.TempDir()
		root, err := filepath.Abs(repository)
		must(t, err)
		overlay, err := f.Overlay(root, dir)
		must(t, err)
		for _, e := range f.edits {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			must(t, err)
			if !strings.Contains(string(text), e.old) {
				t.Errorf("%s was changed", e.file)
			}
		}
		t.Run(f.Name, func(t *testing.T) {
			s := newSmall(t, overlay)
			s.record()
			tally, bad := s.explore(Explorer{Seed: 1, Chance: 1, Workers: 2, MaxBad: 1})
			if tally.Bad == 0 {
				t.Fatalf("without the flush of %s nothing goes wrong: %+v", f.Lost, tally)
			}
			t.Log(bad[0])
		})
	}
}

func TestFaultsThatAreNoLongerThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"), 0o600))
	f := Fault{Name: "old", edits: []edit{{"a.go", "f.Sync()", ""}}}
	if _, err := f.Overlay(dir, t.TempDir()); err == nil || !strings.Contains(err.Error(), "no longer") {
		t.Errorf("an overlay of what is not there: %v", err)
	}
	if _, err := faultsOf([]string{"nonsense"}); err == nil || !strings.Contains(err.Error(), FaultNames()[0]) {
		t.Errorf("an unknown fault: %v", err)
	}
}

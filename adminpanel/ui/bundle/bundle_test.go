//go:build npm

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What is committed is what the sources make: nobody builds the pages by hand.
func TestGenerateLeavesNoDiff(t *testing.T) {
	made, err := bundle("..")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("../dist")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(made) {
		t.Errorf("dist holds %d files and should hold %d", len(entries), len(made))
	}
	for name, content := range made {
		same(t, filepath.Join("..", "dist", name), content)
	}
	same(t, "../src/view.ts", types())
}

func same(t *testing.T, name string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what its sources make; run go generate ./adminpanel/ui (%v)", name, err)
	}
}

func TestTypesHold(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node_modules/.bin/tsc", "--noEmit", "-p", ".")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

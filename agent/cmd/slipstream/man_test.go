package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/manual"
)

// Every verb says what its exit codes mean, and has a page that holds all of its help.
func TestManPagesOfAllVerbs(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"man", "--dir", dir}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	root := (&cli{out: io.Discard, err: io.Discard}).root()
	for _, verb := range root.Commands() {
		text, err := os.ReadFile(filepath.Join(dir, manual.Name(verb)+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		if verb.Name() != "completion" && !verb.HasSubCommands() && !strings.Contains(string(text), ".SH EXIT STATUS\n0") {
			t.Errorf("%s does not say what its exit codes mean", verb.Name())
		}
		for _, part := range []string{".TH SLIPSTREAM\\-", ".SH SYNOPSIS", "\\-\\-json"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%q is missing in the page of %s", part, verb.Name())
			}
		}
	}
	for _, name := range []string{"slipstream.1", "slipstream-config-check.1", "slipstream-viewer-add.1", "slipstream-completion-bash.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

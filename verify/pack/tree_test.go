package pack

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that grows between listing and reading would be packed cut off.
func TestFileThatGrowsIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := openTree(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := os.WriteFile(path, []byte("ab"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tree.writeTo(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "changed while it was packed") {
		t.Errorf("got %v", err)
	}
}

func TestStaysInside(t *testing.T) {
	for _, row := range []struct {
		name, link string
		want       bool
	}{
		{"a", "b", true},
		{"a", "b/c", true},
		{"d/a", "..", true},
		{"d/a", "../b", true},
		{"d/e/a", "../../b", true},
		{"a", "..b", true},
		{"a", ".", true},
		{"a", "..", false},
		{"a", "../b", false},
		{"d/a", "../../b", false},
		{"a", "/b", false},
		{"a", "b/../../c", false},
		{"d/a", "b/../c", false},
		{"a", "./b", false},
		{"a", "b/", false},
		{"a", "", false},
	} {
		if got := staysInside(row.name, row.link); got != row.want {
			t.Errorf("link %s to %q: %v, want %v", row.name, row.link, got, row.want)
		}
	}
}

package viewers_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipstream/stream/viewers"
)

func write(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "viewers")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	got, err := viewers.Load(write(t, "# the office\r\n\n nvr-1:abcdefgh1 \r\nmary:correct-horse=battery", 0o640))
	want := []viewers.Viewer{{Name: "nvr-1", Secret: "abcdefgh1"}, {Name: "mary", Secret: "correct-horse=battery"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text string
		mode       fs.FileMode
		says       string
	}{
		{"a file that all may read", "a:secret-1\n", 0o604, "chmod 600"},
		{"a file that all may write", "a:secret-1\n", 0o602, "chmod 600"},
		{"a file that the group may write", "a:secret-1\n", 0o620, "chmod 600"},
		{"no colon", "a:secret-1\nb", 0o600, ":2: it is not NAME:SECRET"},
		{"no name", ":secret-1", 0o600, ":1: a viewer's name"},
		{"a long name", strings.Repeat("n", 65) + ":secret-1", 0o600, "1 to 64"},
		{"a name with a quote", "a\"b:secret-1", 0o600, "letters"},
		{"a short secret", "a:secret1", 0o600, "8 to 128"},
		{"a long secret", "a:" + strings.Repeat("s", 129), 0o600, "8 to 128"},
		{"a secret with a blank", "a:secret 123", 0o600, "printable"},
		{"a secret with a colon", "a:secret:123", 0o600, "printable"},
		{"a secret of other letters", "a:geheimnisträger", 0o600, "printable"},
		{"a name twice", "a:secret-1\na:secret-2\n", 0o600, `:2: a second viewer "a"`},
		{"too many viewers", many(viewers.MaxViewers + 1), 0o600, "more than 500"},
		{"a large file", strings.Repeat("#\n", viewers.MaxFile/2+1), 0o600, "larger than"},
	} {
		_, err := viewers.Load(write(t, c.text, c.mode))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "secret1") {
			t.Errorf("%s: the error tells the secret: %v", c.name, err)
		}
	}
	if _, err := viewers.Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	if _, err := viewers.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "viewer-%d:secret-%d\n", i, i)
	}
	return b.String()
}

func TestAddAndRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viewers")
	secret, err := viewers.Add(path, "nvr")
	if err != nil || len(secret) < 26 {
		t.Fatalf("%q, %v", secret, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := viewers.Add(path, "nvr"); !errors.Is(err, viewers.ErrKnown) {
		t.Errorf("the same one again: %v", err)
	}
	if _, err := viewers.Add(path, "a:b"); err == nil {
		t.Error("a name with a colon was taken")
	}
	all, err := viewers.Load(path)
	if err != nil || len(all) != 1 || all[0].Secret != secret {
		t.Errorf("%v, %v", all, err)
	}
	if err := viewers.Remove(path, "nv"); !errors.Is(err, viewers.ErrUnknown) {
		t.Errorf("one who is not there: %v", err)
	}
	if err := viewers.Remove(path, "nvr"); err != nil {
		t.Error(err)
	}
	if all, err = viewers.Load(path); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// What the owner wrote beside a viewer stays, and so does the file's mode.
func TestEditsKeepTheRest(t *testing.T) {
	path := write(t, "# office\na:secret-1\n\n#b:old-secret\nb:secret-2", 0o640)
	if _, err := viewers.Add(path, "c"); err != nil {
		t.Fatal(err)
	}
	if err := viewers.Remove(path, "b"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "# office\na:secret-1\n\n#b:old-secret\nc:") {
		t.Errorf("%v:\n%s", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditsAtOnceAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viewers")
	var editing sync.WaitGroup
	for i := range 20 {
		editing.Go(func() {
			if _, err := viewers.Add(path, fmt.Sprint("viewer-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	editing.Wait()
	if all, err := viewers.Load(path); err != nil || len(all) != 20 {
		t.Errorf("%d viewers, %v", len(all), err)
	}
}

func TestEditRefusesAFileInDisorder(t *testing.T) {
	path := write(t, "not a line\n", 0o600)
	if _, err := viewers.Add(path, "a"); err == nil {
		t.Error("edited")
	}
	if text, _ := os.ReadFile(path); string(text) != "not a line\n" {
		t.Errorf("changed to %q", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"# x\na:secret-1\n", ":", "a:b:c\r\n", "a:secret-1\na:secret-1", "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := viewers.Parse(text)
		if err != nil && all != nil {
			t.Error("viewers beside an error")
		}
		for _, v := range all {
			again, err := viewers.Parse([]byte(v.Name + ":" + v.Secret))
			if err != nil || len(again) != 1 || again[0] != v {
				t.Errorf("%q does not read back: %v, %v", v, again, err)
			}
		}
	})
}

package slots_test

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/slots"
)

func TestStageMakesTheTree(t *testing.T) {
	s := openSet(t)
	raw := sample(t)
	var last, calls int64
	_, err := s.Stage(t.Context(), "b", content(raw), slots.StageOptions{Progress: func(p slots.Progress) {
		if p.Done < last || p.Total != int64(len(raw)) || p.Done != p.Kept+p.Copied+p.Fetched {
			t.Errorf("progress %+v after %d", p, last)
		}
		last = p.Done
		calls++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if last != int64(len(raw)) || calls < 3 {
		t.Errorf("progress ended at %d after %d calls, want %d", last, calls, len(raw))
	}
	st, err := s.Status("b")
	if err != nil || st.State != slots.StateStaged || st.Digest != "d1" || st.Version != "1.0.0" || st.Size != int64(len(raw)) || st.StagedAt.IsZero() {
		t.Errorf("status %+v, %v", st, err)
	}
	if got := stateOf(t, s, "a"); got != slots.StateEmpty {
		t.Errorf("the other slot is %s", got)
	}
	if err := s.Verify(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(filepath.Join(s.Root("b"), "current"))
	if err != nil || len(got) != 5000 {
		t.Errorf("through the link: %d bytes, %v", len(got), err)
	}
	info, err := os.Stat(filepath.Join(s.Root("b"), "app"))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("app: %v, %v", info, err)
	}
	if bundle, err := s.Manifest("b"); err != nil || string(bundle) != "bundle" {
		t.Errorf("manifest %q, %v", bundle, err)
	}
}

func TestStatusSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Status("a")
	before.VerifiedAt = time.Time{} // is this process's memory
	s.Close()
	s = openDir(t, dir)
	if after, err := s.Status("a"); err != nil || !cmp.Equal(after, before) {
		t.Errorf("status %+v, %v, before %+v", after, err, before)
	}
	if err := s.Verify(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestStageReplacesAndClearEmpties(t *testing.T) {
	s := openSet(t)
	for _, raw := range [][]byte{sample(t), image(t, file("only", "x"))} {
		if err := stage(t.Context(), s, "a", content(raw)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Verify(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := s.Clear("a"); err != nil {
		t.Fatal(err)
	}
	expectEmpty(t, s, "a")
	if err := s.Verify(t.Context(), "a"); !errors.Is(err, slots.ErrNotStaged) {
		t.Errorf("verify of an empty slot: %v", err)
	}
	if _, err := s.Manifest("a"); !errors.Is(err, slots.ErrNotStaged) {
		t.Errorf("manifest of an empty slot: %v", err)
	}
}

// expectEmpty wants the state and the space.
func expectEmpty(t testing.TB, s *slots.Set, name string) {
	t.Helper()
	if got := stateOf(t, s, name); got != slots.StateEmpty {
		t.Errorf("slot %s is %s, want empty", name, got)
	}
	left, err := os.ReadDir(filepath.Dir(s.Root(name)))
	if err != nil || len(left) != 0 {
		t.Errorf("slot %s still holds %v, %v", name, left, err)
	}
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	if _, err := slots.Open(dir, slots.Options{}); !errors.Is(err, slots.ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	s.Close()
	openDir(t, dir)
}

func TestContentsRefusedForWhatTheyClaim(t *testing.T) {
	raw := sample(t)
	tests := []struct {
		name   string
		change func(*slots.Content)
	}{
		{"an unknown kind of image", func(c *slots.Content) { c.Kind = "zip" }},
		{"a disk image without a partition", func(c *slots.Content) { c.Kind = slots.KindDisk }},
		{"no digest", func(c *slots.Content) { c.Digest = "" }},
		{"no manifest", func(c *slots.Content) { c.Manifest = nil }},
		{"a manifest beyond the limit", func(c *slots.Content) { c.Manifest = make([]byte, slots.MaxManifest+1) }},
		{"no size", func(c *slots.Content) { c.Size = 0 }},
		{"a negative size", func(c *slots.Content) { c.Size = -1 }},
		{"a size beyond the limit", func(c *slots.Content) { c.Size = slots.MaxImage + 1 }},
		{"chunks that are too short", func(c *slots.Content) { c.Chunks = c.Chunks[1:] }},
		{"an empty chunk", func(c *slots.Content) { c.Chunks[0].Length = 0 }},
		{"a chunk beyond the limit", func(c *slots.Content) { c.Chunks[0].Length = slots.MaxChunk + 1 }},
	}
	s := openSet(t)
	if err := stage(t.Context(), s, "a", content(raw)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := content(raw)
			tt.change(&c)
			if err := stage(t.Context(), s, "a", c); err == nil {
				t.Fatal("not refused")
			}
			if err := s.Verify(t.Context(), "a"); err != nil {
				t.Errorf("the slot was touched: %v", err)
			}
		})
	}
	if err := stage(t.Context(), s, "c", content(raw)); err == nil {
		t.Error("a slot that does not exist was written")
	}
}

// TestMaliciousTrees stages signed images that try to write elsewhere, or that
// are written down in another way than the one allowed.
func TestMaliciousTrees(t *testing.T) {
	long := strings.Repeat("x", 99)
	patch := func(raw []byte, at int, value string) []byte {
		return append(append(raw[:at:at], value...), raw[at+len(value):]...)
	}
	good := func() []byte { return image(t, file("f", "data")) }
	tests := []struct {
		name string
		raw  []byte
	}{
		{"a path upwards", image(t, file("../f", "x"))},
		{"a path up in the middle", image(t, directory("d"), file("d/../../f", "x"))},
		{"an absolute path", image(t, file("/f", "x"))},
		{"a path with a dot", image(t, file("./f", "x"))},
		{"a path with an empty part", image(t, directory("d"), file("d//f", "x"))},
		{"the root itself", image(t, directory("."))},
		{"a link out", image(t, link("l", "../x"))},
		{"a link out, deeper", image(t, directory("d"), link("d/l", "../../x"))},
		{"an absolute link", image(t, link("l", "/etc"))},
		{"a link with a way up behind a name", image(t, directory("d"), link("d/l", "x/../../.."))},
		{"an empty link", image(t, link("l", ""))},
		{"a file through a link", image(t, directory("d"), link("l", "d"), file("l/f", "x"))},
		{"a file through a file", image(t, file("f", "x"), file("f/g", "x"))},
		{"a file without its directory", image(t, file("d/f", "x"))},
		{"a name twice", image(t, file("f", "x"), file("f", "y"))},
		{"a link and a file of one name", image(t, link("f", "g"), file("f", "y"))},
		{"names out of order", image(t, file("b", "x"), file("a", "y"))},
		{"a hard link", image(t, file("f", "x"), member{"g", tar.TypeLink, 0o644, "f"})},
		{"a device", image(t, member{"dev", tar.TypeChar, 0o644, ""})},
		{"a block device", image(t, member{"dev", tar.TypeBlock, 0o644, ""})},
		{"a pipe", image(t, member{"pipe", tar.TypeFifo, 0o644, ""})},
		{"a setuid program", image(t, member{"f", tar.TypeReg, 0o4755, "x"})},
		{"a file for everyone to write", image(t, member{"f", tar.TypeReg, 0o666, "x"})},
		{"a private file", image(t, member{"f", tar.TypeReg, 0o600, "x"})},
		{"a sticky directory", image(t, member{"d/", tar.TypeDir, 0o1777, ""})},
		{"an owner", patch(good(), 108, "0001750")},
		{"a time", patch(good(), 136, "00000000001")},
		{"a user's name", patch(good(), 265, "root")},
		{"bytes behind the name", patch(good(), 50, "hidden")},
		{"an unknown type", patch(good(), 156, "x")},
		{"a wrong checksum", patch(good(), 148, "777777")},
		{"a size beyond the image", patch(good(), 124, "00000010000")},
		{"a size that is no number", patch(good(), 124, "0000000000z")},
		{"a size in base 256", patch(good(), 124, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04")},
		{"padding that is not zero", patch(good(), 512+4, "hidden")},
		{"one zero record only", good()[:512+512+512]},
		{"no end", good()[:512+512]},
		{"cut within a header", good()[:300]},
		{"something after the end", append(good(), make([]byte, 512)...)},
		{"a second archive after the end", append(good(), good()...)},
		{"something between the zero records", patch(good(), 512+512+512, "hidden")},
		{"names that differ in their case only", image(t, file("A", "1"), file("a", "2"))},
		{"directories that do", image(t, directory("A"), directory("a"))},
		{"files in them that do", image(t, directory("d"), file("d/X", "1"), file("d/x", "2"))},
		{"more directories than a path can have", image(t, file(long+"/"+long, "x"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openSet(t)
			err := stage(t.Context(), s, "a", content(tt.raw))
			if !errors.Is(err, slots.ErrContent) {
				t.Errorf("got %v, want %v", err, slots.ErrContent)
			}
			expectEmpty(t, s, "a")
			expectEmpty(t, s, "b")
		})
	}
}

func TestVerifySeesEveryChange(t *testing.T) {
	tests := []struct {
		name   string
		change func(root string) error
	}{
		{"a byte", func(root string) error { return os.WriteFile(filepath.Join(root, "app"), []byte("#!/bin/xx\n"), 0) }},
		{"a file too much", func(root string) error { return os.WriteFile(filepath.Join(root, "new"), nil, 0o644) }},
		{"a file less", func(root string) error { return os.Remove(filepath.Join(root, "clips-more")) }},
		{"a longer file", func(root string) error { return os.Truncate(filepath.Join(root, "app"), 11) }},
		{"a shorter file", func(root string) error { return os.Truncate(filepath.Join(root, "app"), 9) }},
		{"other rights", func(root string) error { return os.Chmod(filepath.Join(root, "app"), 0o644) }},
		{"setuid", func(root string) error { return os.Chmod(filepath.Join(root, "app"), 0o755|os.ModeSetuid) }},
		{"rights of a directory", func(root string) error { return os.Chmod(filepath.Join(root, "clips"), 0o777) }},
		{"rights of the root", func(root string) error { return os.Chmod(root, 0o777) }},
		{"an empty directory", func(root string) error { return os.Mkdir(filepath.Join(root, "d"), 0o755) }},
		{"another link", func(root string) error {
			return errors.Join(os.Remove(filepath.Join(root, "current")), os.Symlink("app", filepath.Join(root, "current")))
		}},
		{"a file for a link", func(root string) error {
			return errors.Join(os.Remove(filepath.Join(root, "current")), os.WriteFile(filepath.Join(root, "current"), nil, 0o644))
		}},
		{"no root", os.RemoveAll},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openSet(t)
			if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(s.Root("a")); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context(), "a"); !errors.Is(err, slots.ErrDamaged) {
				t.Errorf("got %v, want %v", err, slots.ErrDamaged)
			}
		})
	}
}

func TestABrokenStateFile(t *testing.T) {
	s := openSet(t)
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(filepath.Dir(s.Root("a")), "state.json")
	for _, raw := range []string{"", "{", `{"format":2,"state":"staged"}`, `{"format":1,"state":"fine"}`, strings.Repeat(" ", 1<<20)} {
		if err := os.WriteFile(name, []byte(raw), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := stateOf(t, s, "a"); got != slots.StateBroken {
			t.Errorf("state file %.20q: slot is %s", raw, got)
		}
		if err := s.Verify(t.Context(), "a"); err == nil {
			t.Errorf("state file %.20q: verified", raw)
		}
	}
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Errorf("a broken slot cannot be written again: %v", err)
	}
}

// A hash of the test's own, so that the constants cannot agree by accident.
func TestStatusNamesTheImage(t *testing.T) {
	s := openSet(t)
	raw := image(t, file("f", "x"))
	if err := stage(t.Context(), s, "a", content(raw)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if st, _ := s.Status("a"); len(st.SHA256) != 64 || !strings.HasPrefix(st.SHA256, string("0123456789abcdef"[sum[0]>>4])) {
		t.Errorf("sha256 %q", st.SHA256)
	}
}

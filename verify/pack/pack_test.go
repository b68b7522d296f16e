package pack_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func options(t *testing.T, dir string) pack.Options {
	t.Helper()
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Product: "gatecam", Hardware: []string{"cam-a1"}, Version: "1.0.0", ReleaseCounter: 1,
		IssuedAt: time.Date(2026, 11, 23, 10, 0, 0, 5, time.UTC),
		App:      &verify.App{Exec: []string{"/bin/sh"}, Streams: []verify.Stream{{Name: "main", Width: 320, Height: 180}}},
	}}
}

func write(t *testing.T, dir, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func link(t *testing.T, dir, name, target string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// build returns the package read back.
func build(t *testing.T, opts pack.Options) (*verify.Package, []byte) {
	t.Helper()
	var file bytes.Buffer
	if _, err := pack.Build(t.Context(), &file, opts); err != nil {
		t.Fatal(err)
	}
	public, err := pack.PublicPEM(&opts.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(public)
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify.Inspect(bytes.NewReader(file.Bytes()), int64(file.Len()), trust)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, file.Bytes()
}

func image(t *testing.T, p *verify.Package) []byte {
	t.Helper()
	payload, ok := p.Image(verify.ClassLive)
	if !ok {
		t.Fatal("no live image")
	}
	data, err := io.ReadAll(payload.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goldenTree is the SHA-256 of the image of sampleTree: the format that slots
// on devices in the field read.
const goldenTree = "f2fb1a17528f0de4a32519e33c98c8a20c6aa53ad5b269fabf46203a26d55e45"

func sampleTree(t *testing.T, dir string) {
	t.Helper()
	write(t, dir, "bin/camera", "#!/bin/sh\n", 0o711)
	write(t, dir, "bin-extra", "x", 0o600)
	write(t, dir, "etc/deep/er/config", "y", 0o664)
	write(t, dir, "etc/"+strings.Repeat("long/", 20)+"name", "z", 0o644)
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	link(t, dir, "camera", "bin/camera")
	link(t, dir, "etc/deep/up", "../../bin")
	link(t, dir, "etc/deep/root", "../..")
}

func TestTreeIsCanonical(t *testing.T) {
	dir := t.TempDir()
	sampleTree(t, dir)
	p, _ := build(t, options(t, dir))
	data := image(t, p)
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != goldenTree {
		t.Errorf("the image has hash %s, want %s", got, goldenTree)
	}
	var names []string
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(h.Name, "/"))
		if h.Format != tar.FormatUSTAR || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s: header %+v", h.Name, h)
		}
		if want := wantMode(h); h.Mode != want {
			t.Errorf("%s: mode %o, want %o", h.Name, h.Mode, want)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("entries out of order: %q", names)
	}
	if !bytes.Equal(data[len(data)-1024:], make([]byte, 1024)) {
		t.Error("the image does not end with two zero records")
	}
	if bytes.Equal(data[len(data)-1536:len(data)-1024], make([]byte, 512)) {
		t.Error("the image ends with more than two zero records")
	}
}

func wantMode(h *tar.Header) int64 {
	switch {
	case h.Typeflag == tar.TypeSymlink:
		return 0o777
	case h.Typeflag == tar.TypeDir || h.Name == "bin/camera":
		return 0o755
	}
	return 0o644
}

func TestBuildIsReproducible(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	sampleTree(t, a)
	sampleTree(t, b)
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(b, "bin/camera"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(b, "bin/camera"), 0o755); err != nil {
		t.Fatal(err)
	}
	opts := options(t, a)
	first, file := build(t, opts)
	opts.Dir = b
	second, again := build(t, opts)
	if !bytes.Equal(file, again) {
		t.Error("the packages differ")
	}
	if first.Digest != second.Digest {
		t.Errorf("digests %s and %s", first.Digest, second.Digest)
	}
	if got, want := first.Manifest.IssuedAt, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC); got != want {
		t.Errorf("issuedAt %v, want %v", got, want)
	}
}

func TestIssuedAtFromEnvironment(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	opts := options(t, t.TempDir())
	opts.Manifest.IssuedAt = time.Time{}
	p, _ := build(t, opts)
	if got, want := p.Manifest.IssuedAt.Unix(), int64(1790000000); got != want {
		t.Errorf("issuedAt %d, want %d", got, want)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "soon")
	if _, err := pack.Build(t.Context(), io.Discard, opts); err == nil {
		t.Error("built with a SOURCE_DATE_EPOCH that is no number")
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, row := range []struct {
		name, says string
		spoil      func(t *testing.T, dir string, opts *pack.Options)
	}{
		{"no directory", "no such file or directory", func(_ *testing.T, dir string, o *pack.Options) { o.Dir = filepath.Join(dir, "missing") }},
		{"no key", "no key", func(_ *testing.T, _ string, o *pack.Options) { o.Key = nil }},
		{"bad manifest", "semantic version", func(_ *testing.T, _ string, o *pack.Options) { o.Manifest.Version = "1" }},
		{"no program", "not in the directory", func(_ *testing.T, _ string, o *pack.Options) { o.Manifest.App.Exec = []string{"bin/camera"} }},
		{"program without x", "not an executable", func(t *testing.T, dir string, o *pack.Options) {
			write(t, dir, "camera", "x", 0o644)
			o.Manifest.App.Exec = []string{"./camera"}
		}},
		{"absolute link", "link a", func(t *testing.T, dir string, _ *pack.Options) { link(t, dir, "a", "/etc/passwd") }},
		{"link outside", "link d/a", func(t *testing.T, dir string, _ *pack.Options) {
			write(t, dir, "d/x", "x", 0o644)
			link(t, dir, "d/a", "../../x")
		}},
		{"link that climbs behind another", "link a", func(t *testing.T, dir string, _ *pack.Options) {
			link(t, dir, "here", ".")
			link(t, dir, "a", "here/../x")
		}},
		{"FIFO", "only plain files", func(t *testing.T, dir string, _ *pack.Options) {
			if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"setuid file", "only plain files", func(t *testing.T, dir string, _ *pack.Options) {
			write(t, dir, "su", "x", 0o755)
			if err := os.Chmod(filepath.Join(dir, "su"), 0o755|fs.ModeSetuid); err != nil {
				t.Fatal(err)
			}
		}},
		{"names that differ in case", "differ in the case", func(t *testing.T, dir string, _ *pack.Options) {
			write(t, dir, "d/Model", "x", 0o644)
			write(t, dir, "d/model", "y", 0o644)
		}},
		{"name that is not ASCII", "does not fit", func(t *testing.T, dir string, _ *pack.Options) { write(t, dir, "kamerä", "x", 0o644) }},
		{"name too long", "does not fit", func(t *testing.T, dir string, _ *pack.Options) {
			write(t, dir, strings.Repeat("x", 101), "x", 0o644)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			opts := options(t, dir)
			row.spoil(t, dir, &opts)
			_, err := pack.BuildFile(t.Context(), out, opts)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want something with %q", err, row.says)
			}
			if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
				t.Errorf("left %v behind: %v", left, err)
			}
		})
	}
}

// changing is a writer during whose first write a file changes.
type changing struct {
	change func() error
	done   bool
}

func (c *changing) Write(p []byte) (int, error) {
	if !c.done {
		c.done = true
		if err := c.change(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func TestDirectoryThatChangesIsNoticed(t *testing.T) {
	for name, content := range map[string]string{"same size": "b", "longer": "bb", "shorter": ""} {
		dir := t.TempDir()
		write(t, dir, "file", "a", 0o644)
		w := &changing{change: func() error { return os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644) }}
		if _, err := pack.Build(t.Context(), w, options(t, dir)); err == nil || !strings.Contains(err.Error(), "changed while it was packed") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What is allocated in total, and so what is held at any time, does not grow
// with the files but only with the number of chunks.
func TestMemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "big", "", 0o644)
	const size = 128 << 20
	if err := os.Truncate(filepath.Join(dir, "big"), size); err != nil {
		t.Fatal(err)
	}
	opts := options(t, dir)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := pack.Build(t.Context(), io.Discard, opts); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size/16 {
		t.Errorf("packing %d bytes allocated %d", size, used)
	}
}

func TestCanceledBuildLeavesNothing(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	write(t, dir, "file", "a", 0o644)
	ctx, cancel := contextOf(t)
	cancel()
	if _, err := pack.BuildFile(ctx, out, options(t, dir)); !errors.Is(err, ctx.Err()) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("left %v behind: %v", left, err)
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "rel.key"), filepath.Join(dir, "rel.pub")
	made, err := pack.Keygen(private, public)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode() != 0o600 {
		t.Errorf("private key: mode %v, error %v", info.Mode(), err)
	}
	loaded, err := pack.LoadKey(private)
	if err != nil || !loaded.Equal(made) {
		t.Errorf("loaded another key: %v", err)
	}
	trust, err := verify.LoadTrust(public)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := verify.KeyID(&made.PublicKey); err != nil || trust.KeyIDs()[0] != id {
		t.Errorf("public key has id %s, want %s: %v", trust.KeyIDs()[0], id, err)
	}
	if _, err := pack.LoadKey(public); err == nil {
		t.Error("loaded a public key as a private one")
	}
	if _, err := pack.Keygen(private, public+"2"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote a private key: %v", err)
	}
	if _, err := pack.Keygen(private+"2", public); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote a public key: %v", err)
	}
	if _, err := os.Stat(private + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left half a key pair behind: %v", err)
	}
}

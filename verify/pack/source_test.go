package pack_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func noise(t *testing.T, path string, n int) []byte {
	t.Helper()
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{'i'}).Read(data)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSeveralImages(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "app/camera", "#!/bin/sh\n", 0o755)
	system := noise(t, filepath.Join(dir, "rootfs.img"), 700_001)
	opts := options(t, filepath.Join(dir, "app"))
	opts.Images = []pack.Source{{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: filepath.Join(dir, "rootfs.img")}}
	p, first := build(t, opts)
	if len(p.Manifest.Images) != 2 || p.Manifest.Images[1].Name != "system.disk" {
		t.Fatalf("images %+v", p.Manifest.Images)
	}
	payload, ok := p.Image(verify.ClassSystem)
	if !ok {
		t.Fatal("no system image")
	}
	data, err := io.ReadAll(payload.Reader())
	if err != nil || !bytes.Equal(data, system) {
		t.Errorf("the system image is not the file: %v", err)
	}
	if len(payload.Chunks) < 3 {
		t.Errorf("%d chunks", len(payload.Chunks))
	}
	again, second := build(t, opts)
	if again.Digest != p.Digest || len(first) != len(second) {
		t.Errorf("built again, the package is %s and not %s", again.Digest, p.Digest)
	}
	if _, err := verify.Open(bytes.NewReader(first), int64(len(first)), trustOf(t, opts), verify.Device{Product: "gatecam", Hardware: "cam-a1"}); verify.Code(err) != verify.CodeClass {
		t.Errorf("a device without a system slot says %v", err)
	}
}

func trustOf(t *testing.T, opts pack.Options) *verify.Trust {
	t.Helper()
	public, err := pack.PublicPEM(&opts.Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(public)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// The same directory elsewhere, with other modes and times, gives the same image.
func TestFilesystemsAreReproducible(t *testing.T) {
	for kind, tools := range map[string][2]string{
		verify.KindSquashfs: {"mksquashfs", "squashfs-tools"},
		verify.KindErofs:    {"mkfs.erofs", "erofs-utils"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tools[0]); err != nil {
				t.Fatalf("missing: %s (Debian: %s)", tools[0], tools[1])
			}
			var digests []string
			for _, mode := range []os.FileMode{0o600, 0o664} {
				dir := t.TempDir()
				write(t, dir, "etc/deep/config", strings.Repeat("y", 100_000), mode)
				write(t, dir, "z", "z", mode)
				write(t, dir, "a", "a", mode)
				write(t, dir, "run", "#!/bin/sh\n", mode|0o100)
				link(t, dir, "etc/up", "../run")
				opts := options(t, "")
				opts.Images = []pack.Source{{Kind: kind, Path: dir}}
				p, _ := build(t, opts)
				digests = append(digests, p.Digest)
				if image := p.Manifest.Images[0]; image.Kind != kind || image.Name != "app."+kind || image.Class != verify.ClassLive {
					t.Errorf("image %+v", image)
				}
			}
			if digests[0] != digests[1] {
				t.Errorf("digests %s", digests)
			}
		})
	}
}

func TestKindIsGuessedByContent(t *testing.T) {
	dir := t.TempDir()
	erofs := append(make([]byte, 1024), "\xe2\xe1\xf5\xe0 and more"...)
	for name, data := range map[string]string{"squashfs": "hsqs and more", "erofs": string(erofs)} {
		path := filepath.Join(dir, name)
		write(t, dir, name, data, 0o644)
		opts := options(t, "")
		opts.Images = []pack.Source{{Path: path}}
		if p, _ := build(t, opts); p.Manifest.Images[0].Kind != name || p.Manifest.Images[0].Class != verify.ClassLive {
			t.Errorf("%s is taken for %+v", name, p.Manifest.Images[0])
		}
	}
}

func TestBuildRefusesImages(t *testing.T) {
	dir := t.TempDir()
	noise(t, filepath.Join(dir, "noise"), 100)
	write(t, dir, "tree/file", "x", 0o644)
	write(t, dir, "empty", "", 0o644)
	for _, row := range []struct {
		name, says string
		source     pack.Source
	}{
		{"file of no known kind", "say what it is", pack.Source{Path: dir + "/noise"}},
		{"missing file", "no such file", pack.Source{Path: dir + "/missing"}},
		{"tree that is a file", "is made of a directory", pack.Source{Kind: verify.KindTree, Path: dir + "/noise"}},
		{"disk that is a directory", "give the image's file", pack.Source{Kind: verify.KindDisk, Path: dir + "/tree"}},
		{"empty file", "is empty", pack.Source{Kind: verify.KindDisk, Path: dir + "/empty"}},
		{"class nobody knows", "slot class", pack.Source{Class: "boot", Kind: verify.KindDisk, Path: dir + "/noise"}},
		{"kind nobody knows", "kind", pack.Source{Kind: "ext4", Path: dir + "/noise"}},
	} {
		opts := options(t, "")
		opts.Images = []pack.Source{row.source}
		if _, err := pack.Build(t.Context(), io.Discard, opts); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want something with %q", row.name, err, row.says)
		}
	}
	if _, err := pack.ParseSource("system:rootfs.img"); err == nil {
		t.Error("an image with a class and no kind is taken")
	}
}

func TestImageFileThatChangesIsNoticed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	data := noise(t, path, 100_000)
	opts := options(t, "")
	opts.Images = []pack.Source{{Kind: verify.KindDisk, Path: path}}
	w := &changing{change: func() error { data[5] ^= 1; return os.WriteFile(path, data, 0o644) }}
	if _, err := pack.Build(t.Context(), w, opts); err == nil || !strings.Contains(err.Error(), "changed while it was packed") {
		t.Errorf("got %v", err)
	}
}

package pack_test

import (
	"os"
	"path/filepath"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// A change in the middle of an image costs the chunks around it, in one range.
func TestDiffCountsWhatIsFetched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	data := noise(t, path, 4<<20)
	opts := options(t, "")
	opts.Images = []pack.Source{{Kind: verify.KindDisk, Path: path}}
	before, _ := build(t, opts)
	for _, at := range []int{2 << 20, 3 << 20} {
		data[at] ^= 1
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	after, _ := build(t, opts)

	d, err := pack.Diff(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	image := d.Images[0]
	var bytes int64
	known := map[[32]byte]bool{}
	for _, c := range before.Images()[0].Chunks {
		known[c.SHA256] = true
	}
	for _, c := range after.Images()[0].Chunks {
		if !known[c.SHA256] {
			bytes += int64(c.Length)
		}
	}
	if image.FetchBytes != bytes || image.FetchCount < 2 || image.FetchCount > 6 || image.Ranges != 2 || len(image.Files) > 0 {
		t.Errorf("difference %+v, want %d bytes in two ranges", image, bytes)
	}
	if d, err = pack.Diff(t.Context(), before, before); err != nil || d.Images[0].FetchBytes != 0 || d.Images[0].Ranges != 0 {
		t.Errorf("of a package to itself: %+v, %v", d, err)
	}
}

// A device that never had an image of the class fetches all of it.
func TestDiffOfANewClass(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "app/camera", "#!/bin/sh\n", 0o755)
	noise(t, filepath.Join(dir, "rootfs"), 500_000)
	opts := options(t, filepath.Join(dir, "app"))
	before, _ := build(t, opts)
	opts.Images = []pack.Source{{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: filepath.Join(dir, "rootfs")}}
	after, _ := build(t, opts)
	d, err := pack.Diff(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Images) != 2 || d.Images[0].FetchBytes != 0 || d.Images[1].FetchBytes != 500_000 || d.Images[1].Ranges != 1 {
		t.Errorf("difference %+v", d)
	}
}

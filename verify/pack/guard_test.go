package pack_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// imageOf writes a package's first image to a file, as it would be flashed.
func imageOf(t *testing.T, p *verify.Package) (string, []byte) {
	t.Helper()
	data, err := io.ReadAll(p.Images()[0].Reader())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// veritysetup lets the real program look for the tree by what is in the image.
func veritysetup(t *testing.T, image string, v *verify.Verity) error {
	t.Helper()
	path, err := exec.LookPath("veritysetup")
	if err != nil {
		path = "/usr/sbin/veritysetup"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("missing: veritysetup (Debian: cryptsetup-bin)")
	}
	words, err := exec.CommandContext(t.Context(), path, "verify", fmt.Sprint("--hash-offset=", v.HashOffset-4096), image, image, v.RootHash).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, words)
	}
	return nil
}

func TestFilesystemsGetAHashTree(t *testing.T) {
	for _, kind := range []string{verify.KindSquashfs, verify.KindErofs} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			noise(t, filepath.Join(dir, "clip"), 700_000)
			opts := options(t, "")
			opts.Images = []pack.Source{{Kind: kind, Path: dir}}
			p, _ := build(t, opts)
			path, guarded := imageOf(t, p)
			v := p.Manifest.Images[0].Verity
			if v == nil {
				t.Fatal("there is no tree")
			}
			if err := veritysetup(t, path, v); err != nil {
				t.Error(err)
			}
			guarded[5000] ^= 1
			if err := os.WriteFile(path, guarded, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := veritysetup(t, path, v); err == nil {
				t.Error("a changed block goes unnoticed")
			}
			guarded[5000] ^= 1

			opts.NoVerity = true
			p, _ = build(t, opts)
			_, plain := imageOf(t, p)
			if p.Manifest.Images[0].Verity != nil {
				t.Error("there is a tree, though none was wanted")
			}
			if !bytes.Equal(guarded[:len(plain)], plain) || int64(len(plain)) > v.DataBlocks*4096 {
				t.Error("the file system is another one with a tree")
			}
		})
	}
}

// A file system that ends within a block is filled up.
func TestHashTreeOfAnOddImage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fs", "hsqs and more", 0o644)
	opts := options(t, "")
	opts.Images = []pack.Source{{Path: filepath.Join(dir, "fs")}}
	p, _ := build(t, opts)
	path, data := imageOf(t, p)
	v := p.Manifest.Images[0].Verity
	if len(data) != 2*4096 || v.DataBlocks != 1 || !bytes.HasPrefix(data, []byte("hsqs and more\x00")) {
		t.Errorf("%d bytes with the tree %+v", len(data), v)
	}
	if err := veritysetup(t, path, v); err != nil {
		t.Error(err)
	}
}

func TestOtherKindsGetNoHashTree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "app/camera", "#!/bin/sh\n", 0o755)
	noise(t, filepath.Join(dir, "disk"), 8192)
	opts := options(t, filepath.Join(dir, "app"))
	opts.Images = []pack.Source{{Class: verify.ClassSystem, Kind: verify.KindDisk, Path: filepath.Join(dir, "disk")}}
	p, _ := build(t, opts)
	for _, i := range p.Manifest.Images {
		if i.Verity != nil {
			t.Errorf("%s has one: %+v", i.Name, i.Verity)
		}
	}
}

package machine

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A system's image has its kernel as the boot loader wants it, and behind the initial
// file system that all have its own. All of it is root's.
func TestSystemImage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, arch := range Arches {
		dir := t.TempDir()
		k := &Kit{Arch: arch, dir: dir, base: []byte("of all")}
		must(t, os.Mkdir(k.debian(), 0o755))
		must(t, os.WriteFile(filepath.Join(k.debian(), "kernel"), []byte("a kernel"), 0o644))
		image := filepath.Join(dir, "image")
		files := map[string][]byte{"etc/mine": []byte("mine")}
		must(t, k.Write(ctx, System{Version: "7.1.0", Fault: FaultPanic, Files: files}, image))
		info, err := os.Stat(image)
		must(t, err)
		if info.Size() != systemMB*mib {
			t.Errorf("the image has %d bytes", info.Size())
		}
		kernel := inImage(ctx, t, image, "boot/kernel")
		if arch.packed {
			kernel = unpacked(t, kernel)
		}
		if string(kernel) != "a kernel" {
			t.Errorf("%s: the kernel is %q", arch.Name, kernel)
		}
		own, is := bytes.CutPrefix(inImage(ctx, t, image, "boot/initrd"), []byte("of all"))
		if !is {
			t.Fatal("what all have does not come first")
		}
		for _, want := range []string{"etc/rig/version\x00", "7.1.0\n", "panic\n", "etc/mine\x00", "mine"} {
			if !bytes.Contains(unpacked(t, own), []byte(want)) {
				t.Errorf("no %q in its own part", want)
			}
		}
		owner, err := run(ctx, "", "debugfs", "-R", "stat boot/kernel", image)
		must(t, err)
		if !strings.Contains(strings.Join(strings.Fields(owner), " "), "User: 0 Group: 0") {
			t.Errorf("the kernel's owner: %s", owner)
		}
	}
	if err := (&Kit{}).Write(ctx, System{Version: "1", Fault: "tired"}, ""); err == nil {
		t.Error("an unknown fault was taken")
	}
}

func inImage(ctx context.Context, t *testing.T, image, name string) []byte {
	t.Helper()
	text, err := run(ctx, "", "debugfs", "-R", "cat "+name, image)
	must(t, err)
	return []byte(text)
}

func unpacked(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	all, err := io.ReadAll(z)
	must(t, err)
	return all
}

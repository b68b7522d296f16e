package verify_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
)

// A package is read from a block device as from a file: a partition of a stick, as
// large as the package or larger. Then who reads says where it ends.
func TestPackageOnABlockDevice(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("making a block device needs root")
	}
	f := newFixture(t).larger()
	for _, room := range []int{0, 1 << 20} {
		for code, change := range map[string]func([]byte){
			"":                 func([]byte) {}, // accepted
			verify.CodeCorrupt: func(file []byte) { file[len(file)-2000] ^= 1 },
			verify.CodePadding: func(file []byte) { file[len(file)-1] ^= 1 },
		} {
			t.Run(fmt.Sprintf("%q with %d bytes behind", code, room), func(t *testing.T) {
				file := append(bytes.Clone(f.file), make([]byte, room)...)
				change(file[:len(f.file)])
				dev := blockDevice(t, file)
				size, err := dev.Seek(0, io.SeekEnd)
				if err != nil || size != int64(len(file)) {
					t.Fatalf("a device of %d bytes for %d: %v", size, len(file), err)
				}
				p, err := verify.Open(dev, int64(len(f.file)), f.trust, f.dev)
				if err == nil {
					err = p.CheckAll(t.Context())
				}
				if verify.Code(err) != code || err != nil && code == "" {
					t.Errorf("got %v with code %q, want code %q", err, verify.Code(err), code)
				}
			})
		}
	}
}

// blockDevice is a device that holds some bytes.
func blockDevice(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stick")
	writeFile(t, path, string(data), 0o600)
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", "--read-only", path).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	dev, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

package slots_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/slots"
	"slipstream/slots/slotstest"
)

// TestSets holds the conformance suite against every kind of image, in files, in
// partitions that are files, and in block devices.
func TestSets(t *testing.T) {
	for _, kind := range []string{slots.KindTree, slots.KindErofs, slots.KindSquashfs, slots.KindDisk} {
		where := []string{"files", "partitions", "devices"}
		switch kind {
		case slots.KindTree: // is not kept in partitions
			where = where[:1]
		case slots.KindDisk: // and this is kept nowhere else
			where = where[1:]
		}
		for _, where := range where {
			t.Run(kind+" in "+where, func(t *testing.T) {
				if where == "devices" {
					needRoot(t)
				}
				images := [2][]byte{numbered(t, kind, 1), numbered(t, kind, 2)}
				slotstest.TestSet(t, func(t *testing.T, dir string) *slots.Set { return openIn(t, where, dir) },
					func(_ *testing.T, number int) slots.Content {
						c := place{name: kind, kind: kind}.content(images[number-1], fmt.Sprint("digest ", number))
						c.Image = slots.File(bytes.NewReader(images[number-1]))
						return c
					})
			})
		}
	}
}

// numbered is an image of a kind, another one for each number.
func numbered(t *testing.T, kind string, number int) []byte {
	t.Helper()
	if kind == slots.KindTree || kind == slots.KindDisk {
		return place{kind: kind}.image(t, uint64(number), 3)
	}
	return filesystemWith(t, kind, noise(uint64(number), 300_000))
}

// openIn opens a set whose mounts end with the test.
func openIn(t *testing.T, where, dir string) *slots.Set {
	t.Helper()
	o := place{partition: where != "files"}.options(t, dir)
	if where == "devices" {
		for name, file := range o.Partitions {
			o.Partitions[name] = device(t, file)
		}
	}
	s, err := slots.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, name := range []string{"a", "b"} {
			unix.Unmount(s.Root(name), unix.MNT_DETACH)
		}
	})
	return s
}

// device is a file as a block device, the same one each time.
func device(t *testing.T, file string) string {
	t.Helper()
	if path, err := slots.Holder(file); err != nil || path != "" {
		return path
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	path := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", path).Run() })
	return path
}

package powercut

import (
	"os"
	"testing"
)

// New mounts a new disk for a test, or one that holds a state. Without root there is
// none, and the test is skipped; with root it must work.
func New(t testing.TB, from *State) *Disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a disk that loses power is mounted through FUSE, which needs root")
	}
	d, err := Mount(t.TempDir(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

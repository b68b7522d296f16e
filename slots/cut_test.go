package slots_test

import (
	"errors"
	"syscall"
	"testing"

	"slipstream/slots"
)

// TestAnyOneErrorWhileStaging lets each step fail once, as a full disk does.
func TestAnyOneErrorWhileStaging(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		dir := t.TempDir()
		openDir(t, dir).Close()
		disk := failAt(n)
		s, err := slots.OpenOn(dir, slots.Options{}, disk.wrap)
		if err != nil {
			continue // a step of opening
		}
		err = stage(t.Context(), s, "a", content(sample(t)))
		if done = disk.step < n; done {
			break
		}
		if !errors.Is(err, errFault) {
			t.Fatalf("step %d fails: got %v", n, err)
		}
		expectEmpty(t, s, "a")
		s.Close()
	}
}

func TestAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	s := openDir(t, dir)
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Fatal(err)
	}
	big := content(image(t, file("big", string(make([]byte, 3<<20)))))
	if err := stage(t.Context(), s, "b", big); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	expectEmpty(t, s, "b")
	if err := s.Verify(t.Context(), "a"); err != nil {
		t.Errorf("the other slot: %v", err)
	}
	if err := stage(t.Context(), s, "b", content(sample(t))); err != nil {
		t.Errorf("the space was not released: %v", err)
	}
}

// smallDisk is a file system of one megabyte.
func smallDisk(t *testing.T) string { return memoryDisk(t, "size=1m") }

// memoryDisk is for tests in which nothing hangs on a real disk.
func memoryDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("slots-test", dir, "tmpfs", 0, size); err != nil {
		t.Skipf("a file system of a size needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

package slots_test

import (
	"errors"
	"syscall"
	"testing"

	"slipstream/slots"
)

// TestPowerCutWhileStaging cuts at every step of a stage over a slot that was in
// use before, and looks at what the next start finds.
func TestPowerCutWhileStaging(t *testing.T) {
	old, fresh := content(image(t, file("old", "1"))), content(sample(t))
	fresh.Digest = "d2"
	sawOld, sawWriting, sawFresh := false, false, false
	for n := 1; !sawFresh; n++ {
		dir := t.TempDir()
		s := openDir(t, dir)
		if err := errors.Join(stage(t.Context(), s, "a", old), stage(t.Context(), s, "b", old)); err != nil {
			t.Fatal(err)
		}
		s.Close()

		power := cutAt(n)
		s, err := slots.OpenOn(dir, slots.Options{}, power.wrap)
		if err == nil {
			err = stage(t.Context(), s, "b", fresh)
			s.Close()
		}
		if done := power.step < n; done != (err == nil) {
			t.Fatalf("cut at %d of %d: %v", n, power.step, err)
		}

		s = openDir(t, dir)
		if err := s.Verify(t.Context(), "a"); err != nil {
			t.Fatalf("cut at %d: the other slot: %v", n, err)
		}
		st, err := s.Status("b")
		if err != nil {
			t.Fatal(err)
		}
		switch st.State {
		case slots.StateWriting:
			sawWriting = true
		case slots.StateStaged:
			if err := s.Verify(t.Context(), "b"); err != nil {
				t.Fatalf("cut at %d: staged, but %v", n, err)
			}
			sawOld = sawOld || st.Digest == "d1"
			sawFresh = power.step < n
		default:
			t.Fatalf("cut at %d: slot is %s", n, st.State)
		}
		if err := stage(t.Context(), s, "b", fresh); err != nil {
			t.Fatalf("cut at %d: the slot cannot be written again: %v", n, err)
		}
		s.Close()
	}
	if !sawOld || !sawWriting {
		t.Errorf("not all states were seen: old %v, writing %v", sawOld, sawWriting)
	}
}

func TestPowerCutWhileClearing(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		dir := t.TempDir()
		s := openDir(t, dir)
		if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
			t.Fatal(err)
		}
		s.Close()
		power := cutAt(n)
		if s, err := slots.OpenOn(dir, slots.Options{}, power.wrap); err == nil {
			s.Clear("a")
			s.Close()
		}
		done = power.step < n
		s = openDir(t, dir)
		switch stateOf(t, s, "a") {
		case slots.StateStaged:
			if err := s.Verify(t.Context(), "a"); err != nil {
				t.Fatalf("cut at %d: staged, but %v", n, err)
			}
		case slots.StateEmpty:
			expectEmpty(t, s, "a")
		default:
			t.Fatalf("cut at %d: slot is %s", n, stateOf(t, s, "a"))
		}
		s.Close()
	}
}

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

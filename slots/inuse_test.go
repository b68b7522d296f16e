package slots_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/slots"
)

func TestASlotInUseIsLeftAlone(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	put(t, s, "a", slots.KindSquashfs, filesystem(t, slots.KindSquashfs))
	root := mount(t, s, "a")
	f, err := os.Open(filepath.Join(root, "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, err := range map[string]error{
		"unmount": s.Unmount("a"),
		"clear":   s.Clear("a"),
		"stage":   stage(t.Context(), s, "a", content(sample(t))),
	} {
		if !errors.Is(err, slots.ErrBusy) {
			t.Errorf("%s: got %v, want %v", what, err, slots.ErrBusy)
		}
	}
	mount(t, s, "a") // is there already
	if how := mountState(t, s, "a"); how != slots.MountPlain || stateOf(t, s, "a") != slots.StateStaged {
		t.Errorf("the slot is %s, its mount state %q", stateOf(t, s, "a"), how)
	}
	f.Close()
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Errorf("when it is free: %v", err)
	}
	if err := s.Verify(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// A process that is being started has everything open for an instant.
func TestASlotInUseForAnInstant(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	put(t, s, "a", slots.KindSquashfs, filesystem(t, slots.KindSquashfs))
	f, err := os.Open(filepath.Join(mount(t, s, "a"), "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(50*time.Millisecond, func() { f.Close() }).Stop()
	if err := stage(t.Context(), s, "a", content(sample(t))); err != nil {
		t.Error(err)
	}
}

// What is mounted at a slot is no room for the next image.
func TestMountedFilesAreNoRoom(t *testing.T) {
	needRoot(t)
	s := openDir(t, smallDisk(t))
	put(t, s, "a", slots.KindSquashfs, filesystemWith(t, slots.KindSquashfs, bytes.Repeat([]byte("film"), 1<<20)))
	mount(t, s, "a")
	large := content(noise(2, 2<<20))
	large.Kind = slots.KindSquashfs
	if err := stage(t.Context(), s, "a", large); !errors.Is(err, slots.ErrNoSpace) {
		t.Errorf("got %v, want %v", err, slots.ErrNoSpace)
	}
	if how := mountState(t, s, "a"); how != slots.MountPlain || stateOf(t, s, "a") != slots.StateStaged {
		t.Errorf("the slot is %s, its mount state %q", stateOf(t, s, "a"), how)
	}
	if err := s.Unmount("a"); err != nil { // before its disk
		t.Error(err)
	}
}

// Of the slot that is said to run nothing is touched, not even if it could be.
func TestTheRunningSlotStaysMounted(t *testing.T) {
	needRoot(t)
	s := openSet(t)
	put(t, s, "a", slots.KindSquashfs, filesystem(t, slots.KindSquashfs))
	mount(t, s, "a")
	_, err := s.Stage(t.Context(), "a", content(sample(t)), slots.StageOptions{InUse: "a"})
	if !errors.Is(err, slots.ErrInUse) || mountState(t, s, "a") != slots.MountPlain {
		t.Errorf("got %v, want %v; mount state %q", err, slots.ErrInUse, mountState(t, s, "a"))
	}
	if _, err := s.Stage(t.Context(), "b/../a", content(sample(t)), slots.StageOptions{}); err == nil || mountState(t, s, "a") != slots.MountPlain {
		t.Errorf("by a name that is none: %v; mount state %q", err, mountState(t, s, "a"))
	}
}

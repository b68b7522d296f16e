package slotstest

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"slipstream/slots/boot"
)

// Harness is an implementation of boot.Control with its boot loader.
type Harness struct {
	// Make lays the storage in dir: slot a is permanent, b is not bootable.
	Make func(t *testing.T, dir string)
	// Open opens it; a nil disk is the real one.
	Open   func(t *testing.T, dir string, disk boot.Disk) boot.Control
	Loader func(dir string) Loader
	// Damage makes copy i of Copies unreadable.
	Damage func(t *testing.T, dir string, i int)
	Copies int
	// MaxWrites is how many changes of storage one change of state may cost.
	MaxWrites int
	Cuts      []Fate // fates of writes that are cut

	CountsAlways bool // the boot loader writes at every boot
	NoFallback   bool // it does not start the other slot if one cannot be loaded
	Fragile      bool // there is one copy, written in place: a power cut loses it
	Lasting      bool // a lost state is not made anew by Commit
}

// TestControl is the conformance suite.
func TestControl(t *testing.T, h Harness) {
	t.Parallel()
	for name, test := range map[string]func(*bench){
		"a trial that is not committed has one try": oneTry,
		"a trial that is committed stays":           committed,
		"a trial that cannot be loaded":             cannotLoad,
		"a disabled slot is never started":          disabled,
		"a cancelled trial is not started":          cancelled,
		"a second trial after a revert":             secondTrial,
		"two bad slots end in the recovery":         bothBad,
		"what is refused":                           refused,
		"a healthy reboot writes nothing":           healthy,
		"no change writes nothing":                  idempotent,
		"what changes cost":                         cost,
		"one damaged copy":                          damagedCopy,
		"all copies damaged":                        allDamaged,
		"Reconcile":                                 reconcile,
		"the power fails at every step":             cuts,
		"what returned nil stays":                   lasting,
		"a disk that forgets":                       forgets,
		"any order of events":                       anyOrder,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newBench(t, h))
		})
	}
}

// bench is one device.
type bench struct {
	*testing.T
	h      Harness
	dir    string
	disk   *Disk
	c      boot.Control
	loader Loader
}

func newBench(t *testing.T, h Harness) *bench {
	b := &bench{T: t, h: h, dir: memory(t)}
	h.Make(t, b.dir)
	b.loader = h.Loader(b.dir)
	b.power(&Disk{Steps: -1})
	return b
}

// memory is a directory that costs no disk: power cuts are what Disk makes of
// them, thousands of times.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "slotstest")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// power starts the system again over a disk.
func (b *bench) power(d *Disk) {
	b.disk = d
	b.c = b.h.Open(b.T, b.dir, d)
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func every(string) bool { return true }

// boots expects these to be started one after the other.
func (b *bench) boots(loads func(string) bool, want ...string) {
	b.Helper()
	for i, slot := range want {
		got, err := b.loader.Boot(loads)
		b.must(err)
		if got != slot {
			b.Fatalf("boot %d of %v started %s", i+1, want, got)
		}
	}
}

// expect looks at the state; bootable are the slots that are.
func (b *bench) expect(permanent, trial, bootable string) {
	b.Helper()
	s, err := b.c.State()
	b.must(err)
	if got := bootables(s); s.Permanent != permanent || s.Trial != trial || got != bootable {
		b.Fatalf("the state is permanent %q, trial %q, bootable %q; want %q, %q, %q", s.Permanent, s.Trial, got, permanent, trial, bootable)
	}
	if s.Recovery != (bootable == "") {
		b.Fatalf("the state says recovery %v with %q bootable", s.Recovery, bootable)
	}
}

func bootables(s boot.State) (slots string) {
	for _, slot := range slices.Sorted(maps.Keys(s.Slots)) {
		if s.Slots[slot].Bootable {
			slots += slot
		}
	}
	return slots
}

func healthy(b *bench) {
	if b.h.CountsAlways {
		return
	}
	for _, permanent := range []string{"a", "b"} {
		_, err := boot.Reconcile(b.c, permanent)
		b.must(err)
		before := b.look()
		for range 4 {
			b.boots(every, permanent)
			changed, err := boot.Reconcile(b.c, permanent)
			b.must(err)
			if changed {
				b.Error("Reconcile has something to change")
			}
		}
		if !maps.EqualFunc(before, b.look(), seen.equal) {
			b.Error("healthy reboots changed the storage")
		}
	}
}

// seen is a file as it was found.
type seen struct {
	data []byte
	mod  time.Time
}

func (s seen) equal(o seen) bool { return bytes.Equal(s.data, o.data) && s.mod.Equal(o.mod) }

func (b *bench) look() map[string]seen {
	b.Helper()
	files := make(map[string]seen)
	b.must(filepath.WalkDir(b.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = seen{data, info.ModTime()}
		return err
	}))
	return files
}

// restore puts the storage back as it was.
func (b *bench) restore(files map[string]seen) {
	b.Helper()
	for name := range b.look() {
		if _, keep := files[name]; !keep {
			b.must(os.Remove(name))
		}
	}
	for name, f := range files {
		b.must(os.WriteFile(name, f.data, 0o644))
	}
}

func idempotent(b *bench) {
	for _, step := range []func() error{
		func() error { return b.c.Try("b") },
		b.c.Cancel,
		func() error { return b.c.Commit("b") },
		func() error { return b.c.Disable("a") },
		func() error { return b.c.Commit("a") },
		b.c.Cancel,
	} {
		b.must(step())
		wrote := b.disk.Writes
		b.must(step())
		if b.disk.Writes != wrote {
			b.Errorf("the same again wrote %d times", b.disk.Writes-wrote)
		}
	}
}

func cost(b *bench) {
	for i, step := range changes(b) {
		wrote := b.disk.Writes
		b.must(step(b.c))
		if got := b.disk.Writes - wrote; got > b.h.MaxWrites {
			b.Errorf("step %d wrote %d times, want at most %d", i, got, b.h.MaxWrites)
		}
	}
	b.Logf("an update and a revert wrote %d bytes in %d writes", b.disk.Bytes, b.disk.Writes)
}

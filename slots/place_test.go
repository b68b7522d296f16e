package slots_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipstream/slots"
)

// TestAPowerCutAtAnyStepOfAnyKind cuts while a version is staged over another,
// with the third in use, and looks at what the next start finds.
func TestAPowerCutAtAnyStepOfAnyKind(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		oldest, inUse, next := p.image(t, 1, 2), p.image(t, 1, 3), p.image(t, 1, 4)
		dir := filepath.Join(memoryDisk(t, "size=64m"), "set")
		for n, done := 1, false; !done; n++ {
			s := p.open(t, dir)
			mustStage(t, s, "b", p.content(oldest, "d1"), slots.StageOptions{})
			mustStage(t, s, "a", p.content(inUse, "d2"), slots.StageOptions{InUse: "b"})
			s.Close()

			power := cutAt(n)
			s, err := slots.OpenOn(dir, p.options(t, dir), power.wrap)
			if err == nil {
				_, err = s.Stage(t.Context(), "b", p.content(next, "d3"), slots.StageOptions{InUse: "a"})
				s.Close()
			}
			if done = power.step < n; done != (err == nil) {
				t.Fatalf("cut at %d of %d: %v", n, power.step, err)
			}

			s = p.open(t, dir)
			if err := s.Verify(t.Context(), "a"); err != nil {
				t.Fatalf("cut at %d: the slot in use: %v", n, err)
			}
			if state := stateOf(t, s, "b"); state == slots.StateStaged {
				if err := s.Verify(t.Context(), "b"); err != nil {
					t.Fatalf("cut at %d: staged, but %v", n, err)
				}
			} else if state != slots.StateWriting {
				t.Fatalf("cut at %d: slot is %s", n, state)
			}
			mustStage(t, s, "b", p.content(next, "d3"), slots.StageOptions{InUse: "a"})
			s.Close()
			os.RemoveAll(dir)
		}
	})
}

// TestAnyOneErrorOfAnyKind lets each step fail once, as a bad block does.
func TestAnyOneErrorOfAnyKind(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		oldest, inUse, next := p.image(t, 1, 2), p.image(t, 1, 3), p.image(t, 1, 4)
		dir := filepath.Join(memoryDisk(t, "size=64m"), "set")
		for n, done := 1, false; !done; n++ {
			s := p.open(t, dir)
			mustStage(t, s, "b", p.content(oldest, "d1"), slots.StageOptions{})
			mustStage(t, s, "a", p.content(inUse, "d2"), slots.StageOptions{})
			s.Close()
			disk := failAt(n)
			s, err := slots.OpenOn(dir, p.options(t, dir), disk.wrap)
			if err != nil {
				continue // a step of opening
			}
			_, err = s.Stage(t.Context(), "b", p.content(next, "d3"), slots.StageOptions{InUse: "a"})
			if done = disk.step < n; !done && !errors.Is(err, errFault) {
				t.Fatalf("step %d fails: got %v", n, err)
			}
			if err := s.Verify(t.Context(), "a"); err != nil {
				t.Fatalf("step %d fails: the slot in use: %v", n, err)
			}
			if st, _ := s.Status("b"); st.State == slots.StateStaged && (done || st.Digest == "d1") {
				if err := s.Verify(t.Context(), "b"); err != nil {
					t.Fatalf("step %d fails: staged, but %v", n, err)
				}
			} else {
				expectEmpty(t, s, "b")
			}
			s.Close()
			os.RemoveAll(dir)
		}
	})
}

// TestADiskThatCannotBeWritten leaves the slot as it was.
func TestADiskThatCannotBeWritten(t *testing.T) {
	p := places()[1]
	dir := smallDisk(t)
	s := p.open(t, dir)
	raw := noise(1, 100_000)
	mustStage(t, s, "a", p.content(raw, "d1"), slots.StageOptions{})
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := stage(t.Context(), s, name, p.content(noise(2, 100_000), "d2")); !errors.Is(err, syscall.EROFS) {
			t.Errorf("slot %s: %v", name, err)
		}
	}
	mustStage(t, s, "a", p.content(raw, "d1"), slots.StageOptions{}) // is whole: needs no writing
}

// TestADiskThatFillsUp after it was looked at.
func TestADiskThatFillsUp(t *testing.T) {
	for _, p := range places()[:2] {
		t.Run(p.name, func(t *testing.T) {
			dir := smallDisk(t)
			s := p.open(t, dir)
			old, raw := noise(1, 200_000), noise(2, 700_000)
			if p.kind == slots.KindTree {
				old, raw = image(t, file("f", string(old))), image(t, file("f", string(raw)))
			}
			mustStage(t, s, "a", p.content(old, "d1"), slots.StageOptions{})
			mustStage(t, s, "b", p.content(old, "d1"), slots.StageOptions{})
			c := p.content(raw, "d2")
			fill := filepath.Join(dir, "fill")
			c.Image = &tape{raw: raw, read: func(int64) error {
				os.WriteFile(fill, make([]byte, 1<<20), 0o600)
				return nil
			}}
			_, err := s.Stage(t.Context(), "b", c, slots.StageOptions{InUse: "a"})
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("got %v", err)
			}
			expectEmpty(t, s, "b")
			if err := errors.Join(s.Verify(t.Context(), "a"), os.Remove(fill)); err != nil {
				t.Error(err)
			}
			mustStage(t, s, "b", p.content(raw, "d2"), slots.StageOptions{InUse: "a"})
		})
	}
}

func TestPartitionsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "part")
	if err := os.WriteFile(part, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(part, part+"2"); err != nil {
		t.Fatal(err)
	}
	for name, partitions := range map[string]map[string]string{
		"one for both slots":     {"a": part, "b": part},
		"one under two names":    {"a": part, "b": part + "2"},
		"one slot without":       {"a": part},
		"one that is missing":    {"a": part, "b": part + "3"},
		"one slot too many":      {"a": part, "b": "/dev/null", "c": part},
		"a slot that is unknown": {"a": part, "c": part},
	} {
		if s, err := slots.Open(filepath.Join(dir, "set"), slots.Options{Partitions: partitions}); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
	s, err := slots.Open(filepath.Join(dir, "set"), slots.Options{Partitions: map[string]string{"a": part, "b": "/dev/null"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := place{kind: slots.KindDisk, partition: true}
	if r, err := s.Stage(t.Context(), "b", p.content(noise(1, 1000), "d1"), slots.StageOptions{}); err == nil || r.Written != 0 {
		t.Errorf("/dev/null was written: %+v, %v", r, err)
	}
}

// liar is a disk that says it has written what it has not.
type liar struct{ slots.Disk }

func (d liar) Sub(name string) (slots.Disk, error) {
	sub, err := d.Disk.Sub(name)
	return liar{sub}, err
}

func (d liar) Create(name string, mode fs.FileMode) (slots.DiskFile, error) {
	f, err := d.Disk.Create(name, mode)
	return lyingFile{f}, err
}

func (d liar) Image(name string) (slots.DiskImage, error) {
	f, err := d.Disk.Image(name)
	return lyingImage{f}, err
}

func (d liar) Partition(path string) (slots.DiskImage, error) {
	f, err := d.Disk.Partition(path)
	return lyingImage{f}, err
}

type lyingFile struct{ slots.DiskFile }

func (f lyingFile) Write(p []byte) (int, error) { return f.DiskFile.Write(flipped(p)) }

type lyingImage struct{ slots.DiskImage }

func (f lyingImage) WriteAt(p []byte, off int64) (int, error) {
	return f.DiskImage.WriteAt(flipped(p), off)
}

// flipped changes one bit of what is large enough to be of an image.
func flipped(p []byte) []byte {
	p = bytes.Clone(p)
	if len(p) > 10_000 {
		p[9_999] ^= 1
	}
	return p
}

// TestADiskThatLies is found out by reading back, and not taken for a package that
// is wrong.
func TestADiskThatLies(t *testing.T) {
	forPlaces(t, func(t *testing.T, p place) {
		dir := t.TempDir()
		s, err := slots.OpenOn(dir, p.options(t, dir), func(d slots.Disk) slots.Disk { return liar{d} })
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := stage(t.Context(), s, "b", p.content(p.image(t, 1, 2), "d1")); !errors.Is(err, slots.ErrDamaged) || errors.Is(err, slots.ErrContent) {
			t.Errorf("got %v", err)
		}
		expectEmpty(t, s, "b")
	})
}

// TestABlockDevice is written past the page cache, whatever its size is.
func TestABlockDevice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "disk")
	if err := os.WriteFile(file, make([]byte, partitionSize), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Skipf("there are no loop devices here: %s", out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	s, err := slots.Open(filepath.Join(dir, "set"), slots.Options{Partitions: map[string]string{"a": device, "b": "/dev/null"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := place{kind: slots.KindDisk, partition: true}
	raw := noise(1, 3_333_333)
	mustStage(t, s, "a", p.content(raw, "d1"), slots.StageOptions{})
	got, err := os.ReadFile(device)
	if err != nil || !bytes.Equal(got[:len(raw)], raw) {
		t.Errorf("the device holds something else, %v", err)
	}
	raw = append(noise(2, 77_777), raw[77_777:]...)
	if r := mustStage(t, s, "a", p.content(raw, "d2"), slots.StageOptions{}); r.Kept < 3_000_000 {
		t.Errorf("report %+v", r)
	}
	if err := stage(t.Context(), s, "a", p.content(noise(1, partitionSize+1), "d3")); !errors.Is(err, slots.ErrTooLarge) {
		t.Errorf("one byte too large: %v", err)
	}
	holder, err := os.OpenFile(device, os.O_RDONLY|syscall.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := stage(t.Context(), s, "a", p.content(noise(3, 1000), "d4")); !errors.Is(err, slots.ErrBusy) {
		t.Errorf("a device that somebody has for himself: %v", err)
	}
	if err := s.Verify(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// TestABlockDeviceThatEndsWithinASector and is full to its last byte.
func TestABlockDeviceThatEndsWithinASector(t *testing.T) {
	const size = 1<<20 + 3*512
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := slots.Open(t.TempDir(), slots.Options{Partitions: map[string]string{"a": device(t, file), "b": "/dev/null"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := place{kind: slots.KindDisk, partition: true}
	for i, n := range []int{size, size - 1, size - 1000, size} {
		mustStage(t, s, "a", p.content(noise(uint64(i), n), strings.Repeat("d", i+1)), slots.StageOptions{})
	}
	if err := stage(t.Context(), s, "a", p.content(noise(9, size+1), "d9")); !errors.Is(err, slots.ErrTooLarge) {
		t.Errorf("one byte too large: %v", err)
	}
}

// TestSectorsAreWrittenOnce: flash writes a sector whole for each part of it.
func TestSectorsAreWrittenOnce(t *testing.T) {
	p := place{kind: slots.KindErofs}
	dir := t.TempDir()
	var at []int64
	s, err := slots.OpenOn(dir, slots.Options{}, func(d slots.Disk) slots.Disk { return noting{d, &at} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := stage(t.Context(), s, "a", p.content(noise(1, 5_000_001), "d1")); err != nil {
		t.Fatal(err)
	}
	for _, off := range at {
		if off%4096 != 0 {
			t.Errorf("a piece begins at %d, within a sector", off)
		}
	}
	if len(at) < 5 {
		t.Errorf("pieces begin at %v", at)
	}
}

// noting notes where images are written.
type noting struct {
	slots.Disk
	at *[]int64
}

func (d noting) Sub(name string) (slots.Disk, error) {
	sub, err := d.Disk.Sub(name)
	return noting{sub, d.at}, err
}

func (d noting) Image(name string) (slots.DiskImage, error) {
	f, err := d.Disk.Image(name)
	return notingImage{f, d.at}, err
}

type notingImage struct {
	slots.DiskImage
	at *[]int64
}

func (f notingImage) WriteAt(p []byte, off int64) (int, error) {
	*f.at = append(*f.at, off)
	return f.DiskImage.WriteAt(p, off)
}

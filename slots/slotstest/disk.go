package slotstest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"slipstream/slots/boot"
)

// ErrCut is what a Disk says after the power has failed.
var ErrCut = errors.New("the power is off")

// Fate is what becomes of writes that were not synced when the power fails.
type Fate int

// Fates.
const (
	Kept  Fate = iota // they are on storage in the order in which they were made
	Lost              // none is
	Tail              // as Kept, but of the write under way the end is there, not the beginning
	Twice             // as Kept, but a rename under way leaves both names, as on FAT
)

// Disk is a boot.Disk on real files that loses power after a number of steps:
// each byte written is one, and each change of a name.
type Disk struct {
	Steps int // until the power fails; negative: it does not
	Fate  Fate

	Writes int   // changes so far: writes into a file, new files, renames
	Bytes  int64 // written so far

	cut  bool
	undo []undo // what was not synced, oldest first
}

type undo struct {
	synced string // file or directory whose sync makes it last
	revert func() error
}

var _ boot.Disk = (*Disk)(nil)

// spend takes up to n steps and returns how many there were.
func (d *Disk) spend(n int) int {
	if d.Steps < 0 {
		return n
	}
	n = min(n, d.Steps)
	d.Steps -= n
	return n
}

// fail is the power failing.
func (d *Disk) fail() error {
	d.cut = true
	if d.Fate != Lost {
		return ErrCut
	}
	for _, u := range slices.Backward(d.undo) {
		if err := u.revert(); err != nil {
			return errors.Join(ErrCut, err)
		}
	}
	return ErrCut
}

// WriteAt implements boot.Disk.
func (d *Disk) WriteAt(name string, data []byte, offset int64) error {
	if d.cut {
		return ErrCut
	}
	n := d.spend(len(data))
	part, at := data[:n], offset
	if d.Fate == Tail {
		part, at = data[len(data)-n:], offset+int64(len(data)-n)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	before := make([]byte, len(part))
	if _, err := f.ReadAt(before, at); err != nil {
		return err
	}
	if _, err := f.WriteAt(part, at); err != nil {
		return err
	}
	d.Writes++
	d.Bytes += int64(n)
	d.undo = append(d.undo, undo{name, func() error { return patch(name, before, at) }})
	if n < len(data) {
		return d.fail()
	}
	return nil
}

func patch(name string, data []byte, at int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, at)
	return errors.Join(err, f.Close())
}

// WriteFile implements boot.Disk.
func (d *Disk) WriteFile(name string, data []byte) error {
	if d.cut {
		return ErrCut
	}
	if d.spend(1) == 0 {
		return d.fail()
	}
	n := d.spend(len(data))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data[:n])
	d.Writes++
	d.Bytes += int64(n)
	d.undo = append(d.undo, undo{filepath.Dir(name), func() error { return gone(os.Remove(name)) }})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if n < len(data) {
		return d.fail()
	}
	return nil
}

// Rename implements boot.Disk.
func (d *Disk) Rename(from, to string) error {
	if d.cut {
		return ErrCut
	}
	if d.spend(1) == 0 {
		if d.Fate == Twice && from != to {
			if err := duplicate(from, to); err != nil {
				return err
			}
		}
		return d.fail()
	}
	before, err := os.ReadFile(to)
	replaced := err == nil
	if err := os.Rename(from, to); err != nil {
		return err
	}
	d.Writes++
	d.undo = append(d.undo, undo{filepath.Dir(to), func() error {
		if err := os.Rename(to, from); err != nil || !replaced {
			return err
		}
		return os.WriteFile(to, before, 0o644)
	}})
	return nil
}

func duplicate(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// Remove implements boot.Disk.
func (d *Disk) Remove(name string) error {
	if d.cut {
		return ErrCut
	}
	before, err := os.ReadFile(name)
	if err != nil {
		return gone(err)
	}
	if d.spend(1) == 0 {
		return d.fail()
	}
	d.undo = append(d.undo, undo{filepath.Dir(name), func() error { return os.WriteFile(name, before, 0o644) }})
	return os.Remove(name)
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sync implements boot.Disk.
func (d *Disk) Sync(name string) error {
	if d.cut {
		return ErrCut
	}
	var rest []undo
	for _, u := range d.undo {
		if u.synced != name {
			rest = append(rest, u)
		}
	}
	d.undo = rest
	return nil
}

// SyncDir implements boot.Disk.
func (d *Disk) SyncDir(name string) error { return d.Sync(name) }

// End is the power failing after all is done: what was not synced by then has
// its fate.
func (d *Disk) End() error {
	d.Steps = 0
	if err := d.fail(); err.Error() != ErrCut.Error() {
		return err
	}
	return nil
}

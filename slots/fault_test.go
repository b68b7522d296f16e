package slots_test

import (
	"errors"
	"io/fs"

	"slipstream/slots"
)

var errFault = errors.New("the disk fails here")

// faults counts the steps of a disk and makes some of them fail. A write that
// fails has written its first half.
type faults struct {
	step  int
	fails func(step int) bool
}

func (f *faults) wrap(d slots.Disk) slots.Disk { return faultyDisk{d, f} }

func (f *faults) next() error {
	f.step++
	if f.fails != nil && f.fails(f.step) {
		return errFault
	}
	return nil
}

// cutAt is a power cut: from that step on nothing reaches the disk.
func cutAt(n int) *faults { return &faults{fails: func(step int) bool { return step >= n }} }

// failAt is one error, after which the disk works again.
func failAt(n int) *faults { return &faults{fails: func(step int) bool { return step == n }} }

type faultyDisk struct {
	slots.Disk
	*faults
}

func (d faultyDisk) Sub(name string) (slots.Disk, error) {
	sub, err := d.Disk.Sub(name)
	return faultyDisk{sub, d.faults}, err
}

func (d faultyDisk) Mkdir(name string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Mkdir(name)
}

func (d faultyDisk) Create(name string, mode fs.FileMode) (slots.DiskFile, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	f, err := d.Disk.Create(name, mode)
	return faultyFile{f, d.faults}, err
}

func (d faultyDisk) Append(name string) (slots.DiskFile, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	f, err := d.Disk.Append(name)
	return faultyFile{f, d.faults}, err
}

func (d faultyDisk) Log(name string) (slots.DiskFile, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	f, err := d.Disk.Log(name)
	return faultyFile{f, d.faults}, err
}

func (d faultyDisk) Image(name string) (slots.DiskImage, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	f, err := d.Disk.Image(name)
	return faultyImage{f, d.faults}, err
}

func (d faultyDisk) Partition(path string) (slots.DiskImage, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	f, err := d.Disk.Partition(path)
	return faultyImage{f, d.faults}, err
}

func (d faultyDisk) Symlink(target, name string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Symlink(target, name)
}

func (d faultyDisk) Rename(from, to string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

func (d faultyDisk) Remove(name string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Remove(name)
}

func (d faultyDisk) SyncDir(name string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.SyncDir(name)
}

type faultyFile struct {
	slots.DiskFile
	*faults
}

func (f faultyFile) Write(p []byte) (int, error) {
	if err := f.next(); err != nil {
		n, _ := f.DiskFile.Write(p[:len(p)/2])
		return n, err
	}
	return f.DiskFile.Write(p)
}

func (f faultyFile) Sync() error {
	if err := f.next(); err != nil {
		return err
	}
	return f.DiskFile.Sync()
}

type faultyImage struct {
	slots.DiskImage
	*faults
}

func (f faultyImage) Resize(size int64) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.DiskImage.Resize(size)
}

func (f faultyImage) WriteAt(p []byte, off int64) (int, error) {
	if err := f.next(); err != nil {
		n, _ := f.DiskImage.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.DiskImage.WriteAt(p, off)
}

func (f faultyImage) Sync() error {
	if err := f.next(); err != nil {
		return err
	}
	return f.DiskImage.Sync()
}

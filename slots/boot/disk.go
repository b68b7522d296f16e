package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is the only way by which this package changes anything: tests put a disk
// in its place that loses power at a chosen step.
type Disk interface {
	// WriteAt writes into a file or partition that is there, and does not make
	// it longer. A negative offset counts from the end.
	WriteAt(name string, data []byte, offset int64) error
	// Sync brings what was written to a file to storage.
	Sync(name string) error
	// WriteFile makes a new file and syncs it.
	WriteFile(name string, data []byte) error
	// Rename gives a file another name in its directory, in place of any file
	// that has that name.
	Rename(from, to string) error
	// Remove is content if the file is not there.
	Remove(name string) error
	// SyncDir brings the names in a directory to storage.
	SyncDir(name string) error
}

// realDisk is the real one.
type realDisk struct{}

var _ Disk = realDisk{}

const fileMode = 0o644

func (realDisk) WriteAt(name string, data []byte, offset int64) error {
	protect, err := unprotect(name)
	if err != nil {
		return err
	}
	defer protect()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if offset, err = place(f, offset); err == nil {
		_, err = f.WriteAt(data, offset)
	}
	// Synced here too: the protection comes back with the return.
	return errors.Join(err, f.Sync(), f.Close())
}

func (realDisk) Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (realDisk) WriteFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (realDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (realDisk) Remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d realDisk) SyncDir(name string) error { return d.Sync(name) }

// place turns an offset from the end into one from the start.
func place(f *os.File, offset int64) (int64, error) {
	if offset >= 0 {
		return offset, nil
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil && end+offset < 0 {
		err = fmt.Errorf("%s is shorter than the offset says", f.Name())
	}
	return end + offset, err
}

// unprotect lifts the write protection that the kernel keeps on the boot
// partitions of an eMMC, as fw_setenv does. The function it returns puts it back.
func unprotect(name string) (protect func(), err error) {
	device := strings.TrimPrefix(name, "/dev/")
	if ok, err := filepath.Match("mmcblk[0-9]*boot[0-9]", device); err != nil || !ok {
		return func() {}, nil
	}
	flag := "/sys/class/block/" + device + "/force_ro"
	before, err := os.ReadFile(flag)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.HasPrefix(string(before), "1") {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(flag, []byte("0"), fileMode); err != nil {
		return nil, fmt.Errorf("lift the write protection of %s: %w", name, err)
	}
	// If it cannot be put back, the device is as writable as any other.
	return func() { _ = os.WriteFile(flag, []byte("1"), fileMode) }, nil
}

// readAt reads from the page cache.
func readAt(name string, size int, offset int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Mode()&fs.ModeCharDevice != 0 {
		return nil, fmt.Errorf("%s is a flash chip without a controller (MTD or UBI), which is not supported: use a partition of a block device", name)
	}
	data := make([]byte, size)
	if offset, err = place(f, offset); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(data, offset); err != nil {
		return nil, fmt.Errorf("read %d bytes of %s at %#x: %w", size, name, offset, err)
	}
	return data, nil
}

// directAlign is what direct reads are aligned to, in memory and on storage.
const directAlign = 4096

// readBack reads what storage has, and not what the page cache remembers, where
// the file system can do that.
func readBack(name string, size int, offset int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return readUncached(name, size, offset)
	}
	defer f.Close()
	start, err := place(f, offset)
	if err != nil {
		return nil, err
	}
	first := start &^ (directAlign - 1)
	end := (start + int64(size) + directAlign - 1) &^ (directAlign - 1)
	data := aligned(int(end - first))
	n, err := f.ReadAt(data, first)
	if err != nil && !errors.Is(err, io.EOF) {
		return readUncached(name, size, offset)
	}
	if int64(n) < start-first+int64(size) {
		return nil, fmt.Errorf("%s became shorter", name)
	}
	return data[start-first:][:size], nil
}

// readUncached asks the kernel to forget its copy first.
func readUncached(name string, size int, offset int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	// Only advice: a file system without storage has nothing to drop to.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if err := f.Close(); err != nil {
		return nil, err
	}
	return readAt(name, size, offset)
}

func aligned(size int) []byte {
	buf := make([]byte, size+directAlign)
	skip := int(-uintptr(unsafe.Pointer(&buf[0])) & (directAlign - 1))
	return buf[skip:][:size]
}

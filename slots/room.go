package slots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkRoom refuses an image that cannot fit, before anything is written.
func (w *writing) checkRoom() error {
	if w.content.Kind == KindDisk && w.partition == "" {
		return fmt.Errorf("%w: a disk image needs a partition", ErrKind)
	}
	if w.partition != "" {
		return w.checkPartition()
	}
	free, err := w.free()
	if err != nil {
		return err
	}
	if have := free + w.held(); have < w.content.Size {
		return fmt.Errorf("%w: the image has %d bytes, there is room for %d", ErrNoSpace, w.content.Size, have)
	}
	return nil
}

func (w *writing) checkPartition() error {
	if w.content.Kind == KindTree {
		return fmt.Errorf("%w: a tree cannot be in a partition", ErrKind)
	}
	size, err := partitionSize(w.partition)
	if err != nil {
		return err
	}
	if size < w.content.Size {
		return fmt.Errorf("%w: the image has %d bytes, the partition %s has %d", ErrTooLarge, w.content.Size, w.partition, size)
	}
	return nil
}

func partitionSize(path string) (size int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if mode := info.Mode(); !mode.IsRegular() && (mode&fs.ModeDevice == 0 || mode&fs.ModeCharDevice != 0) {
		return 0, fmt.Errorf("%w: %s is no partition", ErrKind, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	r := &directReader{f: f}
	size, err = r.size()
	return size, errors.Join(err, r.Close())
}

// openPartition claims a block device: the kernel gives it to one at a time, and to
// nobody while it is mounted.
func openPartition(path string, flag int) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeDevice != 0 {
		flag |= unix.O_EXCL
	}
	return os.OpenFile(path, flag, 0)
}

// free is what the file system has left for us.
func (s *Set) free() (int64, error) {
	f, err := s.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // other types on other processors
}

// held is what the slot's own files take, which is replaced. What is mounted there is
// none of them.
func (w *writing) held() int64 {
	var sum int64
	var own uint64 // device of the slot's directory
	_ = fs.WalkDir(w.root.FS(), w.name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has just gone
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
		case path == w.name:
			own = uint64(st.Dev) //nolint:unconvert // 32 bits wide on some machines
		case uint64(st.Dev) != own && d.IsDir(): //nolint:unconvert // likewise
			return fs.SkipDir
		case d.Type().IsRegular():
			sum += int64(st.Blocks) * 512 //nolint:unconvert // another type on other processors
		}
		return nil
	})
	return sum
}

// roomBeside says whether a tree has room beside the one that it replaces. One
// that was begun already is gone on with.
func (w *writing) roomBeside() bool {
	free, err := w.free()
	return err == nil && (w.resumed > 0 || free >= w.content.Size)
}

// checkPartitions wants none or one for each slot.
func checkPartitions(partitions map[string]string) error {
	if len(partitions) == 0 {
		return nil
	}
	var infos []os.FileInfo
	for _, name := range names {
		info, err := os.Stat(partitions[name])
		if err != nil {
			return fmt.Errorf("the partition of slot %s: %w", name, err)
		}
		infos = append(infos, info)
	}
	if len(partitions) != len(names) || sameDisk(infos[0], infos[1]) {
		return fmt.Errorf("the slots %v need a partition each, given are %v", names, partitions)
	}
	return nil
}

// sameDisk sees two names of one device too.
func sameDisk(a, b os.FileInfo) bool {
	if os.SameFile(a, b) {
		return true
	}
	x, y := a.Sys().(*syscall.Stat_t), b.Sys().(*syscall.Stat_t)
	return a.Mode()&fs.ModeDevice != 0 && b.Mode()&fs.ModeDevice != 0 && x.Rdev == y.Rdev
}

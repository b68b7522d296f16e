package slots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	loopControl = "/dev/loop-control"
	loopTries   = 16 // others may take the free device before us
)

// loopBlock is what a loop device counts in: what a file has behind its last whole
// one it does not show.
const loopBlock = 512

// fileSize is how long the file of an image is. A file system that ends within a block,
// as mksquashfs -nopad makes it, has zeros behind it, which nobody reads.
func (s state) fileSize() int64 {
	if !mounted(s.Kind) {
		return s.Size
	}
	return (s.Size + loopBlock - 1) &^ (loopBlock - 1)
}

// attach makes a read-only block device of a file, and returns it open: it is
// there until it is closed and nothing is mounted from it any more.
func attach(image *os.File, size int64) (*os.File, error) {
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, lacks("loop devices", err)
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, lacks("a free loop device", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, lacks("a free loop device", err)
		}
		err = configure(device, image, size)
		if err == nil {
			return device, nil
		}
		err = errors.Join(err, device.Close())
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no loop device could be had in %d tries", loopTries)
}

// configure needs LOOP_CONFIGURE, which Linux has since 5.8. Where the file system
// below cannot do direct I/O the kernel does without; some say so by an error.
func configure(device, image *os.File, size int64) error {
	config := unix.LoopConfig{Fd: uint32(image.Fd())}
	config.Info.Sizelimit = uint64(size)
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image.Name())
	err := unix.IoctlLoopConfigure(int(device.Fd()), &config)
	if errors.Is(err, unix.EINVAL) {
		config.Info.Flags &^= unix.LO_FLAGS_DIRECT_IO
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
	}
	if err != nil {
		return fmt.Errorf("make a loop device of %s: %w", image.Name(), err)
	}
	return nil
}

// holder is a loop device that has the file, "" if none has.
func holder(file string) (string, error) {
	var want unix.Stat_t
	if err := unix.Stat(file, &want); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	devices, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return "", err
	}
	for _, dir := range devices {
		device := "/dev/" + filepath.Base(filepath.Dir(dir))
		if backs(device, want) {
			return device, nil
		}
	}
	return "", nil
}

// backs says whether a loop device is of that file. One that is gone meanwhile, or
// that we may not look at, is of none.
func backs(device string, want unix.Stat_t) bool {
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	return err == nil && info.Inode == want.Ino && info.Device == uint64(want.Dev) //nolint:unconvert // 32 bits wide on some machines
}

// mount is one line of /proc/self/mountinfo, proc(5).
type mountLine struct {
	device  string // major:minor
	options []string
}

// mountOf finds what is mounted at a path itself; nil: nothing. The kernel is
// asked by number, so that it does not matter how the path is spelled.
func mountOf(path string) (*mountLine, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 5 && f[0] == fmt.Sprint(st.Mnt_id) {
			return &mountLine{device: f[2], options: strings.Split(f[5], ",")}, nil
		}
	}
	return nil, fmt.Errorf("what is mounted at %s cannot be found", path)
}

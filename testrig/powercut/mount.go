package powercut

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// loopTries is how often a free loop device is asked for: others may take it first.
const loopTries = 64

// mounted is a file system that nobody else sees: it has no place in any directory, and
// ends with the descriptor, or with this process.
type mounted struct {
	tree *os.File
	loop *os.File
}

// mountExt4 mounts an image as a device does that comes up: the kernel plays back its
// journal. The file is written to.
func mountExt4(image *os.File) (m *mounted, err error) {
	loop, err := attach(image, part{})
	if err != nil {
		return nil, fmt.Errorf("loop device: %w", err)
	}
	tree, err := mountTree("ext4", loop.Name())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount the data partition: %w", err), loop.Close())
	}
	return &mounted{tree, loop}, nil
}

// Dir is its root, for as long as it is mounted.
func (m *mounted) Dir() string { return fmt.Sprintf("/proc/self/fd/%d", m.tree.Fd()) }

func (m *mounted) Close() error { return errors.Join(m.tree.Close(), m.loop.Close()) }

func mountTree(kind, device string) (*os.File, error) {
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "source", device); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, err
	}
	tree, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(tree), "data"), nil
}

// attach makes a block device of a part of a file, or of all of it, which goes away with its last user.
func attach(image *os.File, p part) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd())}
		config.Info.Offset, config.Info.Sizelimit = uint64(p.from), uint64(p.size)
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err = errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("none could be had in %d tries", loopTries)
}

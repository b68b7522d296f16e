package verity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlPath is where the kernel takes orders for device-mapper.
const controlPath = "/dev/mapper/control"

// ErrUnavailable means that this kernel has no dm-verity.
var ErrUnavailable = errors.New("the kernel offers no dm-verity here")

// The layout of linux/dm-ioctl.h, the same on 32 and 64 bits.
const (
	headerSize = 312 // struct dm_ioctl
	targetSize = 40  // struct dm_target_spec
	nameAt     = 48
	uuidAt     = nameAt + unix.DM_NAME_LEN
	targetName = "verity"
	sector     = 512
)

// Available says why there is no dm-verity; nil: there is. The kernel loads the
// module for it if it has one.
func Available() error {
	f, err := openControl()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := call(f, unix.DM_GET_TARGET_VERSION, request{name: targetName, extra: make([]byte, 64)}.encode()); err != nil {
		return fmt.Errorf("%w: device-mapper has no target %q: %w", ErrUnavailable, targetName, err)
	}
	return nil
}

func openControl() (*os.File, error) {
	f, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return f, nil
}

// Device is a verity device that was made.
type Device struct {
	Path string // of the device node
	name string
}

// Open makes a read-only device of an image's data, which checks every block when
// it is read. Image is the block device that holds the image, data and tree. A
// device of that name which nobody uses any more is replaced.
//
// It is there until Remove. The uuid tells afterwards what the device is.
func Open(name, uuid, image string, p Params) (_ *Device, err error) {
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return nil, fmt.Errorf("verity: open %s: %w", image, err)
	}
	f, err := openControl()
	if err != nil {
		return nil, fmt.Errorf("verity: %w", err)
	}
	defer f.Close()
	created, err := create(f, name, uuid)
	if err != nil {
		return nil, fmt.Errorf("verity: make device %s: %w", name, err)
	}
	d := &Device{Path: fmt.Sprintf("/dev/dm-%d", unix.Minor(created)), name: name}
	defer func() {
		if err != nil {
			err = errors.Join(err, call(f, unix.DM_DEV_REMOVE, request{name: name}.encode()))
		}
	}()
	load := request{name: name, flags: unix.DM_READONLY_FLAG, target: &target{
		sectors: uint64(p.DataBlocks) * (BlockSize / sector),
		params:  p.table(uint64(st.Rdev)), //nolint:unconvert // it is 32 bits wide on some machines
	}}
	if err := call(f, unix.DM_TABLE_LOAD, load.encode()); err != nil {
		return nil, fmt.Errorf("verity: load the table of %s: %w", name, err)
	}
	if err := call(f, unix.DM_DEV_SUSPEND, request{name: name}.encode()); err != nil { // without the flag: resume
		return nil, fmt.Errorf("verity: start %s: %w", name, err)
	}
	if _, err := os.Stat(d.Path); err != nil {
		return nil, fmt.Errorf("verity: %w", err)
	}
	return d, nil
}

// Remove takes the device away as soon as nobody uses it: at once, or when what is
// mounted from it is unmounted.
func (d *Device) Remove() error {
	f, err := openControl()
	if err != nil {
		return fmt.Errorf("verity: %w", err)
	}
	defer f.Close()
	if err := call(f, unix.DM_DEV_REMOVE, request{name: d.name, flags: unix.DM_DEFERRED_REMOVE}.encode()); err != nil {
		return fmt.Errorf("verity: remove %s: %w", d.name, err)
	}
	return nil
}

// create makes an empty device. One that an interrupted Open has left behind has
// the same name, and no user.
func create(f *os.File, name, uuid string) (dev uint64, err error) {
	order := request{name: name, uuid: uuid}
	buf := order.encode()
	err = call(f, unix.DM_DEV_CREATE, buf)
	if errors.Is(err, unix.EBUSY) {
		if err := call(f, unix.DM_DEV_REMOVE, request{name: name}.encode()); err != nil && !errors.Is(err, unix.ENXIO) {
			return 0, err // ENXIO: it has just gone by itself
		}
		buf = order.encode()
		err = call(f, unix.DM_DEV_CREATE, buf)
	}
	return binary.NativeEndian.Uint64(buf[40:]), err
}

// table is the line of Documentation/admin-guide/device-mapper/verity.rst. Data
// and tree lie on one device.
func (p Params) table(device uint64) string {
	salt := p.Salt
	if salt == "" {
		salt = "-"
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
	return fmt.Sprintf("1 %s %s %d %d %d %d sha256 %s %s", dev, dev, BlockSize, BlockSize,
		p.DataBlocks, p.HashOffset/BlockSize, p.RootHash, salt)
}

// request is one order to device-mapper.
type request struct {
	name, uuid string
	flags      uint32
	target     *target
	extra      []byte // room for an answer
}

type target struct {
	sectors uint64
	params  string
}

// encode writes struct dm_ioctl and what follows it.
func (r request) encode() []byte {
	data := r.extra
	if r.target != nil {
		data = r.target.encode()
	}
	b := make([]byte, headerSize, headerSize+len(data))
	native := binary.NativeEndian
	native.PutUint32(b[0:], 4) // major version of the interface; any minor one will do
	native.PutUint32(b[12:], uint32(headerSize+len(data)))
	native.PutUint32(b[16:], headerSize)
	if r.target != nil {
		native.PutUint32(b[20:], 1)
	}
	native.PutUint32(b[28:], r.flags)
	copy(b[nameAt:nameAt+unix.DM_NAME_LEN-1], r.name)
	copy(b[uuidAt:uuidAt+unix.DM_UUID_LEN-1], r.uuid)
	return append(b, data...)
}

// encode writes struct dm_target_spec and the parameters, ended by a zero byte and
// filled up to eight.
func (t target) encode() []byte {
	b := make([]byte, targetSize)
	native := binary.NativeEndian
	native.PutUint64(b[8:], t.sectors) // from sector 0 on
	size := targetSize + len(t.params) + 1
	size += -size & 7
	native.PutUint32(b[20:], uint32(size))
	copy(b[24:], targetName)
	b = append(b, t.params...)
	return append(b, make([]byte, size-len(b))...)
}

func call(f *os.File, order uint, buf []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(order), uintptr(unsafe.Pointer(&buf[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

package slots

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots/verity"
)

var (
	// ErrUnprivileged means that this process may not mount images.
	ErrUnprivileged = errors.New("mounting images needs root (CAP_SYS_ADMIN), which this process does not have")
	// ErrUnsupported means that this machine's kernel cannot mount such images.
	ErrUnsupported = errors.New("this machine's kernel cannot mount the image")
	// ErrVerity means that an image is the signed one and yet its data, its hash tree
	// and the signed root hash do not fit together.
	ErrVerity = verity.ErrMismatch
	// ErrBusy means that a slot's files are in use, so that it cannot be written.
	ErrBusy = errors.New("the slot is in use: a process works in it or has its files open")
)

// How a slot is mounted, as [Status] says it.
const (
	MountNone   = ""       // it is not, or need not be
	MountPlain  = "plain"  // checked whole when it was mounted
	MountVerity = "verity" // every block is checked when it is read
)

// What is unmounted may still be in use for clearWait, asked each clearPoll.
const (
	clearWait = 3 * time.Second
	clearPoll = 10 * time.Millisecond
)

// Mount makes a staged version's files available, read-only, in the directory that
// it returns, and checks them. After nil they are what was staged: an image with a
// verity tree is guarded by the kernel from then on; where it has none, or the
// kernel no dm-verity, the whole image was read and hashed by this call, and so
// were the files of a tree. What is mounted already stays so, whoever did it.
//
// The mount outlives the process. Stage and Clear unmount.
func (s *Set) Mount(ctx context.Context, name string) (root string, err error) {
	ctx, end := s.whileOpen(ctx)
	defer end()
	st, done, err := s.claimStaged(ctx, name)
	if err != nil {
		return "", err
	}
	defer done()
	if err := s.mount(ctx, name, st); err != nil {
		return "", fmt.Errorf("slots: mount slot %s: %w", name, err)
	}
	return s.Root(name), nil
}

func (s *Set) mount(ctx context.Context, name string, st state) error {
	switch {
	case st.Kind == KindTree:
		return s.verify(ctx, name, st, cached)
	case !mounted(st.Kind):
		return fmt.Errorf("%w: the kind %q has no files", ErrUnsupported, st.Kind)
	}
	switch how, err := s.mountState(name, st); {
	case err != nil:
		return err
	case how == MountVerity:
		return nil
	case how == MountPlain:
		return s.verify(ctx, name, st, fromDisk)
	}
	if err := s.release(name); err != nil { // something else is mounted there
		return err
	}
	image, err := os.Open(s.imagePath(name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer image.Close()
	guarded := st.Verity != nil && verity.Available() == nil // asked once: what is not guarded was read
	if !guarded {
		if err := s.verify(ctx, name, st, fromDisk); err != nil {
			return err
		}
	}
	if err := os.Mkdir(s.Root(name), dirMode.Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.mountImage(name, st, image, guarded)
}

// mountImage mounts what image holds: by a loop device, unless it is one itself, and
// through dm-verity if it is to be guarded.
func (s *Set) mountImage(name string, st state, image *os.File, guarded bool) error {
	info, err := image.Stat()
	if err != nil {
		return err
	}
	device := image.Name()
	if info.Mode().IsRegular() {
		loop, err := attach(image, st.fileSize())
		if err != nil {
			return err
		}
		defer loop.Close()
		device = loop.Name()
	}
	if guarded {
		tree, err := verity.Open(s.verityName(name), s.verityID(name, *st.Verity), device, *st.Verity)
		if err != nil {
			return err
		}
		return errors.Join(mountAt(tree.Path, s.Root(name), st.Kind), tree.Remove())
	}
	return mountAt(device, s.Root(name), st.Kind)
}

func mountAt(device, root, kind string) error {
	err := unix.Mount(device, root, kind, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
	switch {
	case errors.Is(err, unix.ENODEV):
		return lacks("the file system "+kind, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w", ErrUnprivileged, err)
	case err != nil:
		return fmt.Errorf("mount %s as %s: %w", device, kind, err)
	}
	return nil
}

// lacks says what the kernel does not have, or does not let us have.
func lacks(what string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %s: %w", ErrUnprivileged, what, err)
	}
	return fmt.Errorf("%w: it lacks %s: %w", ErrUnsupported, what, err)
}

// Unmount undoes [Set.Mount]. A slot that is not mounted is fine. One with files
// in use stays mounted, and the error is [ErrBusy].
func (s *Set) Unmount(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	done, err := s.claim(context.Background(), name)
	if err != nil {
		return fmt.Errorf("slots: unmount slot %s: %w", name, err)
	}
	defer done()
	if err := s.release(name); err != nil {
		return fmt.Errorf("slots: unmount slot %s: %w", name, err)
	}
	return nil
}

// release makes sure that nothing is mounted from the slot, so that it may be
// written: not here, and not in another mount namespace either.
func (s *Set) release(name string) error {
	end := time.Now().Add(clearWait)
	for { // one may lie over another
		m, err := mountOf(s.Root(name))
		if err != nil {
			return err
		}
		if m == nil {
			return s.waitFree(name, end)
		}
		if err := s.unmount(name, end); err != nil {
			return err
		}
	}
}

// unmount tries until end: a process that is just being started has, for an instant, a
// copy of every file that is open here.
func (s *Set) unmount(name string, end time.Time) error {
	err := unix.Unmount(s.Root(name), unix.UMOUNT_NOFOLLOW)
	for errors.Is(err, unix.EBUSY) && time.Now().Before(end) {
		time.Sleep(clearPoll)
		err = unix.Unmount(s.Root(name), unix.UMOUNT_NOFOLLOW)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrUnprivileged, err)
	}
	return err
}

// waitFree waits until the kernel has let go of the image, which it may do some
// time after it was unmounted.
func (s *Set) waitFree(name string, end time.Time) error {
	for {
		user, err := s.userOf(name)
		if err != nil || user == "" {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %s is mounted or opened elsewhere", ErrBusy, user)
		}
		time.Sleep(clearPoll)
	}
}

// userOf names the block device by which an image is used, "" if it is not.
func (s *Set) userOf(name string) (string, error) {
	path := s.imagePath(name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || info.Mode()&fs.ModeDevice == 0 {
		if err != nil {
			return "", err
		}
		return holder(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_EXCL, 0) // of a block device: nobody has it mounted
	if errors.Is(err, unix.EBUSY) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	return "", f.Close()
}

// mountState says how the slot's own image is mounted at its root.
func (s *Set) mountState(name string, st state) (string, error) {
	m, err := mountOf(s.Root(name))
	if err != nil || m == nil || !slices.Contains(m.options, "ro") {
		return MountNone, err
	}
	sys := "/sys/dev/block/" + m.device
	if id, err := os.ReadFile(sys + "/dm/uuid"); err == nil {
		if st.Verity != nil && string(id) == s.verityID(name, *st.Verity)+"\n" {
			return MountVerity, nil
		}
		return MountNone, nil
	}
	var image unix.Stat_t
	if err := unix.Stat(s.imagePath(name), &image); err != nil {
		return MountNone, nil //nolint:nilerr // without an image nothing of it is mounted
	}
	device, err := os.Readlink(sys)
	if err != nil {
		return MountNone, err
	}
	own := fmt.Sprintf("%d:%d", unix.Major(uint64(image.Rdev)), unix.Minor(uint64(image.Rdev))) //nolint:unconvert // 32 bits wide on some machines
	if m.device == own || backs("/dev/"+filepath.Base(device), image) {
		return MountPlain, nil
	}
	return MountNone, nil
}

// verityName is the name of a slot's verity device, the same in every process.
func (s *Set) verityName(name string) string {
	sum := sha256.Sum256([]byte(s.dir))
	return "slipstream-" + hex.EncodeToString(sum[:6]) + "-" + name
}

// verityID is unlike that of any other image with other parameters.
func (s *Set) verityID(name string, p verity.Params) string {
	sum := sha256.Sum256(fmt.Append(nil, p))
	return s.verityName(name) + "-" + hex.EncodeToString(sum[:])
}

package slots

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"slipstream/slots/verity"
)

// Capability is one thing that slots need of a machine.
type Capability struct {
	Name string // a kind, "loop" or "verity"
	Err  error  // why the machine cannot do it; nil: it can
}

// Names of capabilities that are no kinds.
const (
	CapabilityLoop   = "loop"   // mount images that are files
	CapabilityVerity = "verity" // check every block when it is read
)

// Capabilities says what this process can do on this machine. It changes nothing,
// but the kernel may load a module that it has.
func Capabilities() []Capability {
	privileged := mayMount()
	try := func(f func() error) error {
		if privileged != nil {
			return privileged
		}
		return f()
	}
	loop := try(hasLoop)
	return []Capability{
		{KindTree, nil},
		{CapabilityLoop, loop},
		{KindErofs, try(func() error { return hasFilesystem(KindErofs) })},
		{KindSquashfs, try(func() error { return hasFilesystem(KindSquashfs) })},
		{KindDisk, nil},
		{CapabilityVerity, try(verity.Available)},
	}
}

// mayMount looks for CAP_SYS_ADMIN.
func mayMount() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return ErrUnprivileged
	}
	return nil
}

func hasLoop() error {
	f, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return lacks("loop devices", err)
	}
	return f.Close()
}

// hasFilesystem asks for the file system itself, which /proc/filesystems would not
// name before its module is loaded.
func hasFilesystem(kind string) error {
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("the kernel is older than 5.2: %w", err)
	}
	if err != nil {
		return lacks("the file system "+kind, err)
	}
	return unix.Close(fd)
}

// CanMount says why images of a kind cannot be used here from a file; nil: they can.
func CanMount(kind string) error {
	known := false
	for _, c := range Capabilities() {
		known = known || c.Name == kind
		if (c.Name == kind || c.Name == CapabilityLoop && mounted(kind)) && c.Err != nil {
			return c.Err
		}
	}
	if !known {
		return fmt.Errorf("%w: kind %q is unknown", ErrUnsupported, kind)
	}
	return nil
}

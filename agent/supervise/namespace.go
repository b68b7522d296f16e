package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts gives this thread a view of its own of the file systems. What is mounted or
// unmounted outside later is so here as well, where the system's mounts are shared, so
// that nothing stays busy by us.
func (c Confinement) mounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from going out: %w", err)
	}
	var problems []error
	for _, dir := range c.Hidden {
		problems = append(problems, hide(dir))
	}
	if c.Root != "" {
		problems = append(problems, readOnly(c.Root))
	}
	return errors.Join(problems...)
}

// hide lets go of what is mounted below a directory, which would otherwise be in use
// for as long as we run, and lays an empty one over it.
func hide(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	below, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(below) {
		if err := unix.Unmount(mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("let go of %s: %w", mount, err)
		}
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("none", dir, "tmpfs", flags, "size=4k,mode=0555"); err != nil {
		return fmt.Errorf("hide %s: %w", dir, err)
	}
	return nil
}

func readOnly(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	const flags = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return nil
}

// mountsBelow are the places of mounts at a directory and below, in the order in which
// they were made.
func mountsBelow(dir string) (places []string, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		if place := unescape(fields[4]); place == dir || strings.HasPrefix(place, dir+"/") {
			places = append(places, place)
		}
	}
	return places, lines.Err()
}

// unescape undoes what the kernel does to odd characters of a path.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

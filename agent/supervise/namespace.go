package supervise

import (
	"bufio"
	"errors"
	"fmt"
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
	if err := c.letImagesGo(); err != nil {
		return err
	}
	for _, dir := range c.Hidden {
		if err := c.hide(dir); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	if c.Root == "" {
		return nil
	}
	if err := readOnly(c.Root); err != nil {
		return fmt.Errorf("make %s read-only: %w", c.Root, err)
	}
	return nil
}

// letImagesGo detaches images that the process does not need. Where the system's mounts
// are not shared, as without systemd, they would be in use for as long as it runs, and
// could neither be replaced nor removed.
func (c Confinement) letImagesGo() error {
	images, err := mountsWhere(func(place, source string) bool { return ofImage(source) && !c.needs(place) })
	if err != nil {
		return err
	}
	for _, place := range slices.Backward(images) {
		// What is gone by now was unmounted outside.
		if err := unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("let go of %s: %w", place, err)
		}
	}
	return nil
}

func ofImage(source string) bool {
	return slices.ContainsFunc([]string{"/dev/loop", "/dev/dm-", "/dev/mapper/"}, func(p string) bool { return strings.HasPrefix(source, p) })
}

// systemDirs are where programs and their libraries lie.
var systemDirs = []string{"/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/var"}

// needs says whether something that the process uses lies at a mount's place or below,
// or the mount belongs to the system.
func (c Confinement) needs(place string) bool {
	if slices.Contains(systemDirs, place) || strings.HasPrefix(place, "/usr/") || strings.HasPrefix(place, "/opt/") {
		return true
	}
	prefix := strings.TrimSuffix(place, "/") + "/"
	return slices.ContainsFunc(slices.Concat([]string{c.Root}, c.Read, c.Write, c.Devices), func(path string) bool {
		return strings.HasPrefix(path+"/", prefix)
	})
}

// hide lays an empty directory over one, with only what the process needs of it in its
// place. It lets go of what is mounted below, which would otherwise be in use for as
// long as the process runs.
func (c Confinement) hide(dir string) error {
	var trees []int
	defer func() {
		for _, fd := range trees {
			unix.Close(fd)
		}
	}()
	visible := c.visible(dir)
	for _, path := range visible {
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("keep %s: %w", path, err)
		}
		trees = append(trees, fd)
	}
	below, err := mountsWhere(func(place, _ string) bool { return strings.HasPrefix(place, dir+"/") })
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(below) {
		if err := unix.Unmount(mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("let go of %s: %w", mount, err)
		}
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("none", dir, "tmpfs", flags, "size=64k,mode=0755"); err != nil {
		return err
	}
	for i, path := range visible {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(trees[i], "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("keep %s: %w", path, err)
		}
	}
	return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, "")
}

// visible are the directories below a hidden one that the process is to see.
func (c Confinement) visible(dir string) (paths []string) {
	for _, path := range slices.Concat([]string{c.Root}, c.Read, c.Write) {
		info, err := os.Lstat(path)
		if err == nil && info.IsDir() && strings.HasPrefix(path, dir+"/") {
			paths = append(paths, path)
		}
	}
	return paths
}

func readOnly(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
}

// mountsWhere are the places of mounts that are wanted, in the order in which they
// were made (proc_pid_mountinfo(5)).
func mountsWhere(wanted func(place, source string) bool) (places []string, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo") // not self: only this thread is elsewhere
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 2 {
			continue
		}
		if place := unescape(where[4]); wanted(place, unescape(what[1])) {
			places = append(places, place)
		}
	}
	return places, lines.Err()
}

// unescape undoes what the kernel does to odd characters of a path.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

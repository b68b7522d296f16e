package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// minLandlock is the first version in which a process may be allowed to rename a
// file from one of its directories to another (Linux 5.19); in the first version none
// may, and programs that do so would fail.
const minLandlock = 2

// maxRules bounds the rules of one process, and so how long it takes to make them.
const maxRules = 8192

const (
	lookFiles  = unix.LANDLOCK_ACCESS_FS_READ_DIR
	readFiles  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
	writeFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	useDevices = writeFiles | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	allFiles   = useDevices | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	// ofFiles are those that mean something for what is no directory.
	ofFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// anyDevices are those that any program uses.
var anyDevices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm",
}

// ruleset is a Landlock ruleset under construction (landlock(7)).
type ruleset struct {
	fd      int
	handled uint64
	rules   int
}

// landlock makes the rules. What is not named may be read and executed, but for what
// is private and for devices; nothing can be both written and executed.
func (c Confinement) landlock() (*ruleset, error) {
	r, err := newRuleset()
	if err != nil {
		return nil, err
	}
	err = r.allow("/", lookFiles)
	if err == nil {
		err = r.allowAllBut("/", append([]string{"/dev"}, c.Private...))
	}
	for _, paths := range []struct {
		list   []string
		access uint64
	}{
		{append([]string{c.Root}, c.Read...), readFiles},
		{append([]string{"/proc/self"}, c.Write...), writeFiles},
		{append(globbed(c.Devices), anyDevices...), useDevices},
	} {
		for _, path := range paths.list {
			if err == nil && path != "" {
				err = r.allow(path, paths.access)
			}
		}
	}
	if err != nil {
		unix.Close(r.fd)
		return nil, err
	}
	return r, nil
}

func newRuleset() (*ruleset, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.ENOSYS || errno == unix.EOPNOTSUPP:
		return nil, errors.New("this kernel has no Landlock, or it is turned off: boot with lsm=landlock,…")
	case errno != 0:
		return nil, fmt.Errorf("ask for Landlock: %w", errno)
	case version < minLandlock:
		return nil, fmt.Errorf("this kernel's Landlock is of version %d; %d is needed (Linux 5.19)", version, minLandlock)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: allFiles}
	if version < 3 {
		attr.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version < 5 {
		attr.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return nil, fmt.Errorf("make Landlock rules: %w", errno)
	}
	return &ruleset{fd: int(fd), handled: attr.Handled_access_fs}, nil
}

// allow adds a rule for a path and all below; of what is not there it adds none.
func (r *ruleset) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // nothing that could be allowed
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFiles
	}
	if r.rules++; r.rules > maxRules {
		return fmt.Errorf("more than %d Landlock rules are needed", maxRules)
	}
	// The kernel's structure is packed, and its twelve bytes are the first of ours.
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access & r.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add a Landlock rule for %s: %w", path, errno)
	}
	return nil
}

// allowAllBut lets everything below a directory be read but what is private. Rules
// only add up, so beside each private directory all others are named. What is made in
// one of those that hold a private one later is not covered.
func (r *ruleset) allowAllBut(dir string, private []string) error {
	if slices.Contains(private, dir) {
		return nil
	}
	prefix := strings.TrimSuffix(dir, "/") + "/"
	if !slices.ContainsFunc(private, func(p string) bool { return strings.HasPrefix(p, prefix) }) {
		return r.allow(dir, readFiles)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue // where it leads to is judged there
		}
		if err := r.allowAllBut(filepath.Join(dir, e.Name()), private); err != nil {
			return err
		}
	}
	return nil
}

// restrict puts the rules in force for this thread, for good. It needs
// no-new-privileges, or CAP_SYS_ADMIN.
func (r *ruleset) restrict() error {
	defer unix.Close(r.fd)
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); errno != 0 {
		return fmt.Errorf("put Landlock rules in force: %w", errno)
	}
	return nil
}

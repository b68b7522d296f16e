package supervise

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launchName is argv[0] of our own program when it is to become another one.
const launchName = "slipstream-launch"

// maxOrder bounds what a launcher is told.
const maxOrder = 1 << 20

// canLaunch: this program has called Launch, so that it can be started as a launcher.
var canLaunch bool

// order is what a launcher is told by its standard input.
type order struct {
	Path        string      `json:"path"`
	Args        []string    `json:"args"` // with argv[0]
	Dir         string      `json:"dir,omitempty"`
	Files       []string    `json:"files,omitempty"` // names of the descriptors 3 and up
	Confinement Confinement `json:"confinement"`
	Try         bool        `json:"try,omitempty"` // only tell what would be
}

// report is what it answers; the end of the connection says that the program runs.
type report struct {
	Protections []Protection `json:"protections,omitempty"`
	Error       string       `json:"error,omitempty"`
}

// Launch must be called first in main of a program that supervises. It returns unless
// the program was started to become another one: our own binary is what a confined
// process runs first, for some milliseconds, because much can only be done by a process
// to itself. It keeps its number, so the pidfd, the cgroup and the adoption record mean
// the program.
func Launch() {
	if len(os.Args) == 0 || os.Args[0] != launchName {
		canLaunch = true
		return
	}
	runtime.LockOSThread() // what a thread does to itself it must then also execute with
	if err := launch(); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream:", err)
		os.Exit(launchFailed)
	}
	os.Exit(0)
}

// launchFailed is env(1)'s and nohup(1)'s status for a program that cannot be run.
const launchFailed = 126

func launch() error {
	agent, err := takeStdin()
	if err != nil {
		return err
	}
	var o order
	if err := json.NewDecoder(io.LimitReader(agent, maxOrder)).Decode(&o); err != nil {
		return fmt.Errorf("the agent ended before it said what to start: %w", err)
	}
	err = o.obey(func(r report) error { return json.NewEncoder(agent).Encode(r) })
	if err != nil {
		_ = json.NewEncoder(agent).Encode(report{Error: err.Error()}) // if nobody listens, the exit status remains
	}
	return err
}

// takeStdin moves the connection to the agent to where the program does not inherit it.
func takeStdin() (*os.File, error) {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Dup3(null, 0, 0)
		unix.Close(null)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "agent"), nil
}

// obey returns only if the program cannot be run, or if nothing was to be.
func (o order) obey(tell func(report) error) error {
	done, err := o.Confinement.apply(o.Try)
	if err != nil {
		return err
	}
	if errTell := tell(report{Protections: done}); errTell != nil {
		return fmt.Errorf("the agent ended: %w", errTell) // and nobody would know of the program
	}
	if o.Try {
		return nil
	}
	if o.Dir != "" {
		if err := os.Chdir(o.Dir); err != nil { // its place among the new mounts
			return err
		}
	}
	err = syscall.Exec(o.Path, o.Args, o.environ())
	return &fs.PathError{Op: "exec", Path: o.Path, Err: err}
}

// environ adds what speaks of the process's own number (sd_listen_fds(3),
// sd_watchdog_enabled(3)).
func (o order) environ() []string {
	env, pid := os.Environ(), strconv.Itoa(os.Getpid())
	if len(o.Files) > 0 {
		env = append(env, "LISTEN_PID="+pid, "LISTEN_FDS="+strconv.Itoa(len(o.Files)), "LISTEN_FDNAMES="+strings.Join(o.Files, ":"))
	}
	if _, watched := os.LookupEnv("WATCHDOG_USEC"); watched {
		env = append(env, "WATCHDOG_PID="+pid)
	}
	return dedupe(env)
}

// apply confines this thread, from what needs most privileges to what needs none.
func (c Confinement) apply(try bool) ([]Protection, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	unix.Umask(0o022)
	mounts := c.mounts()
	rules, errRules := c.landlock() // opens paths that another user might not reach
	capabilities := dropCapabilities()
	var user error
	if c.User != nil {
		user = c.User.become()
		if user != nil && !try {
			return nil, fmt.Errorf("become user %d: %w", c.User.UID, user)
		}
	} else {
		user = errors.New(cmp.Or(c.WhyNoUser, errNoUser.Error()))
	}
	unix.Umask(c.Umask)
	privileges := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if errRules == nil {
		errRules = rules.restrict()
	}
	return []Protection{
		protection(ProtectUser, user), protection(ProtectPrivileges, privileges),
		protection(ProtectCapabilities, capabilities), protection(ProtectMounts, mounts), protection(ProtectLandlock, errRules),
	}, nil
}

// become takes all threads along, although only one of them executes the program.
func (u User) become() error {
	if err := syscall.Setgroups(append([]int{u.GID}, u.Groups...)); err != nil {
		return err
	}
	if err := syscall.Setresgid(u.GID, u.GID, u.GID); err != nil {
		return err
	}
	return syscall.Setresuid(u.UID, u.UID, u.UID)
}

// maxNewCaps bounds the look for capabilities that are newer than this program.
const maxNewCaps = 64

// dropCapabilities empties the bounding set, so that the program has none even as
// root. Those that this thread has meanwhile end with it.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	for c := range unix.CAP_LAST_CAP + maxNewCaps {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); {
		case errors.Is(err, unix.EINVAL):
			return inheritNone() // the kernel has no more
		case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
			return nil // it has none, and no-new-privileges keeps it so
		case err != nil:
			return fmt.Errorf("drop a capability: %w", err)
		}
	}
	return inheritNone()
}

func inheritNone() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&head, &sets[0])
}

// globbed are the files that patterns mean now.
func globbed(patterns []string) (paths []string) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err == nil {
			paths = append(paths, found...)
		}
	}
	return paths
}

package supervise

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupPrefix = "slipstream-"
	placeBytes  = 4 // of a run directory's digest
	probeName   = "probe"
	maxProcs    = 1 << 20 // bytes read of cgroup.procs
	// removeTries bounds the wait for a cgroup's last process to leave it, which it
	// does a moment after its end was told.
	removeTries = 1000
	removePause = 2 * time.Millisecond
)

// Groups is the place below which a device's cgroups are made.
type Groups struct {
	dir      string
	clones   bool // processes can be born in them
	occupied bool // a controller was refused for the processes in the place itself
}

// NewGroups finds out whether cgroups can be made below parent, or if that is ""
// below our own. It keeps apart what belongs to another run directory.
func NewGroups(parent, runDir string) (*Groups, error) {
	if parent == "" {
		var err error
		if parent, err = groupOf("self"); err != nil {
			return nil, err
		}
		parent = placeAbove(parent)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(parent, &fs); err != nil {
		return nil, fmt.Errorf("look at cgroup %s: %w", parent, err)
	}
	if uint32(fs.Type) != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is no cgroup of version 2", parent)
	}
	s := &Groups{dir: filepath.Join(parent, placeOf(runDir))}
	if err := os.Mkdir(s.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	// The root of all cgroups has no freezer, so this one is asked for its own.
	if err := unix.Access(filepath.Join(s.dir, "cgroup.freeze"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("freeze cgroup %s: %w", s.dir, err)
	}
	var err error
	s.clones, err = s.canClone()
	return s, err
}

// placeOf names the place of a run directory's cgroups.
func placeOf(runDir string) string {
	sum := sha256.Sum256([]byte(runDir))
	return groupPrefix + hex.EncodeToString(sum[:placeBytes])
}

// groupOf is the directory of a process's cgroup of version 2.
func groupOf(process string) (string, error) {
	name, err := groupName(process)
	if err != nil {
		return "", err
	}
	mount, root, err := groupMount()
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("cgroup %s is not mounted here", name)
	}
	return filepath.Join(mount, rel), nil
}

// groupName is what the kernel calls it.
func groupName(process string) (string, error) {
	raw, err := os.ReadFile("/proc/" + process + "/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if name, found := strings.CutPrefix(line, "0::"); found {
			return name, nil
		}
	}
	return "", errors.New("this kernel has no cgroups of version 2")
}

// sameGroup says whether a process is in the cgroup that was made for another one, or
// below it. It is not told if none was made for that, or if one of both cannot be looked at.
func sameGroup(owner, pid int) (same, told bool) {
	own, errOwn := groupName(strconv.Itoa(owner))
	its, errIts := groupName(strconv.Itoa(pid))
	place := filepath.Dir(own)
	if errOwn != nil || errIts != nil || !isPlace(filepath.Base(place)) {
		return false, false
	}
	same = its == own || strings.HasPrefix(its, own+"/")
	return same, same || strings.HasPrefix(its, place+"/")
}

// isPlace says whether a cgroup's name is one that placeOf gives.
func isPlace(name string) bool {
	sum, found := strings.CutPrefix(name, groupPrefix)
	raw, err := hex.DecodeString(sum)
	return found && err == nil && len(raw) == placeBytes
}

// groupMount finds where cgroups of version 2 are mounted, and which of them is at
// that place (proc_pid_mountinfo(5)).
func groupMount() (mount, root string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4], fields[3], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", "", err
	}
	return "", "", errors.New("no cgroups of version 2 are mounted")
}

// Group is a cgroup whose processes can be frozen, and killed together.
type Group struct {
	path   string
	clones bool

	mu     sync.Mutex // guards what follows
	dir    int        // descriptors; −1 after the end
	freeze int
}

// Make makes a new group; whatever was left in one of this name is killed.
func (s *Groups) Make(name string) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, name)
	err := os.MkdirAll(s.dir, 0o755) // somebody may have cleared up
	if err == nil {
		err = os.Mkdir(path, 0o755)
	}
	if errors.Is(err, os.ErrExist) {
		old, errOld := openGroup(path)
		if errOld != nil {
			return nil, errOld
		}
		if err = old.End(); err == nil {
			err = os.Mkdir(path, 0o755)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	g, err := openGroup(path)
	if err == nil {
		g.clones = s.clones
	}
	return g, err
}

// canClone says whether a process can be born into a group. Kernels up to 6.18 at
// least compare the wrong cgroups when one is, and so kill it at birth if its
// parent's cgroup, or the group, was ever killed as a whole. A program that does not
// exist is told by its error; a process that was killed before tells nothing.
func (s *Groups) canClone() (bool, error) {
	g, err := s.Make(probeName)
	if err != nil {
		return false, err
	}
	defer func() { _ = g.End() }() // empty: it was never used
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.dir}}
	pid, _, err := syscall.StartProcess(filepath.Join(g.path, "none"), []string{"none"}, attr)
	if err == nil {
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return errors.Is(err, unix.ENOENT), nil
}

// take puts a running process into the group. What it has started before stays
// outside; a program takes longer to begin than this does.
func (g *Group) take(pid int) error {
	fd, err := unix.Openat(g.dir, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open cgroup %s: %w", g.path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, strconv.AppendInt(nil, int64(pid), 10)); err != nil {
		return fmt.Errorf("put a process into cgroup %s: %w", g.path, err)
	}
	return nil
}

// FindGroup returns the group of a process that was adopted, wherever the agent that
// made it was; nil if the process has none of this name and run directory.
func FindGroup(runDir, name string, pid int) *Group {
	dir, err := groupOf(strconv.Itoa(pid))
	if err != nil || filepath.Base(dir) != name || filepath.Base(filepath.Dir(dir)) != placeOf(runDir) {
		return nil
	}
	g, err := openGroup(dir)
	if err != nil {
		return nil
	}
	return g
}

// Clean removes groups that nothing runs in, but for those of these names.
func (s *Groups) Clean(but ...string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(but, e.Name()) {
			_ = removeTree(filepath.Join(s.dir, e.Name())) // refused if it is in use
		}
	}
}

// Remove removes the place itself, if no group is left in it.
func (s *Groups) Remove() {
	s.Clean()
	unix.Rmdir(s.dir)
}

func openGroup(path string) (*Group, error) {
	g := &Group{path: path, freeze: -1}
	var err error
	if g.dir, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", path, err)
	}
	if g.freeze, err = unix.Openat(g.dir, "cgroup.freeze", unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		unix.Close(g.dir)
		return nil, fmt.Errorf("open the freezer of cgroup %s: %w", path, err)
	}
	return g, nil
}

// Path is the group's directory.
func (g *Group) Path() string { return g.path }

// Freezer opens the group's cgroup.freeze for writing once more, for another process
// that may have to thaw it. It returns −1 after the group's end.
func (g *Group) Freezer() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	fd, err := unix.FcntlInt(uintptr(g.freeze), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// Freeze stops all processes of the group where they are. It does not wait until
// they have stopped.
func (g *Group) Freeze() error { return g.write("1") }

// Thaw lets them go on. A frozen process can be killed, but hears no other signal.
func (g *Group) Thaw() error { return g.write("0") }

func (g *Group) write(value string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := unix.Pwrite(g.freeze, []byte(value), 0); err != nil {
		return fmt.Errorf("write %s to the freezer of cgroup %s: %w", value, g.path, err)
	}
	return nil
}

// End kills whatever is in the group, and removes it.
func (g *Group) End() error {
	defer g.Close()
	for try := 0; ; try++ {
		if err := g.kill(); err != nil {
			return err
		}
		err := removeTree(g.path)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || try == removeTries {
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		}
		time.Sleep(removePause)
	}
}

// removeTree removes a group with those that an app has made in it, of which none may
// be in use.
func removeTree(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return unix.Rmdir(path)
}

// kill uses cgroup.kill, which has no gap for one that forks (Linux 5.14). Before
// that the processes are killed one by one: only ours are in a group that we made.
func (g *Group) kill() error {
	fd, err := unix.Openat(g.dir, "cgroup.kill", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return g.killEach()
	}
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("1")); err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	return nil
}

func (g *Group) killEach() error {
	pids, err := g.pids()
	for _, pid := range pids {
		fd, errOpen := unix.PidfdOpen(pid, 0)
		if errOpen != nil {
			continue // it has ended
		}
		if again, err := g.pids(); err == nil && slices.Contains(again, pid) {
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
	return err
}

func (g *Group) pids() ([]int, error) {
	fd, err := unix.Openat(g.dir, "cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("look into cgroup %s: %w", g.path, err)
	}
	f := os.NewFile(uintptr(fd), "cgroup.procs")
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxProcs))
	if err != nil {
		return nil, fmt.Errorf("look into cgroup %s: %w", g.path, err)
	}
	var pids []int
	for word := range strings.FieldsSeq(string(raw)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Close lets go of the group and leaves it as it is, for a later agent to find.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	unix.Close(g.dir)
	unix.Close(g.freeze)
	g.dir, g.freeze = -1, -1
}

package supervise_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"slipstream/agent/supervise"
)

// newGroups skips where no cgroups can be made, which is no fault of the code.
func newGroups(t *testing.T) *supervise.Groups { return newGroupsOf(t, t.TempDir()) }

func newGroupsOf(t *testing.T, run string) *supervise.Groups {
	t.Helper()
	s, err := supervise.NewGroups("", run)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(s.Remove)
	return s
}

func newGroup(t *testing.T, s *supervise.Groups, name string) *supervise.Group {
	t.Helper()
	g, err := s.Make(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.End() })
	return g
}

// A counter shows whether it runs by what it prints.
const counter = `i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done`

func lines(p *supervise.Process) string { return strings.Join(p.LogTail(1), "") }

func TestAGroupIsFrozenAndThawed(t *testing.T) {
	t.Parallel()
	g := newGroup(t, newGroups(t), "b-1")
	spec := shell("b-1", counter)
	spec.Group = g
	p := start(t, newSupervisor(t, t.TempDir()), spec)
	printed(t, p, "3")
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is frozen", func() bool { return frozen(t, p.PID()) })
	before := lines(p)
	freezer := os.NewFile(uintptr(g.Freezer()), "freezer")
	defer freezer.Close()
	if _, err := freezer.WriteAt([]byte("0"), 0); err != nil { // as the forwarder does
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return lines(p) != before })
}

// frozen asks the kernel, which tells of the whole cgroup.
func frozen(t *testing.T, pid int) bool {
	raw, err := os.ReadFile(filepath.Join(groupOf(t, pid), "cgroup.events"))
	return err == nil && strings.Contains(string(raw), "frozen 1")
}

// groupOf is the directory of a process's cgroup, found by its last two names.
func groupOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if path, found := strings.CutPrefix(line, "0::"); found {
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				if _, err := os.Stat(filepath.Join(mount, path, "cgroup.events")); err == nil {
					return filepath.Join(mount, path)
				}
			}
		}
	}
	t.Fatalf("no cgroup of process %d: %s", pid, raw)
	return ""
}

// What runs in the group ends with it, frozen or not, whatever it has called itself,
// and groups that it has made go too.
func TestAGroupEnds(t *testing.T) {
	t.Parallel()
	for _, ice := range []bool{false, true} {
		s := newGroups(t)
		if ice {
			supervise.WithoutClone(s)
		}
		g := newGroup(t, s, "b-1")
		spec := helper("b-1", "nameless")
		spec.Env, spec.Group = append(os.Environ(), "SUPERVISE_TEST_ROLE=nameless"), g
		p := start(t, newSupervisor(t, t.TempDir()), spec)
		pid := number(t, printed(t, p, "nameless"))
		dir := groupOf(t, pid)
		if err := os.MkdirAll(filepath.Join(dir, "own", "deeper"), 0o755); err != nil { // as apps may
			t.Fatal(err)
		}
		if ice {
			if err := g.Freeze(); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.End(); err != nil {
			t.Fatal(err)
		}
		waitDone(t, p)
		if alive(pid) {
			t.Errorf("process %d lives, frozen %v", pid, ice)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
		if g.Freezer() >= 0 || g.Thaw() == nil {
			t.Error("an ended group can be thawed")
		}
		p.Kill()
	}
}

// A later agent finds the group of a process, and no other's.
func TestAGroupIsFound(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	s := newGroupsOf(t, run)
	g := newGroup(t, s, "b-1")
	spec := shell("b-1", "exec sleep 1000")
	spec.Group = g
	p := start(t, newSupervisor(t, t.TempDir()), spec)
	for _, found := range []*supervise.Group{
		supervise.FindGroup(run, "b-1", os.Getpid()), supervise.FindGroup(run, "b-2", p.PID()), supervise.FindGroup("/run", "b-1", p.PID()),
	} {
		if found != nil {
			t.Error("another group was found")
		}
	}
	found := supervise.FindGroup(run, "b-1", p.PID())
	if found == nil {
		t.Fatal("not found")
	}
	s.Clean() // does not remove what is in use
	if err := found.End(); err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
}

func TestGroupsNeedAPlace(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{t.TempDir(), "/does/not/exist"} {
		if _, err := supervise.NewGroups(parent, "/run/x"); err == nil {
			t.Errorf("groups below %s", parent)
		}
	}
}

// A process that cannot be put into its group is ended, and nothing of it stays open.
func TestAGroupThatTakesNobody(t *testing.T) {
	g, err := supervise.BrokenGroup(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	s, before := newSupervisor(t, t.TempDir()), pidfdsOfTheDead(t)
	spec := shell("b-1", "exec sleep 1000")
	spec.Group = g
	for range 3 {
		if p, err := s.Start(spec); err == nil {
			p.Kill()
			t.Fatal("it was started outside of its group")
		}
	}
	if after := pidfdsOfTheDead(t); after > before { // others' are closed when they are garbage
		t.Errorf("%d descriptors of ended processes are open, before it were %d", after, before)
	}
}

// pidfdsOfTheDead counts our pidfds whose process is gone and reaped.
func pidfdsOfTheDead(t *testing.T) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range infos {
		if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), "\nPid:\t-1\n") {
			n++
		}
	}
	return n
}

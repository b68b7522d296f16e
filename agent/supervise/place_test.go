package supervise_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
)

// mountOfGroups is where cgroups of version 2 are on machines with version 1 beside, and
// where else.
func mountOfGroups(t *testing.T) string {
	t.Helper()
	for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
			return mount
		}
	}
	t.Skip("no cgroups of version 2 are mounted here: the rig has them")
	return ""
}

// givenGroup is a cgroup of the test's own as systemd's Delegate=yes gives one, with any
// controller that knows the rule of inner processes.
func givenGroup(t *testing.T) (dir, controller string) {
	t.Helper()
	mount := mountOfGroups(t)
	dir = filepath.Join(mount, "slipstream-given-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	there := words(t, filepath.Join(mount, "cgroup.controllers"))
	for _, c := range []string{"memory", "hugetlb", "io"} { // none that may be threaded
		if !strings.Contains(there, c) {
			continue
		}
		if !strings.Contains(words(t, filepath.Join(mount, "cgroup.subtree_control")), c) {
			control := filepath.Join(mount, "cgroup.subtree_control")
			if err := os.WriteFile(control, []byte("+"+c), 0o644); err != nil {
				continue
			}
			t.Cleanup(func() { os.WriteFile(control, []byte("-"+c), 0o644) }) // after ours is removed: refused if somebody else uses it
		}
		return dir, c
	}
	t.Skipf("this kernel's cgroups of version 2 have no controller to try it with (%q): the rig has", there)
	return "", ""
}

func words(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// place is an agent's process that tries to give a controller to the groups of its apps.
func placeHelper(args []string) {
	say := func(a ...any) { fmt.Println(a...) }
	s, err := supervise.NewGroups("", args[0])
	if err != nil {
		say("no groups:", err)
		return
	}
	defer s.Remove()
	err = supervise.Enable(s, args[1])
	say("before:", err)
	say("occupied:", s.Occupied())
	if args[2] == "stranger" {
		say("step aside:", s.StepAside(func(pid int) bool { return pid == os.Getpid() }))
		return
	}
	sup := supervise.New(args[0], nil)
	say("step aside:", s.StepAside(sup.Ours))
	say("after:", supervise.Enable(s, args[1]))
	own, err := os.ReadFile("/proc/self/cgroup")
	say("own:", strings.Contains(string(own), "/"+supervise.OwnGroup+"\n"), err)
	again, err := supervise.NewGroups("", args[0]) // the agent's successor
	say("again:", err == nil && supervise.Dir(again) == supervise.Dir(s))
	given := filepath.Dir(supervise.Dir(s))
	say("full:", exec.Command("/bin/true").Run())
	say("room:", supervise.MakeRoomIn(given))
	on, err := os.ReadFile(filepath.Join(given, "cgroup.subtree_control"))
	say("left:", strings.TrimSpace(string(on)), err)
}

// inGroup runs a helper that is born in a cgroup, and returns what it has said.
func inGroup(t *testing.T, dir string, args ...string) string {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "SUPERVISE_TEST_ROLE=place")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, supervise.OwnGroup)); err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	return string(out)
}

// A cgroup that gives controllers on may hold no process: the agent has to leave it.
func TestTheAgentStepsAside(t *testing.T) {
	dir, controller := givenGroup(t)
	said := inGroup(t, dir, t.TempDir(), controller, "alone")
	for _, want := range []string{
		"before: cgroup " + dir + " cannot give the controller " + controller, "occupied: true", "step aside: <nil>", "after: <nil>", "own: true <nil>",
		"again: true", "full: <nil>", "room: <nil>", "left:  <nil>",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// The kernel would take it for a controller of threads, and no process could be put into the
// cgroups below any more; so files stand for a kernel that takes everything.
func TestNothingIsGivenOnOverProcesses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		inside, given string
		err           error
	}{{"", "+pids", nil}, {"17\n", "", unix.EBUSY}} {
		dir := t.TempDir()
		for name, text := range map[string]string{"cgroup.type": "domain\n", "cgroup.procs": c.inside, "cgroup.subtree_control": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := supervise.GiveOn(dir, "pids"); !errors.Is(err, c.err) {
			t.Errorf("with the processes %q: %v", c.inside, err)
		}
		if given := words(t, filepath.Join(dir, "cgroup.subtree_control")); given != c.given {
			t.Errorf("with the processes %q it has given on %q", c.inside, given)
		}
	}
}

// What is not the agent's is not moved.
func TestStrangersStayWhereTheyAre(t *testing.T) {
	dir, controller := givenGroup(t)
	stranger := exec.Command("/bin/sleep", "1000")
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stranger.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	said := inGroup(t, dir, t.TempDir(), controller, "stranger")
	if want := fmt.Sprintf("process %d runs in cgroup %s too", stranger.Process.Pid, dir); !strings.Contains(said, want) {
		t.Errorf("not said: %s\n%s", want, said)
	}
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", stranger.Process.Pid)); err != nil || strings.Contains(string(raw), supervise.OwnGroup) {
		t.Errorf("it was moved: %s, %v", raw, err)
	}
	if err := stranger.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = stranger.Wait() // killed
	eventually(t, "the cgroup is empty", func() bool { return words(t, filepath.Join(dir, "cgroup.procs")) == "" })
}

package agent_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/supervise"
	"slipstream/verify"
)

// withGroups skips where apps cannot have cgroups, which is no fault of the code.
func withGroups(t *testing.T) {
	t.Helper()
	groups, err := supervise.NewGroups("", t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	groups.Remove()
}

func overlap(how string) func(*verify.Manifest) {
	return func(m *verify.Manifest) { m.App.Overlap = how }
}

// isFrozen asks the kernel about the whole cgroup of a process.
func isFrozen(t *testing.T, pid int) bool {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		path, found := strings.CutPrefix(line, "0::")
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			if events, err := os.ReadFile(filepath.Join(mount, path, "cgroup.events")); found && err == nil {
				return strings.Contains(string(events), "frozen 1")
			}
		}
	}
	t.Fatalf("no cgroup of process %d: %s", pid, raw)
	return false
}

// becomes waits for the kernel to have frozen, or thawed, a process.
func becomes(t *testing.T, pid int, frozen bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); isFrozen(t, pid) != frozen; {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("process %d is not frozen=%v", pid, frozen)
		}
	}
}

func TestOldVersionIsFrozen(t *testing.T) {
	t.Parallel()
	withGroups(t)
	d := newDevice(t)
	d.mustInstall("1.0.0")
	old := slot(d.wait("old app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID

	d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapFrozen)))
	d.wait("trial", func(s control.Status) bool { return s.Phase == "trial" && slot(s, "a").App == "frozen" })
	becomes(t, old, true)
	d.restart()
	d.wait("trial again", func(s control.Status) bool { return s.Phase == "trial" && slot(s, "a").App == "frozen" })
	becomes(t, old, true)
	if r := d.agent.Revert(t.Context()); r.Exit != control.ExitDone {
		t.Fatalf("revert: %+v", r)
	}
	becomes(t, old, false)
	if r := d.last(); r.Overlap != "frozen" || r.Reason != "operator" {
		t.Errorf("history: %+v", r)
	}

	if r := d.install(d.pack("3.0.0", goodApp, overlap(verify.OverlapFrozen))); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	s := d.wait("end of the old app", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	if s.Permanent != "3.0.0" || len(s.Problems) != 0 {
		t.Errorf("status: %+v", s)
	}
}

// The forwarder thaws the old version by itself; no agent is needed for that.
func TestFrozenVersionIsThawedWithoutAnAgent(t *testing.T) {
	t.Parallel()
	withGroups(t)
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapFrozen)))
	s := d.wait("trial", func(s control.Status) bool { return s.Phase == "trial" && slot(s, "a").App == "frozen" })
	old := slot(s, "a").PID
	becomes(t, old, true)
	d.end()
	<-d.ended
	d.must(syscall.Kill(slot(s, "b").PID, syscall.SIGKILL))
	becomes(t, old, false)
	d.boot()
	d.wait("revert", func(s control.Status) bool {
		return s.Phase == "idle" && slot(s, "a").App == "ready" && slot(s, "a").PID == old
	})
	if r := d.last(); r.Outcome != control.OutcomeReverted || r.Reason != "exit" {
		t.Errorf("history: %+v", r)
	}
	becomes(t, old, false)
}

// A new forwarder has no freezer: the agent thaws before it asks anything of it.
func TestFrozenVersionOutlivesTheForwarder(t *testing.T) {
	t.Parallel()
	withGroups(t)
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapFrozen)))
	s := d.wait("trial", func(s control.Status) bool { return s.Phase == "trial" && slot(s, "a").App == "frozen" })
	old := slot(s, "a").PID
	becomes(t, old, true)
	d.must(syscall.Kill(forwarderPID(t, d), syscall.SIGKILL))
	d.wait("revert", inPhase("idle"))
	becomes(t, old, false)
}

func TestWithoutCgroupsBothRunInFull(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.cfg.Cgroup = t.TempDir()
	d.restart()
	d.mustInstall("1.0.0")
	d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapFrozen)))
	s := d.wait("problem", func(s control.Status) bool { return s.Phase == "trial" && len(s.Problems) == 1 })
	if slot(s, "a").App != "ready" || !strings.Contains(s.Problems[0], "both run in full here") {
		t.Errorf("status: %+v", s)
	}
	d.must(os.WriteFile(s.Trial.Marker, nil, 0o644))
	d.wait("commit", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "2.0.0" })
}

func TestOldVersionMakesRoom(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	old := slot(d.wait("old app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID
	d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapNone)))
	s := d.wait("trial", inPhase("trial"))
	if slot(s, "a").App != "away" || slot(s, "a").PID != 0 {
		t.Errorf("slot a: %+v", slot(s, "a"))
	}
	if err := syscall.Kill(old, 0); err == nil {
		t.Errorf("process %d still runs", old)
	}
	d.restart()
	d.wait("trial again", inPhase("trial"))
	d.must(syscall.Kill(slot(s, "b").PID, syscall.SIGKILL))
	s = d.wait("return", func(s control.Status) bool { return s.Phase == "idle" && slot(s, "a").App == "ready" })
	if r := d.last(); r.Overlap != "none" || r.Reason != "exit" || len(r.Proof.Revert) != 1 || r.Proof.Revert[0].GapMS == 0 {
		t.Errorf("history: %+v, %+v", r, r.Proof)
	}
	if slot(s, "a").Restarts != 0 {
		t.Errorf("it counts as a crash: %+v", slot(s, "a"))
	}

	if r := d.install(d.pack("3.0.0", goodApp, overlap(verify.OverlapNone))); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	s = d.wait("new app", func(s control.Status) bool { return slot(s, "b").App == "ready" })
	if s.Permanent != "3.0.0" || slot(s, "a").App != "stopped" {
		t.Errorf("status: %+v", s)
	}
}

// Whatever dies while the old version is away, it comes back.
func TestOldVersionComesBack(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(d *device){
		"everything":    func(d *device) { d.must(d.agent.StopAll(d.Context())); d.boot() },
		"the forwarder": func(d *device) { d.must(syscall.Kill(forwarderPID(d.T, d), syscall.SIGKILL)) },
		"agent and app": func(d *device) {
			pid := slot(d.wait("trial", inPhase("trial")), "b").PID
			d.end()
			<-d.ended
			d.must(syscall.Kill(pid, syscall.SIGKILL))
			d.boot()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			d.mustInstall("1.0.0")
			d.begin(d.pack("2.0.0", mute, overlap(verify.OverlapNone)))
			d.wait("trial", inPhase("trial"))
			kill(d)
			d.wait("return", func(s control.Status) bool { return s.Phase == "idle" && slot(s, "a").App == "ready" })
			if r := d.last(); r.Outcome != control.OutcomeReverted || r.To != "2.0.0" {
				t.Errorf("history: %+v", r)
			}
		})
	}
}

// A damaged version makes nobody stop.
func TestDamagedVersionGetsNoRoom(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	old := slot(d.wait("old app", func(s control.Status) bool { return slot(s, "a").App == "ready" }), "a").PID
	if r := d.stage(d.pack("2.0.0", goodApp, overlap(verify.OverlapNone))); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	app := filepath.Join(d.cfg.State, "slots", "b", "root", "app")
	d.must(os.WriteFile(app, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755))
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit != control.ExitReverted || !strings.HasPrefix(r.Record.Detail, "not started") {
		t.Errorf("activate: %+v", r)
	}
	if s := d.wait("idle", inPhase("idle")); slot(s, "a").PID != old {
		t.Errorf("slot a: %+v", slot(s, "a"))
	}
}

// An agent may end after it has noted that an app is thawed and before it thaws it.
func TestAppThatOnlyTheJournalThawed(t *testing.T) {
	t.Parallel()
	withGroups(t)
	d := newDevice(t)
	d.mustInstall("1.0.0")
	s := d.wait("app", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	pid := slot(s, "a").PID
	d.end()
	<-d.ended
	g := supervise.FindGroup(d.cfg.Run, appSource(t, d.cfg.Run, pid), pid)
	if g == nil {
		t.Fatal("the app runs in no cgroup of its own")
	}
	defer g.Close()
	d.must(g.Freeze())
	becomes(t, pid, true)
	d.boot()
	becomes(t, pid, false)
}

// appSource is the name of the run that a process is.
func appSource(t *testing.T, run string, pid int) string {
	t.Helper()
	records, _ := filepath.Glob(filepath.Join(run, "proc", "*.json"))
	for _, path := range records {
		raw, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(raw), `"pid":`+strconv.Itoa(pid)+",") {
			return strings.TrimSuffix(filepath.Base(path), ".json")
		}
	}
	t.Fatalf("no record of process %d in %v", pid, records)
	return ""
}

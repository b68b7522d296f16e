package testrig_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"slipstream/agent/control"
	"slipstream/agent/supervise"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/verify"
)

// overlapping is a release that nobody greenlights and that overlaps in this way.
func overlapping(version, how string, fault camera.Fault) device.Release {
	rel := release(version)
	rel.Greenlight, rel.Fault, rel.App.Overlap = camera.Greenlight{By: "never"}, fault, how
	return rel
}

// The frozen version is on the screen again within a key frame, without an agent.
func TestFrozenVersionComesBack(t *testing.T) {
	t.Parallel()
	groups, err := supervise.NewGroups("", t.TempDir())
	if err != nil {
		t.Skip(err) // no cgroups here
	}
	groups.Remove()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	r.trialUnderWay(overlapping("3.0", verify.OverlapFrozen, camera.Fault{Kind: camera.FaultSEGV, AfterMS: 2500}))
	if _, err := r.WaitStatus(r.ctx, "frozen app", func(s control.Status) bool { return s.Slots[0].App == "frozen" }); err != nil {
		t.Fatal(err)
	}
	if err := r.KillAgent(); err != nil {
		t.Fatal(err)
	}
	crashed := r.sees(v, "3.0", from).First
	r.sees(v, "1.0", crashed)
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.agrees("1.0.0")
	h := r.newest()
	if h.Overlap != "frozen" || h.Proof == nil || len(h.Proof.Revert) != 1 || h.Proof.Revert[0].GapMS == 0 {
		t.Errorf("history: %+v, %+v", h, h.Proof)
	}
	t.Logf("gap at the revert: %+v", h.Proof)

	good := release("4.0")
	good.App.Overlap = verify.OverlapFrozen
	r.mustBecome(r.build(good))
	r.agrees("4.0.0")
	t.Logf("viewer: %+v", clean(t, v, from, publish.Monotonic()))
}

// Sessions are held while the versions change places, and the history has the gap.
func TestOldVersionMakesRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	r.trialUnderWay(overlapping("3.0", verify.OverlapNone, camera.Fault{Kind: camera.FaultSEGV, AfterMS: 2500}))
	crashed := r.sees(v, "3.0", from).First
	r.sees(v, "1.0", crashed)
	r.agrees("1.0.0")
	h := r.newest()
	if h.Overlap != "none" || h.Reason != "exit" && h.Reason != "eof" || h.Proof == nil ||
		len(h.Proof.Switch) != 1 || h.Proof.Switch[0].GapMS == 0 || len(h.Proof.Revert) != 1 || h.Proof.Revert[0].GapMS == 0 {
		t.Errorf("history: %+v, %+v", h, h.Proof)
	}
	t.Logf("gaps: %+v", h.Proof)

	good := release("4.0")
	good.App.Overlap = verify.OverlapNone
	r.mustBecome(r.build(good))
	r.agrees("4.0.0")
	t.Logf("viewer: %+v", clean(t, v, from, publish.Monotonic()))
}

// Whatever happens to the forwarder between two trials, viewers stay.
func TestForwarderIsReplacedAndKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	for range 2 {
		before := r.forwarderPID()
		if res := r.Client.ReplaceForwarder(r.ctx); res.Exit != control.ExitDone {
			t.Fatalf("replace: %+v", res)
		}
		if now := r.forwarderPID(); now == before {
			t.Fatal("the same forwarder serves")
		}
	}
	u := r.sees(v, "1.0", publish.Monotonic())
	t.Logf("replaced twice: %+v", clean(t, v, from, u.Last))

	killed := publish.Monotonic()
	if err := syscall.Kill(r.forwarderPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u = r.sees(v, "1.0", killed)
	t.Logf("killed → next frame at the viewer: %v; %+v", u.First-killed, clean(t, v, from, publish.Monotonic()))

	r.mustBecome(r.build(release("2.0")))
	r.agrees("2.0.0")
	if !v.Alive() {
		t.Errorf("the viewer ended: %s", v.Ended())
	}
}

// forwarderPID finds this device's forwarder by its run directory.
func (r *rig) forwarderPID() int {
	r.t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		raw, _ := os.ReadFile(f)
		if words := string(raw); strings.Contains(words, "slipstream-forward\x00") && strings.Contains(words, r.Config.Run+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	r.t.Fatal("no forwarder runs")
	return 0
}

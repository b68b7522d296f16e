package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

// back asks for the version before, and waits for the end of its trial.
func (d *device) back(force bool) control.Result {
	ctx, cancel := context.WithTimeout(d.Context(), patience)
	defer cancel()
	return d.agent.Return(ctx, control.ReturnRequest{Force: force, Wait: true})
}

func (d *device) oldAppEnds(name string) {
	d.Helper()
	d.wait("end of the old app", func(s control.Status) bool { return slot(s, name).App == "stopped" })
}

// What an operator takes back is over also for an agent that is started anew, and whoever
// asks once more is not sent round in circles.
func TestReturnToTheVersionBefore(t *testing.T) {
	d := newDevice(t)
	if r := d.agent.Return(d.Context(), control.ReturnRequest{}); r.Exit != control.ExitNothing {
		t.Errorf("a device without a version: %+v", r)
	}
	keeps := `echo "$SLIPSTREAM_VERSION" >>"$SLIPSTREAM_DATA/log"; ` + goodApp
	for _, version := range []string{"1.0.0", "2.0.0"} {
		if r := d.install(d.pack(version, keeps, nil)); r.Exit != control.ExitDone {
			t.Fatalf("install %s: %+v", version, r)
		}
	}
	d.oldAppEnds("a")
	r := d.back(false)
	if r.Exit != control.ExitDone || r.Record == nil || r.Record.Return != agent.CauseOperator || r.Record.To != "1.0.0" {
		t.Fatalf("back: %+v", r)
	}
	d.oldAppEnds("b")
	if got := record(t, d); got.Version != "1.0.0" || got.Counter != 2 || got.Previous == nil || got.Previous.Version != "2.0.0" {
		t.Errorf("active record: %+v", got)
	}
	if data, err := os.ReadFile(filepath.Join(d.cfg.State, "data", "a", "log")); err != nil || strings.TrimSpace(string(data)) != "1.0.0\n2.0.0\n1.0.0" {
		t.Errorf("the data that it was given: %q, %v", data, err)
	}
	if last := d.last(); last.Outcome != control.OutcomeReverted || last.To != "2.0.0" || last.Reason != agent.CauseOperator {
		t.Errorf("history: %+v", last)
	}
	d.restart()
	s := d.wait("idle", inPhase("idle"))
	if s.Permanent != "1.0.0" || slot(s, "b").State != control.StateReverted {
		t.Errorf("status: %+v", s)
	}
	if r := d.back(false); r.Exit != control.ExitRefused || r.Code != agent.CodeReverted {
		t.Errorf("and forth: %+v", r)
	}
	if r := d.back(true); r.Exit != control.ExitDone {
		t.Errorf("and forth by force: %+v", r)
	}
	d.mustInstall("3.0.0")
}

// A version before whose slot was damaged is not started, and needs no force once it is
// staged again.
func TestReturnToADamagedVersion(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.mustInstall("2.0.0")
	d.oldAppEnds("a")
	d.spoil("a")
	r := d.back(false)
	if r.Exit != control.ExitReverted || r.Record == nil || r.Record.Reason != agent.CauseDamaged {
		t.Errorf("back: %+v", r)
	}
	if r := d.back(false); r.Exit != control.ExitRefused || r.Code != agent.CodeGone {
		t.Errorf("once more: %+v", r)
	}
	if s := d.wait("idle", inPhase("idle")); s.Permanent != "2.0.0" || slot(s, "b").App != "ready" {
		t.Errorf("status: %+v", s)
	}
}

// Floors are never passed: an epoch that the newer version has raised is one.
func TestReturnIsRefusedBelowAFloor(t *testing.T) {
	d := newDevice(t)
	d.mustInstall("1.0.0")
	if r := d.install(d.pack("2.0.0", goodApp, func(m *verify.Manifest) { m.SecurityEpoch = 1 })); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	d.oldAppEnds("a")
	if r := d.back(true); r.Exit != control.ExitRefused || r.Code != agent.CodeEpoch || !strings.Contains(r.Message, "security epoch 0, lowest allowed 1") {
		t.Errorf("back: %+v", r)
	}
}

// A version that keeps ending is left for the one before, which becomes permanent in a trial
// of its own, and is not left for the other one again.
func TestAVersionThatKeepsEndingIsLeft(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	ends := `if [ "$SLIPSTREAM_ROLE" = permanent ]; then tell READY=1; echo last words; exit 7; fi; ` + goodApp
	if r := d.install(d.pack("2.0.0", ends, func(m *verify.Manifest) { m.App.RestartMax, m.App.RestartWindow = 0, 0 })); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	d.oldAppEnds("a")
	d.kill("b") // from now on it ends by itself
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for s := (control.Status{}); s.Permanent != "1.0.0" || s.Phase != "idle"; {
		next, err := d.agent.WaitStatus(ctx, s.Seq)
		if err != nil {
			t.Fatalf("it is not left: %v; %+v", err, s)
		}
		s = next
	}
	r := d.last()
	if r.Outcome != control.OutcomeReverted || r.To != "2.0.0" || r.Reason != agent.CauseCrashing || !strings.Contains(r.Detail, "exited with status 7") {
		t.Errorf("history: %+v", r)
	}
	if !strings.Contains(strings.Join(r.Evidence, "\n"), "last words") {
		t.Errorf("evidence: %q", r.Evidence)
	}
	if r := d.install(d.pack("2.0.1", goodApp, nil)); r.Exit != control.ExitDone {
		t.Errorf("a corrected version: %+v", r)
	}
}

// The newest update was a system, with its app: the way back leads to the system before, and
// to the app that was permanent there.
func TestReturnToTheSystemBefore(t *testing.T) {
	r := newRebooter(t)
	r.begin(r.system("2.0.0", "", nil))
	r.reboots("b")
	r.ended(control.OutcomePermanent, "", 1)
	r.begin(r.system("3.0.0", goodApp, nil))
	r.reboots("a")
	r.ended(control.OutcomePermanent, "", 1)
	r.expect("a", "3.0.0")
	r.oldAppEnds("a")
	if got := r.agent.Revert(t.Context()); got.Exit != control.ExitDone || !strings.Contains(got.Message, "version 2.0.0, which was permanent before, has begun") {
		t.Fatalf("revert: %+v", got)
	}
	r.reboots("b")
	r.wait("end of the trial", func(s control.Status) bool { return s.Phase == "idle" && s.Trial == nil })
	r.expect("b", "1.0.0")
	if last := r.last(); last.Outcome != control.OutcomeReverted || last.To != "3.0.0" || last.Reason != agent.CauseOperator {
		t.Errorf("history: %+v", last)
	}
	if is := r.record().Systems["b"]; is.Version != "2.0.0" || is.Counter != 3 {
		t.Errorf("the record, with the floor: %+v", is)
	}
	if got := r.agent.Revert(t.Context()); got.Exit != control.ExitRefused {
		t.Errorf("and forth: %+v", got)
	}
}

// updateTwice leaves system 3.0.0, which has a security epoch of its own, with 2.0.0 before it.
func (r *rebooter) updateTwice(epoch int64) {
	r.Helper()
	for _, s := range []struct {
		version, slot string
		epoch         int64
	}{{"2.0.0", "b", 0}, {"3.0.0", "a", epoch}} {
		r.begin(r.system(s.version, "", func(m *verify.Manifest) { m.SecurityEpoch = s.epoch }))
		r.reboots(s.slot)
		r.ended(control.OutcomePermanent, "", 1)
		r.expect(s.slot, "1.0.0")
	}
}

// An app that keeps ending with a new system, and has no version before, brings the system
// before back, with which it runs.
func TestASystemWithWhichTheAppKeepsEndingIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRebooterOn(newDevice(t), dir, plainFile)
	broken := filepath.Join(r.cfg.State, "data", "a", "broken")
	app := `if [ -e "$SLIPSTREAM_DATA/broken" ]; then tell READY=1; echo last words; exit 7; fi; ` + goodApp
	if got := r.install(r.pack("1.0.0", app, func(m *verify.Manifest) { m.App.RestartMax, m.App.RestartWindow = 0, 0 })); got.Exit != control.ExitDone {
		t.Fatalf("install: %+v", got)
	}
	r.updateTwice(0)
	r.must(os.WriteFile(broken, nil, 0o600))
	r.kill("a") // from now on it ends by itself
	r.wait("way back", inPhase("rebooting"))
	r.waitAsked()
	r.off()
	r.must(os.Remove(broken)) // as it is with the other system
	r.on()
	r.wait("end of the trial", func(s control.Status) bool { return s.Phase == "idle" && s.Trial == nil })
	r.expect("b", "1.0.0")
	last := r.last()
	if last.Outcome != control.OutcomeReverted || last.To != "3.0.0" || last.Reason != agent.CauseCrashing || !strings.Contains(last.Detail, "exited with status 7") {
		t.Errorf("history: %+v", last)
	}
	if is := r.record().Systems["b"]; is.Version != "2.0.0" || is.Counter != 3 {
		t.Errorf("the record, with the floor: %+v", is)
	}
}

// A system with known faults is not returned to, whoever asks.
func TestReturnToASystemIsRefusedBelowAFloor(t *testing.T) {
	r := newRebooter(t)
	r.updateTwice(1)
	if got := r.back(true); got.Exit != control.ExitRefused || got.Code != agent.CodeEpoch || !strings.Contains(got.Message, "system version 2.0.0 has known security faults") {
		t.Errorf("back: %+v", got)
	}
}

// To crash an app must not bring its older version back, nor with the system with which it ran.
func TestAnAppThatKeepsEndingStaysAboveItsEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRebooterOn(newDevice(t), dir, plainFile)
	r.mustInstall("1.0.0")
	r.updateTwice(0)
	ends := `if [ "$SLIPSTREAM_ROLE" = permanent ]; then tell READY=1; exit 7; fi; ` + goodApp
	change := func(m *verify.Manifest) { m.App.RestartMax, m.App.RestartWindow, m.SecurityEpoch = 0, 0, 1 }
	if got := r.install(r.pack("4.0.0", ends, change)); got.Exit != control.ExitDone {
		t.Fatalf("install: %+v", got)
	}
	r.oldAppEnds("a")
	r.kill("b") // from now on it ends by itself
	s := r.wait("the word that it is not left", func(s control.Status) bool {
		return strings.Contains(strings.Join(s.Problems, "\n"), "keeps ending")
	})
	said := strings.Join(s.Problems, "\n")
	for _, want := range []string{
		"version before: version 1.0.0 has known security faults (security epoch 0, lowest allowed 1)",
		"system before: version 1.0.0 of the app, which ran with system 2.0.0, has known security faults (security epoch 0, lowest allowed 1)",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("status says %q, and not %q", said, want)
		}
	}
	if s.Permanent != "4.0.0" || len(r.asked) > 0 {
		t.Errorf("it is left: %+v", s)
	}
}

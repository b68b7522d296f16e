package testrig_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
)

// trialUnderWay begins the trial of a release and waits until it carries the streams.
func (r *rig) trialUnderWay(rel device.Release) {
	r.t.Helper()
	r.stage(r.build(rel))
	r.begin()
}

// newest is the newest line of the history.
func (r *rig) newest() control.Record {
	r.t.Helper()
	h, err := r.Client.History(r.ctx, 1)
	if err != nil || len(h) != 1 {
		r.t.Fatalf("history: %v %v", h, err)
	}
	return h[0]
}

// record is what the disk says is permanent.
func (r *rig) record() slots.Live {
	r.t.Helper()
	f, err := slots.OpenRecord(r.Config.State)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	rec, err := f.Load()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Live[rec.System]
}

// agrees checks that record, history, agent and viewers tell one story.
func (r *rig) agrees(version string) {
	r.t.Helper()
	s := r.permanent(version)
	if got := r.record().Version; got != version {
		r.t.Errorf("the record says %s, the agent %s", got, version)
	}
	h := r.newest()
	if h.Outcome == control.OutcomePermanent && h.To != version || h.Outcome == control.OutcomeReverted && h.From != version {
		r.t.Errorf("history says %s of %s → %s, the agent %s", h.Outcome, h.From, h.To, version)
	}
	if _, err := r.WaitStatus(r.ctx, "viewers on "+version, func(s control.Status) bool {
		return len(s.Streams) > 0 && s.Streams[0].Version == version
	}); err != nil {
		r.t.Errorf("%v; status %+v", err, s)
	}
}

// An agent that dies during a healthy trial finds it again and commits it.
func TestAgentKilledDuringHealthyTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	two := release("2.0")
	two.Greenlight.AfterMS = 3000 // after the agent is back
	r.trialUnderWay(two)
	if err := r.KillAgent(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.agrees("2.0.0")
	clean(t, v, from, publish.Monotonic())
}

// The forwarder needs no agent to bring viewers back, and the agent that comes
// later finds out what happened.
func TestAgentKilledThenAppCrashes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	three := release("3.0")
	three.Greenlight = camera.Greenlight{By: "never"}
	r.trialUnderWay(three)
	app := r.app("b")
	if err := r.KillAgent(); err != nil {
		t.Fatal(err)
	}
	seen := r.sees(v, "3.0", from).First
	crash(t, app)
	r.sees(v, "1.0", seen) // with nobody to order it
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.agrees("1.0.0")
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.To != "3.0.0" {
		t.Errorf("history: %+v", h)
	}
	clean(t, v, from, publish.Monotonic())
}

// A power cut during a trial: after the start the old version serves.
func TestEverythingKilledDuringTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	two := release("2.0")
	two.Greenlight = camera.Greenlight{By: "never"}
	r.trialUnderWay(two)
	if err := r.KillAll(); err != nil {
		t.Fatal(err)
	}
	if err := r.StartAgent(r.ctx); err != nil {
		t.Fatal(err)
	}
	v := r.watch("1.0")
	r.agrees("1.0.0")
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.To != "2.0.0" {
		t.Errorf("history: %+v", h)
	}
	if versions := v.Report(0, publish.Monotonic()).Versions; len(versions) != 1 {
		t.Errorf("viewers saw %v", versions)
	}
	// And the next update works.
	r.mustBecome(r.build(release("4.0")))
	r.agrees("4.0.0")
}

// crash has an app end as by a fault of its own, at this instant.
func crash(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
}

// The marker made at the last moment: whatever the outcome, forwarder, record,
// history and agent agree on it. Each outcome moves the next marker towards the other one.
func TestMarkerAtTheLastMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	outcomes := map[string]int{}
	early := 60 * time.Millisecond // before the deadline
	for i := range 12 {
		rel := release(fmt.Sprintf("%d.0", 2+i%5))
		rel.Greenlight = camera.Greenlight{By: "never"} // the test makes the marker
		rel.App.StartTimeoutMS, rel.App.SoakMS, rel.App.DeadlineMS = 2000, 100, 2000
		r.stage(r.build(rel))
		if res := r.Client.Activate(r.ctx, control.ActivateRequest{Force: true}); res.Exit != control.ExitDone {
			t.Fatalf("activate: %+v", res)
		}
		s, err := r.WaitStatus(r.ctx, "takeover", func(s control.Status) bool { return s.Trial == nil || !s.Trial.TookOver.IsZero() })
		if err != nil {
			t.Fatal(err)
		}
		if s.Trial != nil {
			wait := time.NewTimer(time.Duration(s.Trial.RemainingMS)*time.Millisecond - early)
			<-wait.C
			touch(t, s.Trial.Marker)
		}
		if _, err := r.WaitStatus(r.ctx, "end of trial", func(s control.Status) bool { return s.Trial == nil }); err != nil {
			t.Fatal(err)
		}
		h := r.newest()
		outcomes[h.Outcome]++
		if h.Outcome == control.OutcomePermanent {
			r.agrees(h.To)
			early = early/2 - 5*time.Millisecond
		} else {
			r.agrees(h.From)
			early = max(2*early, 0) + 10*time.Millisecond
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes[control.OutcomePermanent] == 0 || outcomes[control.OutcomeReverted] == 0 {
		t.Errorf("the race was not met: %v", outcomes)
	}
	clean(t, v, from, publish.Monotonic())
}

// Only the app's own marker, in its trial's directory, counts.
func TestMarkerOfAnotherTrialIsIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	two := release("2.0")
	two.Greenlight = camera.Greenlight{By: "never"}
	two.App.StartTimeoutMS, two.App.DeadlineMS = 8000, 8000
	r.trialUnderWay(two)
	s, err := r.Client.Status(r.ctx)
	if err != nil || s.Trial == nil {
		t.Fatalf("status: %+v %v", s, err)
	}
	touch(t, filepath.Join(filepath.Dir(filepath.Dir(s.Trial.Marker)), "greenlight"))
	if _, err := r.WaitStatus(r.ctx, "end of trial", func(s control.Status) bool { return s.Trial == nil }); err != nil {
		t.Fatal(err)
	}
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.Reason != "deadline" {
		t.Errorf("history: %+v", h)
	}
	r.agrees("1.0.0")
}

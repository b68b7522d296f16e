package large_test

import (
	"errors"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/adminpanel/view"
)

// plan brings a release to all: some canaries, a quarter, the rest.
func plan(release string) view.Plan {
	return view.Plan{
		Release: release, Waves: []view.Wave{{Name: "canaries", Count: 10}, {Percent: 25}, {}},
		MaxUnavailable: *devices, MaxStaging: 500, SuccessPercent: 80, FailPercent: 100, TrialDeadlineMS: 60_000, OnFailure: "halt", Activation: "waves",
	}
}

func (p *panel) roll(plan view.Plan) view.Rollout {
	p.t.Helper()
	r, err := p.CreateRollout(p.t.Context(), plan)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.verb(r.ID, client.Start)
}

func over(v view.Rollout) bool { return v.State == view.RolloutCompleted }

// TestARollout brings a fleet of which a share fails a version, over the API: it halts by
// itself, is taken back, and then, with another version and more patience, comes to its end
// although the panel is killed in the middle. What it counts is what the devices say.
func TestARollout(t *testing.T) {
	p := newPanel(t)
	n := *devices
	fails := n / 10
	s := simtest.Start(t, simulate.Config{
		Panel: p.devices, Tokens: p.tokens(n), Devices: n, Seed: 5, Times: simulate.Times{Soak: 200 * time.Millisecond},
		Shares: simulate.Shares{Fates: map[simulate.Fate]float64{simulate.Fails: 0.1}},
	})
	p.linked(n)
	first, second := p.release("2.0.0"), p.release("2.0.1")

	careful := plan(first.ID)
	careful.FailCount = fails / 2
	r := p.roll(careful)
	halted := p.rolled(r.ID, "halted", func(v view.Rollout) bool { return v.State == view.RolloutHalted })
	if bad := halted.Total.Failed + halted.Total.Reverted; bad < careful.FailCount || halted.Why == "" {
		t.Errorf("it halted with %d failures, because %q", bad, halted.Why)
	}
	if halted.Waves[0].Verdict == "waiting" || len(halted.Failures) == 0 || halted.Failures[0].Cause != "stall" {
		t.Errorf("it halted as %+v", halted)
	}

	p.verb(r.ID, client.AbortRevert)
	back := p.rolled(r.ID, "taken back", func(v view.Rollout) bool {
		return v.State == view.RolloutAborted && v.Total.Done+v.Total.Reverting+v.Total.Trial+v.Total.Activating == 0
	})
	p.until("all devices have their old version", func() bool { return s.Counts().Version["1.0.0"] == n && s.Counts().Phase["trial"] == 0 })
	if c := s.Counts(); back.Total.Reverted+back.Total.Failed != c.Reverted {
		t.Errorf("the panel counts %+v, and the devices %+v", back.Total, c.Did)
	}
	before := s.Counts()

	r = p.roll(plan(second.ID))
	p.rolled(r.ID, "half done", func(v view.Rollout) bool { return v.Wave >= 2 && v.Total.Done+v.Total.Trial >= n/8 })
	p.kill()
	p.start()
	end := p.rolled(r.ID, "over", over)
	after := s.Counts()
	want := view.Counts{Devices: n, Done: n - fails, Reverted: fails}
	got := end.Total
	got.Reverted, got.Failed = got.Reverted+got.Failed, 0
	if got != want || after.Version["2.0.1"] != n-fails || after.Reverted-before.Reverted != fails || after.Trials-before.Trials != n {
		t.Errorf("the panel counts %+v, and the devices %+v after %+v", end.Total, after, before)
	}
	p.agrees(n, fails)
}

// agrees holds lists and the matrix of versions against each other.
func (p *panel) agrees(n, fails int) {
	p.t.Helper()
	p.linked(n)
	var v view.Versions
	p.until("the versions are counted", func() bool {
		var err error
		v, err = p.Versions(p.t.Context(), "")
		if err != nil {
			p.t.Fatal(err)
		}
		sum := 0
		for _, c := range v.Versions {
			sum += c.Running
			if c.Version == "2.0.1" && c.Running != n-fails {
				return false
			}
		}
		return sum == n
	})
	page, err := p.DevicePage(p.t.Context(), "version:2.0.1", "", 1)
	if err != nil || page.Total != n-fails {
		p.t.Errorf("%d devices are listed with the new version, not %d: %v", page.Total, n-fails, err)
	}
	lines := 0
	for _, err := range p.Audit(p.t.Context(), "") {
		if err = errors.Join(err); err != nil {
			p.t.Fatal(err)
		}
		lines++
	}
	if lines < n {
		p.t.Errorf("the audit has %d lines, and %d devices were let in", lines, n)
	}
}

package drive_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

var (
	ann = drive.Caller{By: "user ann"}
	bob = drive.Caller{By: "user bob"}
)

// plain brings 2.0 to everyone at once.
var plain = view.Plan{
	Release: "r20", MaxUnavailable: 5000, MaxStaging: 5000, SuccessPercent: 90, FailPercent: 10, TrialDeadlineMS: 10 * minute, OnFailure: "halt",
	Activation: "waves", Waves: []view.Wave{{}},
}

func with(change func(*view.Plan)) view.Plan {
	p := plain
	change(&p)
	return p
}

// driven runs a test with a panel and devices in virtual time.
func driven(t *testing.T, devices func(*sim), test func(t *testing.T, s *sim, p *panel)) {
	t.Helper()
	t.Parallel()
	path := filepath.Join(dir(t), "panel.db")
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		devices(s)
		p := start(t, s, path, 0, false)
		defer func() { p.stop() }()
		test(t, s, p)
	})
}

func good3(s *sim) {
	for i := range 3 {
		s.add(fmt.Sprint("cam-", i), good, "1.4")
	}
}

func (p *panel) create(plan view.Plan, needed int) view.Rollout {
	p.t.Helper()
	v, err := p.Create(p.t.Context(), plan, needed, ann)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *panel) verb(id, verb string, c drive.Caller) view.Rollout {
	p.t.Helper()
	v, err := p.Verb(p.t.Context(), id, verb, c)
	if err != nil {
		p.t.Fatalf("%s: %v", verb, err)
	}
	return v
}

// until waits for a rollout's state.
func (p *panel) until(id, state string) view.Rollout {
	p.t.Helper()
	for range 1000 {
		synctest.Wait()
		v, err := p.Show(p.t.Context(), id)
		if err != nil {
			p.t.Fatal(err)
		}
		if v.State == state {
			return v
		}
		time.Sleep(time.Second)
	}
	v, err := p.Show(p.t.Context(), id)
	p.t.Fatalf("it is not %s: %+v, %v", state, v, err)
	return v
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %q", err, says)
	}
}

func TestAThousandDevices(t *testing.T) {
	driven(t, func(s *sim) {
		for i := range 1000 {
			s.add(fmt.Sprintf("cam-%04d", i), good, "1.4")
		}
	}, func(t *testing.T, s *sim, p *panel) {
		v := p.create(with(func(p *view.Plan) { p.Activation = "together" }), 0)
		p.verb(v.ID, drive.VerbStart, ann)
		v = p.until(v.ID, view.RolloutCompleted)
		if v.Total.Done != 1000 {
			t.Errorf("it ended with %+v", v.Total)
		}
		for id, c := range s.cams {
			if len(c.epochs) != 1 || c.trials != 1 {
				t.Errorf("%s was activated in epochs %v, %d times", id, c.epochs, c.trials)
			}
		}
		t.Logf("%d commits; an activation took %.0f ms of the devices' own time at the median", p.store.commits, v.ActP50MS)
	})
}

// A device is in one rollout at a time, and nobody else asks it meanwhile.
func TestOneOwner(t *testing.T) {
	driven(t, func(s *sim) {
		good3(s)
		s.add("cam-9", operator, "1.4")
	}, func(t *testing.T, s *sim, p *panel) {
		ctx := t.Context()
		first := p.create(with(func(p *view.Plan) { p.Name, p.Selector = "first", "id:cam-1,cam-9" }), 0)
		p.verb(first.ID, drive.VerbStart, ann)
		pre, err := p.Preview(ctx, with(func(p *view.Plan) { p.Release = "r21" }))
		if err != nil || pre.Devices != 2 || pre.RefusedTotal != 2 || pre.Refused[0].Why != "it is in rollout first, which has not ended" {
			t.Errorf("the preview is %+v, %v", pre, err)
		}
		second := p.create(with(func(p *view.Plan) { p.Release, p.Selector = "r21", "id:cam-1" }), 0)
		_, err = p.Verb(ctx, second.ID, drive.VerbStart, ann)
		refused(t, err, "no device can take part: cam-1: it is in rollout first")
		_, err = p.Ask(ctx, drive.Wish{Device: "cam-9", Want: rollout.WantRevert, By: "user bob"})
		refused(t, err, "cam-9 is in rollout first: abort that first, or wait for its end")
		time.Sleep(time.Minute)
		p.verb(first.ID, drive.VerbConfirm, ann)
		if v := p.until(first.ID, view.RolloutCompleted); v.Total.Done != 2 {
			t.Fatalf("the first ended with %+v", v.Total)
		}
		p.verb(second.ID, drive.VerbStart, ann)
		p.until(second.ID, view.RolloutCompleted)
		a, ok := p.Asked("cam-1")
		if !ok || a.Rollout() != second.ID || s.cams["cam-1"].status.Permanent != "2.1" {
			t.Errorf("the newest ask is %+v", a)
		}
		// The first has the device no more, and its end stays as it was.
		if v, err := p.Show(ctx, first.ID); err != nil || v.Total.Done != 2 {
			t.Errorf("the first is %+v, %v", v.Total, err)
		}
		before, _ := p.Asked("cam-9")
		if a, err = p.Ask(ctx, drive.Wish{Device: "cam-9", Want: rollout.WantActivate, Release: "r21", By: "user bob"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if seen, ok := p.Standing("cam-9"); !ok || seen.What != rollout.SeenReady || a.Epoch <= before.Epoch {
			t.Errorf("cam-9 stands at %+v after %+v", seen, a)
		}
		if _, err = p.Ask(ctx, drive.Wish{Device: "cam-9", Want: rollout.WantRevert, By: "user bob"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if seen, _ := p.Standing("cam-9"); seen.What != rollout.SeenReverted || s.cams["cam-9"].status.Permanent != "2.0" {
			t.Errorf("cam-9 stands at %+v", seen)
		}
		// Nor does it take back what is not its own any more.
		p.verb(first.ID, drive.VerbAbortRevert, ann)
		if v := p.until(first.ID, view.RolloutAborted); v.Total.Done != 2 {
			t.Errorf("the first is rolled back as %+v", v.Total)
		}
		for id, owner := range map[string]string{"cam-1": "rollout " + second.ID, "cam-9": "user bob"} {
			if a, _ := p.Asked(id); a.Owner != owner {
				t.Errorf("%s is asked by %s, and was %s's", id, a.Owner, owner)
			}
		}
	})
}

// A status that tells all of it is enough: nothing waits for a report.
func TestTheStatusAloneIsEnough(t *testing.T) {
	driven(t, func(s *sim) {
		c := s.add("cam-0", mute, "1.4")
		c.status.Slots[1] = control.Slot{Name: "b", State: control.StateStaged, Version: "2.0", Digest: "d2.0"}
	}, func(t *testing.T, s *sim, p *panel) {
		v := p.create(plain, 0)
		p.verb(v.ID, drive.VerbStart, ann)
		if v = p.until(v.ID, view.RolloutCompleted); v.Total.Done != 1 || s.cams["cam-0"].stages != 0 {
			t.Errorf("it ended with %+v", v.Total)
		}
	})
}

// A device that cannot go back stays listed as that, whatever it says later of the version
// that it runs, and to whichever panel.
func TestWhoCannotGoBack(t *testing.T) {
	driven(t, good3, func(t *testing.T, s *sim, p *panel) {
		v := p.create(plain, 0)
		p.verb(v.ID, drive.VerbStart, ann)
		p.until(v.ID, view.RolloutCompleted)
		p.verb(v.ID, drive.VerbAbortRevert, ann)
		p.until(v.ID, view.RolloutAborted)
		p.halt()
		next := startOn(t, s, p.file, 0, false)
		defer next.halt()
		time.Sleep(time.Minute)
		synctest.Wait()
		v, err := next.Show(t.Context(), v.ID)
		if err != nil || v.Total.Failed != 3 || v.Failures[0].Cause != "cannot revert: no way back" {
			t.Errorf("it is %+v, %v, %v", v.Total, v.Failures, err)
		}
	})
}

// Whoever reverts after the end is counted out of it, also by a panel that has started since.
func TestALateRevertCountsBack(t *testing.T) {
	driven(t, good3, func(t *testing.T, s *sim, p *panel) {
		v := p.create(plain, 0)
		p.verb(v.ID, drive.VerbStart, ann)
		p.until(v.ID, view.RolloutCompleted)
		s.mu.Lock()
		c := s.cams["cam-1"]
		c.status.Slots[1].State, c.status.Slots[0].State = "permanent", "reverted"
		last := *c.status.Last
		last.Time, last.Trial, last.Outcome, last.Reason = time.Now(), "", "reverted", "damaged"
		c.status.Last = &last
		c.say()
		s.mu.Unlock()
		synctest.Wait()
		if v, err := p.Show(t.Context(), v.ID); err != nil || v.Total.Done != 2 || v.Total.Reverted != 1 || v.Failures[0].Cause != "damaged" {
			t.Errorf("it is %+v %+v, %v", v.Total, v.Failures, err)
		}
	})
}

func TestApprovalAndRevision(t *testing.T) {
	driven(t, good3, func(t *testing.T, _ *sim, p *panel) {
		ctx := t.Context()
		v := p.create(with(func(p *view.Plan) { p.NotBefore = time.Now().Add(time.Hour) }), 1)
		_, err := p.Verb(ctx, v.ID, drive.VerbStart, ann)
		refused(t, err, "0 of 1 approvals")
		_, err = p.Verb(ctx, v.ID, drive.VerbApprove, ann)
		refused(t, err, "somebody else has to approve it")
		seen := bob
		seen.Rev = v.Rev
		p.verb(v.ID, drive.VerbApprove, seen)
		if _, err = p.Verb(ctx, v.ID, drive.VerbAbort, seen); !errors.Is(err, drive.ErrStale) {
			t.Errorf("of an older revision: %v", err)
		}
		_, err = p.Verb(ctx, v.ID, drive.VerbStart, ann)
		refused(t, err, "starts by itself at")
		if v = p.until(v.ID, view.RolloutApproved); v.NextEvent == nil || v.NextEvent.What != "start" || len(v.Approvals) != 1 {
			t.Errorf("it waits as %+v", v)
		}
		time.Sleep(time.Hour)
		p.until(v.ID, view.RolloutCompleted)
		if _, err = p.Verb(ctx, v.ID, drive.VerbPause, ann); !errors.Is(err, rollout.ErrState) {
			t.Errorf("a pause after the end: %v", err)
		}
		if _, err = p.Verb(ctx, "none", drive.VerbPause, ann); err == nil {
			t.Error("a rollout that is not there was paused")
		}
	})
}

func TestPreview(t *testing.T) {
	driven(t, func(s *sim) {
		good3(s)
		s.add("cam-new", good, "2.0")
		s.add("cam-old", good, "1.3")
		s.add("door-1", good, "1.4").status.Product = "door"
		s.add("cam-c", good, "1.4").status.Hardware = "rev-c"
	}, func(t *testing.T, _ *sim, p *panel) {
		plan := with(func(p *view.Plan) {
			p.Waves = []view.Wave{{Selector: "id:cam-0"}, {Percent: 40}, {}}
			p.Through = []view.Through{{Below: "1.4", Release: "r15"}}
		})
		pre, err := p.Preview(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		if pre.Devices != 5 || pre.Has != 1 || pre.Through != 1 || pre.Waves[0].Devices != 1 || pre.Waves[1].Devices != 2 || pre.Waves[2].Devices != 2 {
			t.Errorf("it is %+v", pre)
		}
		if pre.RefusedTotal != 2 || pre.Refused[0] != (view.Refusal{Device: "cam-c", Why: "its hardware is rev-c, and version 2.0 is for rev-b"}) ||
			pre.Refused[1].Why != "it is a door, and version 2.0 is for cam" {
			t.Errorf("refused: %+v", pre.Refused)
		}
		for says, change := range map[string]func(*view.Plan){
			"the panel has no release r99": func(p *view.Plan) { p.Release = "r99" },
			"the selector":                 func(p *view.Plan) { p.Selector = "colour:red" },
			"the selector of wave 1":       func(p *view.Plan) { p.Waves = []view.Wave{{Selector: "colour:red"}, {}} },
			"maxUnavailable must be 1":     func(p *view.Plan) { p.MaxUnavailable = 0 },
		} {
			_, err := p.Preview(t.Context(), with(change))
			refused(t, err, says)
		}
	})
}

// A rollout that means more devices when it starts than when it was made needs the word of
// somebody else first, and then starts.
func TestHeldWhenItHasGrown(t *testing.T) {
	driven(t, good3, func(t *testing.T, s *sim, p *panel) {
		v := p.create(plain, 0)
		s.mu.Lock()
		s.above = 2
		s.mu.Unlock()
		_, err := p.Verb(t.Context(), v.ID, drive.VerbStart, ann)
		refused(t, err, "means 3 devices by now")
		v, err = p.Show(t.Context(), v.ID)
		if err != nil || v.State != view.RolloutDraft || v.Needed != 1 {
			t.Fatalf("it is %+v, %v", v, err)
		}
		_, err = p.Verb(t.Context(), v.ID, drive.VerbApprove, drive.Caller{By: "token 7", Person: "user ann"})
		refused(t, err, "somebody else has to approve it")
		p.verb(v.ID, drive.VerbApprove, bob)
		p.verb(v.ID, drive.VerbStart, ann)
		if v = p.until(v.ID, view.RolloutCompleted); v.Total.Done != 3 {
			t.Errorf("it ended with %+v", v.Total)
		}
	})
}

// What a person has forced is forced once: an agent that starts anew after the revert does not
// try it again, whatever its panel says to it, and whichever panel that is.
func TestAForcedTryIsOne(t *testing.T) {
	driven(t, func(s *sim) { s.add("cam-0", reverts, "1.4") }, func(t *testing.T, s *sim, p *panel) {
		wish := drive.Wish{Device: "cam-0", Want: rollout.WantStage, Activate: true, Force: true, Release: "r20", By: "user bob"}
		for tries := 1; tries <= 2; tries++ {
			if _, err := p.Ask(t.Context(), wish); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if seen, _ := p.Standing("cam-0"); seen.What != rollout.SeenReverted || s.cams["cam-0"].trials != tries {
				t.Fatalf("it stands at %+v after %d trials", seen, s.cams["cam-0"].trials)
			}
			a, _ := p.Asked("cam-0")
			if d, _ := p.Desired("cam-0"); !a.Activate || !a.Force || d.Activate || d.Force {
				t.Errorf("the ask is %+v, and desired is %+v", a, d)
			}
			s.forget("cam-0")
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			p.halt()
			p = startOn(t, s, p.file, 0, false)
			defer p.halt()
			s.forget("cam-0")
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if n := s.cams["cam-0"].trials; n != tries {
				t.Fatalf("it was tried %d times, asked for %d", n, tries)
			}
		}
	})
}

package api_test

import (
	"slices"
	"strconv"
	"testing"

	"slipstream/adminpanel/view"
)

// planOf brings a release to devices in one wave.
func planOf(release, selector string) view.Plan {
	return view.Plan{
		Release: release, Selector: selector, Waves: []view.Wave{{}}, MaxUnavailable: 50, SuccessPercent: 90, FailPercent: 50,
		TrialDeadlineMS: 600_000, OnFailure: "halt", Activation: "waves",
	}
}

func (w *world) rollout(plan view.Plan, changes ...with) (v view.Rollout) {
	w.Helper()
	w.call("POST", "/rollouts", plan, changes...).is(201, &v)
	return v
}

// verb presses a button as a page does: with the revision that it shows.
func (w *world) verb(v view.Rollout, verb string, body view.RolloutVerb, changes ...with) got {
	w.Helper()
	return w.call("POST", "/rollouts/"+v.ID+"/"+verb, body, append([]with{rev(strconv.FormatInt(v.Rev, 10))}, changes...)...)
}

// ends waits until a rollout is in a state.
func (w *world) ends(id, state string) (v view.Rollout) {
	w.Helper()
	w.eventually("rollout "+state, func() bool {
		w.call("GET", "/rollouts/"+id, nil).is(200, &v)
		return v.State == state
	})
	return v
}

func action(v view.Rollout, name string) string {
	i := slices.IndexFunc(v.Actions, func(s view.Step) bool { return s.Name == name })
	if i < 0 {
		return "it is not there"
	}
	return v.Actions[i].Denied
}

func TestRollout(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()))
	rel := w.release(v.pack("2.0.0"))
	w.link("north", "cam-1")
	w.link("north", "cam-2", func(c *cam) { c.greenlit = "operator" })
	w.link("south", "cam-3")

	var p view.Preview
	if w.call("POST", "/rollouts/preview", planOf(rel.ID, "site:north")).is(200, &p); p.Devices != 2 || p.Version != "2.0.0" || len(p.Waves) != 1 {
		t.Errorf("the preview is %+v", p)
	}
	r := w.rollout(planOf(rel.ID, "site:north"))
	if r.State != view.RolloutApproved || r.Total.Devices != 2 || r.Waves[0].Counts.Devices != 2 || r.By != "ann" || action(r, "start") != "" {
		t.Errorf("made %+v", r)
	}
	w.call("POST", "/rollouts/"+r.ID+"/start", "{}").fails(428, "no-revision")
	w.verb(r, "start", view.RolloutVerb{}, rev("1")).fails(412, "changed")
	w.verb(r, "start", view.RolloutVerb{Expect: new(3)}).fails(409, "unexpected")
	w.verb(r, "pause", view.RolloutVerb{}).fails(409, "state")
	w.verb(r, "start", view.RolloutVerb{Expect: new(2)}).is(200, &r)
	w.eventually("one is done and one waits for a greenlight", func() bool {
		w.call("GET", "/rollouts/"+r.ID, nil).is(200, &r)
		return r.Total.Done == 1 && action(r, "confirm") == ""
	})
	var page view.RolloutDevices
	w.call("GET", "/rollouts/"+r.ID+"/devices?wave=1&phase=trial", nil).is(200, &page)
	if page.Total != 1 || page.Devices[0].ID != "cam-2" {
		t.Errorf("on trial are %+v", page)
	}
	w.call("POST", "/rollouts/"+r.ID+"/confirm", view.RolloutVerb{Why: "it looks good"}, header("If-Match", "*")).is(200, nil)
	if r = w.ends(r.ID, view.RolloutCompleted); r.Total.Done != 2 {
		t.Errorf("it ended with %+v", r.Total)
	}
	var list view.Rollouts
	if w.call("GET", "/rollouts", nil).is(200, &list); len(list.Rollouts) != 1 || list.Rollouts[0].ID != r.ID {
		t.Errorf("the list is %+v", list)
	}
	w.call("GET", "/rollouts/nothing", nil).fails(404, "no-rollout")
	w.call("GET", "/rollouts/nothing/devices", nil).fails(404, "no-rollout")
	w.call("POST", "/rollouts/nothing/pause", "{}", header("If-Match", "*")).fails(404, "no-rollout")
	lines := w.lines()
	for _, want := range []string{"rollout.create", "rollout.start", "rollout.confirm"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit has no %s: %q", want, lines)
		}
	}
}

// Who answers for some devices makes rollouts to these, sees these, and no others.
func TestRolloutsOfASite(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()))
	rel := w.release(v.pack("2.0.0"))
	w.link("north", "cam-1", func(c *cam) { c.refuses = "it does not like it" })
	w.link("south", "cam-2", func(c *cam) { c.refuses = "nor does this" })
	north := by(w.token("nora", "releaser site:north"))
	operator := by(w.token("otto", "operator site:north"))

	w.call("POST", "/rollouts", planOf(rel.ID, ""), north).fails(403, "forbidden")
	w.call("POST", "/rollouts/preview", planOf(rel.ID, "site:south"), north).fails(403, "forbidden")
	growing := planOf(rel.ID, "site:north")
	growing.Dynamic = true
	w.call("POST", "/rollouts", growing, north).fails(403, "forbidden")
	mine := w.rollout(planOf(rel.ID, "site:north"), north)
	w.verb(mine, "abort", view.RolloutVerb{}, north).is(200, nil)

	all := w.rollout(planOf(rel.ID, ""))
	w.call("GET", "/rollouts/"+all.ID, nil, north).is(200, &all)
	if action(all, "start") == "" {
		t.Error("a page offers her to start what goes beyond her site")
	}
	w.verb(all, "start", view.RolloutVerb{}, north).fails(403, "forbidden")
	w.verb(all, "start", view.RolloutVerb{}).is(200, &all)
	w.ends(all.ID, view.RolloutHalted)
	w.call("GET", "/rollouts/"+all.ID, nil, operator).is(200, &all)
	if len(all.Failures) == 0 || len(all.Failures[0].Sample) != 1 || all.Failures[0].Sample[0] != "cam-1" || all.GapWorst == "cam-2" {
		t.Errorf("he is shown %+v", all.Failures)
	}
	var page view.RolloutDevices
	if w.call("GET", "/rollouts/"+all.ID+"/devices", nil, operator).is(200, &page); page.Total != 1 || page.Devices[0].ID != "cam-1" {
		t.Errorf("he is shown %+v", page)
	}
	any := header("If-Match", "*")
	w.call("POST", "/rollouts/"+all.ID+"/resume", "{}", any).is(200, nil)
	w.call("POST", "/rollouts/"+all.ID+"/abort", "{}", any, operator).fails(403, "forbidden")
}

// Above the number that the settings name a second person has to agree: neither the
// author, nor a token of his, nor somebody twice.
func TestASecondPerson(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()))
	rel := w.release(v.pack("2.0.0"))
	w.link("north", "cam-1")
	w.link("north", "cam-2")
	var s view.Settings
	w.call("GET", "/settings", nil).is(200, &s)
	s.ApproveAbove = 1
	w.call("PUT", "/settings", s, rev("0")).is(200, nil)
	bob, nora := by(w.token("bob", "releaser")), by(w.token("nora", "releaser site:south"))

	small := w.rollout(planOf(rel.ID, "cam-1"), bob)
	if small.State != view.RolloutApproved || small.Needed != 0 {
		t.Errorf("to one device it is %+v", small)
	}
	r := w.rollout(planOf(rel.ID, ""), bob)
	if r.State != view.RolloutDraft || r.Needed != 1 || r.By != "bob" {
		t.Errorf("to two devices it is %+v", r)
	}
	w.verb(r, "start", view.RolloutVerb{}, bob).fails(409, "refused")
	w.verb(r, "approve", view.RolloutVerb{}, bob).fails(403, "own-rollout")
	w.verb(r, "approve", view.RolloutVerb{}, nora).fails(403, "forbidden")
	w.verb(r, "approve", view.RolloutVerb{Expect: new(2)}).is(200, &r)
	if r.State != view.RolloutApproved || len(r.Approvals) != 1 || r.Approvals[0].By != "ann" {
		t.Errorf("approved it is %+v", r)
	}
	w.verb(r, "start", view.RolloutVerb{Expect: new(2)}, bob).is(200, nil)

	// What has become more since it was made needs the word when it starts.
	w.ends(r.ID, view.RolloutCompleted)
	w.link("north", "cam-10")
	small = w.rollout(planOf(rel.ID, "cam-1"), bob)
	if small.Needed != 1 {
		t.Errorf("to cam-1 and cam-10 it is %+v", small)
	}
}

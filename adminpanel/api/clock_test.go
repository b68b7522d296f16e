package api_test

import (
	"testing"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// activates tells whether a device was ever asked for a trial.
func (c *cam) activates() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Slots[1].State != "staged" && c.status.Slots[1].State != "empty"
}

// A device's clock decides nothing at the panel, whether it believes in 1970 or in 2100: when it
// was seen, how old its word is, when a window opens, how long a trial may be silent, and
// what comes first in its history.
func TestDevicesWhoseClocksAreYearsOff(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()))
	began := time.Now()
	cams := map[string]*cam{}
	for id, believes := range map[string]time.Time{"cam-1970": time.Unix(9, 0), "cam-2100": time.Date(2100, 3, 1, 1, 30, 0, 0, time.UTC)} {
		cams[id] = w.link("north", id, func(c *cam) { c.off, c.greenlit = time.Until(believes), "operator" })
	}
	for id, c := range cams {
		var d view.DeviceDetail
		w.call("GET", "/devices/"+id, nil).is(200, &d)
		if d.StatusAgeMS < 0 || d.StatusAgeMS > time.Since(began).Milliseconds() || d.LastSeen.Before(began.Add(-time.Second)) || d.LastSeen.After(time.Now().Add(time.Second)) || d.Stale || !d.Online {
			t.Errorf("%s is shown as %+v", id, d)
		}
		if off := time.Until(d.Status.Time) - c.off; off < -patience || off > patience {
			t.Errorf("what %s takes for the time is shown as %v", id, d.Status.Time)
		}
	}

	// By the clocks of both the window is open; by the panel's it opens in three days.
	plan := planOf(w.release(v.pack("2.0.0")).ID, "site:north")
	opens := time.Now().UTC().AddDate(0, 0, 3)
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	plan.Windows = []view.Window{{Days: days[opens.Weekday() : opens.Weekday()+1], From: "01:00", To: "02:00"}}
	r := w.rollout(plan)
	for _, c := range cams { // it is in the window, years from now or ago
		inside := time.Now().Add(c.off).UTC().Truncate(24 * time.Hour).Add(90 * time.Minute)
		for inside.Weekday() != opens.Weekday() {
			inside = inside.AddDate(0, 0, 1)
		}
		c.change(func(*control.Status) { c.off = time.Until(inside) })
	}
	w.verb(r, "start", view.RolloutVerb{}).is(200, &r)
	w.eventually("both wait for the window", func() bool {
		w.call("GET", "/rollouts/"+r.ID, nil).is(200, &r)
		return r.Total.Staged == 2 && r.NextEvent != nil && r.NextEvent.What == "window"
	})
	if in := time.Duration(r.NextEvent.InMS) * time.Millisecond; in < 24*time.Hour || in > 4*24*time.Hour {
		t.Errorf("the window opens in %v", in)
	}
	for id, c := range cams {
		if c.activates() {
			t.Errorf("%s was activated outside of the window", id)
		}
	}
	w.verb(r, "abort", view.RolloutVerb{}).is(200, &r)
	w.ends(r.ID, view.RolloutAborted)

	// A trial that both confirm is a success, of which the panel tells its own time.
	plan.Windows = nil
	r = w.rollout(plan)
	w.verb(r, "start", view.RolloutVerb{}).is(200, &r)
	w.eventually("both are on trial", func() bool {
		w.call("GET", "/rollouts/"+r.ID, nil).is(200, &r)
		return r.Total.Trial == 2
	})
	for _, c := range cams {
		c.change(func(*control.Status) { c.end(control.OutcomePermanent) })
	}
	r = w.ends(r.ID, view.RolloutCompleted)
	var page view.RolloutDevices
	w.call("GET", "/rollouts/"+r.ID+"/devices", nil).is(200, &page)
	for _, d := range page.Devices {
		if d.Phase != "done" || d.Since.Before(began.Add(-time.Second)) || d.Since.After(time.Now().Add(time.Second)) {
			t.Errorf("the rollout has %+v", d)
		}
	}

	// One that is silent is late by the panel's clock, neither at once nor never.
	plan.Release, plan.TrialDeadlineMS = w.release(v.pack("3.0.0")).ID, 3000
	r = w.rollout(plan)
	asked := time.Now()
	w.verb(r, "start", view.RolloutVerb{}).is(200, &r)
	w.eventually("both have failed by their silence", func() bool {
		w.call("GET", "/rollouts/"+r.ID+"/devices?phase=failed", nil).is(200, &page)
		return len(page.Devices) == 2
	})
	for _, d := range page.Devices {
		if d.Cause != "silence" || d.Since.Sub(asked) < 3*time.Second {
			t.Errorf("after %v the rollout has %+v", d.Since.Sub(asked), d)
		}
	}
}

package api_test

import (
	"fmt"
	"slices"
	"testing"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// offer adds a release of a version, which is not judged.
func (w *world) offer(version string) view.Release {
	w.Helper()
	return w.release(newVendor(w.T).pack(version))
}

func TestADeviceIsUpgradedStepByStep(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	c := w.link("north", "cam-1", func(c *cam) { c.greenlit = "operator" })
	var a view.Asked
	w.call("POST", "/devices/cam-1/stage?wait=50s", view.StageRequest{Release: rel.ID}).is(200, &a)
	if !a.Done || a.Exit != 0 || a.Kind != "stage" || a.Version != "2.0.0" || a.Release != rel.ID || a.Message != "it is staged" {
		t.Errorf("staged: %+v", a)
	}
	w.call("POST", "/devices/cam-1/activate?wait=50s", "{}").is(200, &a)
	if !a.Done || a.Exit != 0 || a.Kind != "activate" || a.Version != "2.0.0" {
		t.Errorf("activated: %+v", a)
	}
	var d view.DeviceDetail
	w.call("GET", "/devices/cam-1", nil).is(200, &d)
	if d.State != view.DeviceTrial || d.Asked == nil || d.Asked.ID != a.ID {
		t.Errorf("on trial: %+v", d)
	}
	w.call("POST", "/devices/cam-1/confirm?wait=50s", nil).is(200, &a)
	if !a.Done || a.Exit != 0 || a.Message == "" {
		t.Errorf("confirmed: %+v", a)
	}
	w.eventually("it runs 2.0.0", func() bool {
		w.call("GET", "/devices/cam-1", nil).is(200, &d)
		return d.Running == "2.0.0" && d.Previous == "1.4"
	})
	for _, action := range d.Actions {
		if denied := action.Name == "activate" || action.Name == "confirm" || action.Name == "cancel"; denied != (action.Denied != "") {
			t.Errorf("after all of it: %+v", action)
		}
	}
	// The scripted device has nothing on trial by now, and says so.
	w.call("POST", "/devices/cam-1/revert?wait=50s", nil).is(200, &a)
	if !a.Done || a.Exit != control.ExitNothing || a.Message != "no version is on trial" {
		t.Errorf("reverted: %+v", a)
	}
	w.call("POST", "/devices/cam-1/cancel?wait=50s", nil).is(200, &a)
	if !a.Done || a.Exit != 0 || a.Kind != "cancel" {
		t.Errorf("cancelled: %+v", a)
	}
	if n := len(c.asked()); n != 2 {
		t.Errorf("the device was asked %d times besides", n)
	}
	got := w.lines()
	for _, action := range []string{"device.stage", "device.activate", "device.confirm", "device.revert"} {
		if !slices.Contains(got, action) {
			t.Errorf("the audit has no %s: %v", action, got)
		}
	}
}

func TestAnUpgradeIsWaitedForToItsEnd(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	w.link("north", "cam-1")
	w.link("north", "cam-2", func(c *cam) { c.refuses = "its signature is nobody's" })
	c := w.link("north", "cam-3", func(c *cam) { c.greenlit = "operator" })
	var a view.Asked
	w.call("POST", "/devices/cam-1/upgrade?wait=50s", view.UpgradeRequest{Release: rel.ID}).is(200, &a)
	if !a.Done || a.Exit != 0 || a.Kind != "upgrade" || a.Message != "it is permanent" || a.By != "token "+w.tokenID() {
		t.Errorf("upgraded: %+v", a)
	}
	w.call("POST", "/devices/cam-2/upgrade?wait=50s", view.UpgradeRequest{Release: rel.ID}).is(200, &a)
	if !a.Done || a.Exit != control.ExitRefused || a.Code != "bad-signature" || a.Message != "its signature is nobody's" {
		t.Errorf("refused: %+v", a)
	}
	w.call("POST", "/devices/cam-3/upgrade?wait=100ms", view.UpgradeRequest{Release: rel.ID}).is(202, &a)
	if a.Done {
		t.Errorf("on trial: %+v", a)
	}
	w.eventually("cam-3 is on trial", func() bool {
		d, _ := w.cfg.Fleet.Table().Get("cam-3")
		return d.State == view.DeviceTrial
	})
	c.change(func(*control.Status) { c.end(control.OutcomeReverted) })
	var d view.DeviceDetail
	w.eventually("its end is told", func() bool {
		w.call("GET", "/devices/cam-3", nil).is(200, &d)
		return d.Asked.Done
	})
	if d.Asked.Exit != control.ExitReverted || d.Asked.Code != "operator" {
		t.Errorf("reverted: %+v", d.Asked)
	}
}

func TestVerbsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	w.link("north", "cam-1").away()
	w.link("north", "cam-2")
	stage := view.StageRequest{Release: rel.ID}
	w.call("POST", "/devices/cam-1/confirm", nil).fails(503, "device-offline")
	w.call("POST", "/devices/cam-1/revert", "{}").fails(503, "device-offline")
	w.call("POST", "/devices/cam-9/stage", stage).fails(404, "no-device")
	w.call("POST", "/devices/cam-2/stage", stage, by(w.token("bob", "viewer"))).fails(403, "forbidden")
	w.call("POST", "/devices/cam-2/stage", stage, by(w.token("dan", "viewer", "operator site:south"))).fails(403, "forbidden")
	w.call("POST", "/devices/cam-2/stage", stage, by(w.token("eve", "operator site:south"))).fails(404, "no-device")
	w.call("POST", "/devices/cam-2/stage", view.StageRequest{Release: "none"}).fails(409, "refused")
	w.call("POST", "/devices/cam-2/activate", nil).fails(409, "refused")
	w.call("POST", "/devices/cam-2/stage?wait=never", stage).fails(422, "invalid")
	w.call("POST", "/devices/cam-2/stage?wait=9h", stage).fails(422, "invalid")
	if got := w.lines(); slices.ContainsFunc(got, func(a string) bool { return a == "device.stage" || a == "device.confirm" }) {
		t.Errorf("what was refused is in the audit as done: %v", got)
	}
	// What does not hurry waits for the device.
	var a view.Asked
	w.call("POST", "/devices/cam-1/stage", stage).is(202, &a)
	if a.Done || a.Version != "2.0.0" {
		t.Errorf("%+v", a)
	}
}

// What is staged by somebody else is activated as the release that it is.
func TestActivateWhatIsStaged(t *testing.T) {
	w := newWorld(t)
	rel, other := w.offer("2.0.0"), w.offer("3.0.0")
	w.link("north", "cam-1", func(c *cam) {
		c.status.Slots[1] = control.Slot{Name: "b", State: control.StateStaged, Version: "2.0.0", Digest: rel.Digest}
	})
	var a view.Asked
	w.call("POST", "/devices/cam-1/activate?wait=50s", nil).is(200, &a)
	if !a.Done || a.Release != rel.ID || a.Exit != 0 {
		t.Errorf("%+v, and not of %s", a, fmt.Sprint(rel.ID, " or ", other.ID))
	}
}

func TestAPostIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	w.link("north", "cam-1")
	stage := func(key string, token string) got {
		return w.call("POST", "/devices/cam-1/stage?wait=50s", view.StageRequest{Release: rel.ID}, header("Idempotency-Key", key), by(token))
	}
	first, again := stage("k1", w.ann), stage("k1", w.ann)
	if first.status != 200 || string(first.body) != string(again.body) || again.header.Get("Idempotency-Replayed") != "true" ||
		again.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, then %d %s %v", first.body, again.status, again.body, again.header)
	}
	if other := stage("k2", w.ann); string(other.body) == string(first.body) {
		t.Errorf("another key got the same ask: %s", other.body)
	}
	// Keys are their senders' own.
	if other := stage("k1", w.token("bob", "operator")); string(other.body) == string(first.body) || other.status != 200 {
		t.Errorf("somebody else's key got %d %s", other.status, other.body)
	}
	w.call("POST", "/devices/cam-1/stage?wait=50s", view.StageRequest{Release: rel.ID, Force: true}, header("Idempotency-Key", "k1")).fails(422, "key-reused")
	n := 0
	for _, action := range w.lines() {
		if action == "device.stage" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d asks are in the audit", n)
	}
	// A refusal is no answer to keep.
	w.call("POST", "/devices/cam-2/cancel", nil, header("Idempotency-Key", "k3")).fails(404, "no-device")
	w.enrol("north", "cam-2")
	w.call("POST", "/devices/cam-2/cancel", nil, header("Idempotency-Key", "k3")).is(202, nil)
}

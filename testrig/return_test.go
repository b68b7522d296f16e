package testrig_test

import (
	"testing"

	"slipstream/agent/control"
	"slipstream/stream/publish"
)

// The permanent version ends, and once more after its restart at a long interval: the version
// before comes back to the viewer who has waited, and stays.
func TestAViewerOutlivesAVersionThatKeepsEnding(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	two := release("2.0")
	two.App.RestartMax = 0
	r.mustBecome(r.build(two))
	v := r.watch("2.0")
	first := r.app("b")
	crash(t, first)
	s, err := r.WaitStatus(r.ctx, "the restart of 2.0", func(s control.Status) bool {
		return s.Slots[1].App == "ready" && s.Slots[1].PID != first && s.Slots[1].PID > 0
	})
	if err != nil {
		t.Fatal(err)
	}
	from := publish.Monotonic()
	crash(t, s.Slots[1].PID)
	r.sees(v, "1.0", from)
	r.permanent("1.0.0")
	if got := r.record(); got.Version != "1.0.0" || got.Counter != 2 {
		t.Errorf("the record, with the floor: %+v", got)
	}
	if h := r.newest(); h.Outcome != control.OutcomeReverted || h.To != "2.0.0" || h.Reason != "crashing" {
		t.Errorf("history: %+v", h)
	}
	if !v.Alive() {
		t.Errorf("the viewer's session has ended: %s", v.Ended())
	}
}

// Nothing is lost to viewers when an operator takes back what is permanent.
func TestViewersOfAReturn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	r.mustBecome(r.build(release("2.0")))
	v := r.watch("2.0")
	if _, err := r.WaitStatus(r.ctx, "the end of 1.0", func(s control.Status) bool { return s.Slots[0].App == "stopped" }); err != nil {
		t.Fatal(err)
	}
	from := publish.Monotonic()
	if res := r.Client.Return(r.ctx, control.ReturnRequest{Wait: true}); res.Exit != control.ExitDone {
		t.Fatalf("return: %+v", res)
	}
	r.sees(v, "1.0", from)
	r.permanent("1.0.0")
	clean(t, v, from, publish.Monotonic())
}

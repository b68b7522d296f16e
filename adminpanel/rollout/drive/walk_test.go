package drive_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/view"
)

const walks = 60

// walk is one random course of things.
type walk struct {
	t    *testing.T
	rand *rand.Rand
	s    *sim
	p    *panel
	path string
	id   string
}

// Whatever devices, people and power cuts of the panel do, in any order: nobody is asked for
// what is not journaled, no more devices are on trial than may be, and when all are here
// again every one comes to an end that is the truth about it.
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	d := dir(t)
	for seed := range uint64(walks) {
		synctest.Test(t, func(t *testing.T) {
			w := &walk{t: t, rand: rand.New(rand.NewPCG(seed, 7)), s: newSim(t), path: filepath.Join(d, fmt.Sprint(seed))}
			w.begin()
			for range 40 {
				w.anything()
				synctest.Wait()
			}
			w.finish()
			if t.Failed() {
				t.Fatalf("in the walk of seed %d", seed)
			}
		})
	}
}

func (w *walk) begin() {
	fates := []string{good, good, good, reverts, unstable, operator, silent}
	for i := range 3 + w.rand.IntN(8) {
		w.s.add(fmt.Sprint("cam-", i), fates[w.rand.IntN(len(fates))], []string{"1.4", "1.3"}[w.rand.IntN(2)])
	}
	plan := careful
	plan.MaxUnavailable = 1 + w.rand.IntN(3)
	plan.OnFailure = []string{"halt", "pause", "revert"}[w.rand.IntN(3)]
	plan.Activation = []string{"waves", "waves", "together"}[w.rand.IntN(3)]
	plan.Greenlight.Auto = w.rand.IntN(2) == 0
	if plan.Activation == "waves" {
		w.s.most = plan.MaxUnavailable
	}
	w.p = start(w.t, w.s, w.path, 0, false)
	w.id = w.p.create(plan, 0).ID
	w.p.verb(w.id, drive.VerbStart, ann)
}

func (w *walk) anything() {
	switch w.rand.IntN(12) {
	case 0, 1:
		c := fmt.Sprint("cam-", w.rand.IntN(len(w.s.cams)))
		w.s.link(c, w.rand.IntN(2) == 0)
	case 2:
		w.kill(0)
	case 3:
		w.kill(1 + w.rand.IntN(6))
	case 4:
		verbs := []string{drive.VerbPause, drive.VerbResume, drive.VerbResume, drive.VerbRetry, drive.VerbSkipWave, drive.VerbConfirm, drive.VerbAbortRevert}
		w.try(verbs[w.rand.IntN(len(verbs))])
	case 5:
		_, _ = w.p.Ask(w.t.Context(), drive.Wish{
			Device: fmt.Sprint("cam-", w.rand.IntN(len(w.s.cams))), Want: rollout.WantStage, Release: "r15", By: "user bob",
		}) // refused while the device is under way
	default:
		time.Sleep(time.Duration(w.rand.IntN(30_000)) * time.Millisecond)
	}
}

// kill ends the panel: now, or at one of its next commits, which may be on disk.
func (w *walk) kill(in int) {
	if in > 0 {
		w.p.store.mu.Lock()
		w.p.store.at, w.p.store.after = w.p.store.commits+in, w.rand.IntN(2) == 0
		w.p.store.mu.Unlock()
		for range 20 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if w.p.store.dead() {
				break
			}
		}
	}
	w.p.stop()
	w.p = start(w.t, w.s, w.path, 0, false)
}

func (w *walk) try(verb string) { _, _ = w.p.Verb(w.t.Context(), w.id, verb, ann) } // refused where it makes no sense

func (w *walk) finish() {
	defer func() { w.p.stop() }()
	for id := range w.s.cams {
		w.s.link(id, true)
	}
	for range 300 {
		v, err := w.p.Show(w.t.Context(), w.id)
		if err != nil {
			w.t.Fatal(err)
		}
		if v.State == view.RolloutCompleted || v.State == view.RolloutAborted {
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			w.truth()
			return
		}
		w.try(drive.VerbResume)
		w.try(drive.VerbConfirm)
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	v, _ := w.p.Show(w.t.Context(), w.id)
	w.t.Errorf("it does not end: %+v", v)
}

// truth compares what the rollout believes with what the devices are.
func (w *walk) truth() {
	page, err := w.p.Devices(w.t.Context(), w.id, 0, "", "", 0)
	if err != nil || page.Total != len(w.s.cams) {
		w.t.Fatalf("%+v, %v", page, err)
	}
	for _, d := range page.Devices {
		c := w.s.cams[d.ID]
		a, _ := w.p.Asked(d.ID)
		if a.Rollout() != w.id {
			continue // somebody else has asked it since
		}
		switch runs := c.status.Permanent == "2.0"; {
		case !endedPhase(d.Phase):
			w.t.Errorf("%s is %s", d.ID, d.Phase)
		case (d.Phase == view.PhaseDone) != runs && !(runs && a.Want == rollout.WantRevert):
			w.t.Errorf("%s (%s) is %s (%s), and runs %s; %+v; asked %+v, last %+v", d.ID, c.fate, d.Phase, d.Cause, c.status.Permanent, c.status, a, c.status.Last)
			item, _ := w.p.file.Get(w.t.Context(), "rd/"+w.id+"/"+d.ID)
			w.t.Logf("%s", item.Value)
		}
	}
}

func endedPhase(phase string) bool {
	return phase == view.PhaseDone || phase == view.PhaseFailed || phase == view.PhaseReverted || phase == view.PhaseSkipped
}

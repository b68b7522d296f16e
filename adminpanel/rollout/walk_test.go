package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/view"
)

// world is a fleet that does what it is asked, or not, in any order. Its devices lie in
// one thing: all of them know of an ask at the instant they act on it.
type world struct {
	t       *rapid.T
	plan    view.Plan
	r       *rollout.Rollout
	now     time.Time
	wake    time.Time
	devices []*thing
	byID    map[string]*thing
	journal map[string]rollout.Course
	head    rollout.Head
}

// thing is one device.
type thing struct {
	id, site string
	online   bool
	ask      rollout.Ask
	was      string // what it last said
	staged   bool
	running  bool // the release
	trial    bool
	activate int // how often it was told to
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: noon, byID: map[string]*thing{}, journal: map[string]rollout.Course{}}
	w.plan = view.Plan{
		Release: "new", MaxUnavailable: rapid.IntRange(1, 4).Draw(t, "unavailable"), MaxPerSite: rapid.IntRange(0, 2).Draw(t, "perSite"),
		MaxStaging: rapid.IntRange(0, 3).Draw(t, "staging"), SuccessPercent: rapid.SampledFrom([]float64{0, 50, 90, 100}).Draw(t, "success"),
		FailPercent: rapid.SampledFrom([]float64{0, 10, 100}).Draw(t, "fail"), TrialDeadlineMS: minute, StagingDeadlineMS: 10 * minute,
		Retries: rapid.IntRange(0, 2).Draw(t, "retries"), RetryAfterMS: rapid.SampledFrom([]int64{0, 2 * minute}).Draw(t, "pause"),
		OnFailure: rapid.SampledFrom([]string{"pause", "halt", "revert"}).Draw(t, "onFailure"), OfflineDeadlineMS: hour,
		Activation: rapid.SampledFrom([]string{"waves", "waves", "together"}).Draw(t, "activation"),
		Greenlight: view.Greenlight{Auto: rapid.Bool().Draw(t, "auto")},
	}
	if rapid.Bool().Draw(t, "window") {
		w.plan.Windows = []view.Window{{Days: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, From: "22:00", To: "04:00"}}
	}
	for range rapid.IntRange(0, 2).Draw(t, "waves") {
		w.plan.Waves = append(w.plan.Waves, view.Wave{Count: 1, SoakMS: rapid.SampledFrom([]int64{0, hour}).Draw(t, "soak")})
	}
	w.plan.Waves = append(w.plan.Waves, view.Wave{})
	var members []rollout.Member
	for i := range rapid.IntRange(1, 9).Draw(t, "devices") {
		d := &thing{id: fmt.Sprint("cam-", i), site: fmt.Sprint("site-", i%3), online: rapid.Bool().Draw(t, "online")}
		w.devices = append(w.devices, d)
		w.byID[d.id] = d
		members = append(members, rollout.Member{
			Device: d.id, Site: d.site, Wave: min(i/2, len(w.plan.Waves)-1), Steps: []string{"new"}, Online: d.online,
			Zone: []string{"", "Asia/Tokyo", "America/New_York"}[i%3],
		})
	}
	r, err := rollout.New(w.plan, members)
	if err != nil {
		t.Fatal(err)
	}
	w.r = r
	for _, m := range members {
		w.journal[m.Device], _ = r.Course(m.Device)
	}
	w.head = r.Head()
	w.step(rollout.Start{At: w.now})
	return w
}

func (w *world) step(e rollout.Event) {
	before := w.r.Show(w.now)
	out, err := w.r.Step(e)
	if err != nil {
		return
	}
	w.head = w.r.Head()
	for _, id := range out.Courses {
		w.journal[id], _ = w.r.Course(id)
	}
	w.wake = out.Wake
	for _, a := range out.Asks {
		w.hear(a, before)
	}
	w.check()
}

// hear is a device's ear, and where asks that must not be are found.
func (w *world) hear(a rollout.Ask, before view.Rollout) {
	d := w.byID[a.Device]
	if a.Epoch < d.ask.Epoch {
		w.t.Fatalf("%s was asked with epoch %d after %d", a.Device, a.Epoch, d.ask.Epoch)
	}
	c := w.journal[a.Device]
	if c.Epoch != a.Epoch || c.Want != a.Want {
		w.t.Fatalf("%s was asked to %s (epoch %d), and the journal knows of %s (%d)", a.Device, a.Want, a.Epoch, c.Want, c.Epoch)
	}
	if a.Want == rollout.WantActivate && a.Epoch > d.ask.Epoch {
		if !d.staged {
			w.t.Fatalf("%s was activated and has nothing staged", d.id)
		}
		if v := w.r.Show(w.now).Waves[c.Wave]; v.Verdict == "waiting" {
			w.t.Fatalf("%s was activated in wave %d, which is not open", d.id, c.Wave+1)
		}
		if before.State != view.RolloutRunning && before.State != view.RolloutPaused && before.State != view.RolloutHalted && before.State != view.RolloutDraft {
			w.t.Fatalf("%s was activated in a rollout that was %s", d.id, before.State)
		}
		if len(w.plan.Windows) > 0 && !inWindow(w.now, c.Zone) {
			w.t.Fatalf("%s was activated outside of its window, at %v", d.id, w.now)
		}
		d.activate++
	}
	d.ask = a
}

// inWindow knows the walk's one window in another way than the code under test.
func inWindow(at time.Time, zone string) bool {
	l, _ := time.LoadLocation(zone)
	h := at.In(l).Hour()
	return h >= 22 || h < 4
}

// check holds what must always be.
func (w *world) check() {
	v := w.r.Show(w.now)
	sites := map[string]int{}
	count := view.Counts{}
	for _, d := range w.devices {
		c := w.journal[d.id]
		count.Devices++
		if c.Phase == view.PhaseActivating || c.Phase == view.PhaseTrial || c.Phase == view.PhaseReverting {
			sites[d.site]++
			count.Trial++
		}
		if c.Phase == view.PhaseDone && !d.running && d.was != rollout.SeenReverted {
			w.t.Fatalf("%s counts as done and never said so", d.id)
		}
	}
	t := v.Total
	if sum := t.Queued + t.Staging + t.Staged + t.Activating + t.Trial + t.Done + t.Failed + t.Reverting + t.Reverted + t.Skipped + t.Unknown; sum != t.Devices || t.Devices != len(w.devices) {
		w.t.Fatalf("the counts do not add up: %+v", t)
	}
	if v.Now != count.Trial {
		w.t.Fatalf("%d are unavailable, and the rollout counts %d", count.Trial, v.Now)
	}
	if v.State != view.RolloutRunning {
		return // a roll-back may find more under way than it would start
	}
	if w.plan.Activation == "waves" && v.Now > w.plan.MaxUnavailable {
		w.t.Fatalf("%d devices are unavailable, %d at most may be", v.Now, w.plan.MaxUnavailable)
	}
	for site, n := range sites {
		if w.plan.MaxPerSite > 0 && n > w.plan.MaxPerSite {
			w.t.Fatalf("%d devices of %s are unavailable, %d at most may be", n, site, w.plan.MaxPerSite)
		}
	}
	for i, wave := range v.Waves {
		if i > 0 && wave.Verdict != "waiting" && (v.Waves[i-1].Verdict == "open" || v.Waves[i-1].Verdict == "soaking") {
			w.t.Fatalf("wave %d is %s, and wave %d has no verdict", i+1, wave.Verdict, i)
		}
	}
}

// act lets a device do its next thing: well, badly, or not at all.
func (w *world) act(d *thing) {
	if !d.online || d.ask.Want == "" || d.ask.Want == rollout.WantNothing {
		return
	}
	fate := rapid.IntRange(0, 9).Draw(w.t, "fate")
	say := ""
	switch {
	case fate == 0:
		return
	case d.ask.Want == rollout.WantRevert:
		say = rollout.SeenReverted
		d.running, d.trial = false, false
	case fate == 1 && d.ask.Want == rollout.WantStage:
		say = rollout.SeenFailed
	case fate == 1 && (d.trial || d.running):
		say = rollout.SeenReverted
		d.running, d.trial, d.staged = false, false, false
	case d.ask.Want == rollout.WantStage:
		say = rollout.SeenStaged
		d.staged = true
	case d.running:
		say = rollout.SeenDone
	case d.trial && (d.ask.Want == rollout.WantConfirm || fate > 5):
		say = rollout.SeenDone
		d.running, d.trial = true, false
	case d.trial:
		say = rollout.SeenReady
	case d.staged:
		say = rollout.SeenTrial
		d.trial = true
	default:
		say = rollout.SeenFailed
	}
	d.was = say
	w.step(rollout.Seen{At: w.now, Device: d.id, Epoch: d.ask.Epoch, What: say, Release: "new", Cause: "some cause"})
}

func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; !w.wake.IsZero() && !w.wake.After(end); n++ {
		if n > 10_000 {
			w.t.Fatal("time stands still: a tick is due again and again")
		}
		w.now = w.wake
		w.step(rollout.Tick{At: w.now})
	}
	w.now = end
}

// restart is a panel that was killed: what it journaled is all it knows.
func (w *world) restart() {
	var courses []rollout.Course
	for _, d := range w.devices {
		courses = append(courses, w.journal[d.id])
	}
	r, err := rollout.Restore(w.plan, w.head, courses, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(w.head, r.Head()); diff != "" {
		w.t.Fatalf("a restart changed the head: %s", diff)
	}
	w.r = r
	for _, d := range w.devices {
		c, _ := r.Course(d.id)
		w.journal[d.id] = c
	}
	w.step(rollout.Tick{At: w.now})
	for _, d := range w.devices {
		if d.online {
			w.step(rollout.Link{At: w.now, Device: d.id, Online: true})
		}
	}
}

func (w *world) anything() {
	d := w.devices[rapid.IntRange(0, len(w.devices)-1).Draw(w.t, "device")]
	switch rapid.IntRange(0, 15).Draw(w.t, "event") {
	case 0:
		d.online = !d.online
		w.step(rollout.Link{At: w.now, Device: d.id, Online: d.online})
	case 1:
		w.pass(time.Duration(rapid.Int64Range(1, 90*minute).Draw(w.t, "time")) * time.Millisecond)
	case 2:
		w.restart()
	case 3:
		w.person()
	default:
		w.act(d)
	}
}

func (w *world) person() {
	switch rapid.IntRange(0, 9).Draw(w.t, "person") {
	case 0:
		w.step(rollout.Pause{At: w.now})
	case 1, 2, 3:
		w.step(rollout.Resume{At: w.now})
	case 4:
		w.step(rollout.Retry{At: w.now})
	case 5:
		w.step(rollout.SkipWave{At: w.now})
	case 6:
		w.step(rollout.AbortRevert{At: w.now})
	case 7:
		w.step(rollout.Confirm{At: w.now})
	}
}

// Whatever happens in whatever order, the promises of the package hold; and when
// everyone is here and does as asked, every device comes to an end.
func TestAnyOrderOfEvents(t *testing.T) {
	for range 5 { // a hundred walks each
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			for range rapid.IntRange(0, 80).Draw(t, "events") {
				w.anything()
			}
			w.finish()
		})
	}
}

// finish lets everything go well from here, and a person accept what was not.
func (w *world) finish() {
	for _, d := range w.devices {
		d.online = true
		w.step(rollout.Link{At: w.now, Device: d.id, Online: true})
	}
	for range 400 {
		if w.r.Over() {
			w.over()
			return
		}
		w.step(rollout.Resume{At: w.now})
		for _, d := range w.devices {
			w.comply(d)
		}
		w.step(rollout.Confirm{At: w.now})
		w.pass(20 * time.Minute)
	}
	v := w.r.Show(w.now)
	w.t.Fatalf("it does not end: %s in wave %d, %+v", v.State, v.Wave, v.Total)
}

func (w *world) comply(d *thing) {
	say := ""
	switch d.ask.Want {
	case rollout.WantStage:
		d.staged = true
		say = rollout.SeenStaged
		if d.running {
			say = rollout.SeenDone
		}
	case rollout.WantActivate, rollout.WantConfirm:
		d.running, d.trial = true, false
		say = rollout.SeenDone
	case rollout.WantRevert:
		d.running, d.trial = false, false
		say = rollout.SeenReverted
	default:
		return
	}
	d.was = say
	w.step(rollout.Seen{At: w.now, Device: d.id, Epoch: d.ask.Epoch, What: say, Release: "new"})
}

func (w *world) over() {
	for _, d := range w.devices {
		switch c := w.journal[d.id]; c.Phase {
		case view.PhaseDone, view.PhaseFailed, view.PhaseReverted, view.PhaseSkipped:
		default:
			w.t.Fatalf("the rollout is over, and %s is %s", d.id, c.Phase)
		}
	}
}

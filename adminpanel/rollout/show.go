package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
)

// Show fills in what the engine knows of a rollout's page; the rest is the caller's.
func (r *Rollout) Show(now time.Time) view.Rollout {
	v := view.Rollout{
		Plan: r.plan, State: r.head.State, Why: r.head.Why, Wave: r.head.Wave + 1,
		Started: r.head.Started, Ended: r.head.Ended,
		Total: r.total, Failures: r.failureCauses(), Now: r.busy[anyDevice],
		ActP50MS: r.acts.quantile(0.5), ActP99MS: r.acts.quantile(0.99),
		GapP50MS: r.gaps.quantile(0.5), GapMaxMS: r.gaps.most, GapWorst: r.worst,
		Waves: make([]view.WaveState, len(r.waves)), Approvals: []view.Approval{}, Actions: r.verbs(),
	}
	for i, h := range r.head.Waves {
		v.Waves[i] = view.WaveState{
			Name: r.plan.Waves[i].Name, Counts: r.waves[i], Verdict: h.Verdict, Why: h.Why, Opened: h.Opened, Closed: h.Closed,
		}
	}
	if n := r.endings(); n > 0 {
		low, high := wilson(r.failures(), n)
		v.FailRate, v.FailLow, v.FailHigh = 100*float64(r.failures())/float64(n), 100*low, 100*high
	}
	if r.is(view.RolloutRunning) {
		v.Waiting, v.NextEvent = r.waits(now)
	}
	return v
}

// waits says what the rollout waits for, and what time alone will bring. Sentences have no
// times, so that they change only when something has.
func (r *Rollout) waits(now time.Time) ([]string, *view.Next) {
	var list []string
	var next *view.Next
	if h := r.open(); h != nil && h.Verdict == waveSoaking {
		left := h.Reached.Add(r.soak()).Sub(now)
		next = &view.Next{What: "soak", InMS: left.Milliseconds()}
		list = append(list, fmt.Sprintf("wave %d soaks", r.head.Wave+1))
	}
	inWindow, bySite := 0, 0
	for name, held := range r.held {
		if isWindow(name) {
			inWindow += len(held)
			continue
		}
		bySite += len(held)
	}
	if inWindow > 0 {
		list = append(list, few(inWindow)+" for a window")
		if next == nil {
			next = &view.Next{What: "window", InMS: r.nextWindow(now).Sub(now).Milliseconds()}
		}
	}
	if bySite > 0 {
		list = append(list, few(bySite)+" for another of the same site or tag to end its trial")
	}
	switch n := r.total.Offline; n {
	case 0:
	case 1:
		list = append(list, "one device is away")
	default:
		list = append(list, fmt.Sprintf("%d devices are away", n))
	}
	return list, next
}

func few(n int) string {
	if n == 1 {
		return "one device waits"
	}
	return fmt.Sprintf("%d devices wait", n)
}

// nextWindow is when the first of the windows opens that somebody waits for.
func (r *Rollout) nextWindow(now time.Time) time.Time {
	var first time.Time
	for name, held := range r.held {
		if !isWindow(name) || len(held) == 0 {
			continue
		}
		_, next := openAt(r.windows, now, r.devices[held[0]].zone)
		if first.IsZero() || next.Before(first) {
			first = next
		}
	}
	return first
}

// verbs lists what may be done with the rollout in its state.
func (r *Rollout) verbs() []view.Step {
	allowed := map[string][]string{
		"approve":      {view.RolloutDraft},
		"start":        {view.RolloutApproved},
		"pause":        {view.RolloutRunning},
		"resume":       {view.RolloutPaused, view.RolloutHalted},
		"abort":        {view.RolloutDraft, view.RolloutApproved, view.RolloutRunning, view.RolloutPaused, view.RolloutHalted, view.RolloutRollingBack},
		"abort-revert": {view.RolloutRunning, view.RolloutPaused, view.RolloutHalted, view.RolloutCompleted, view.RolloutAborted},
		"retry":        {view.RolloutRunning, view.RolloutPaused, view.RolloutHalted},
		"skip-wave":    {view.RolloutRunning, view.RolloutPaused, view.RolloutHalted},
		"confirm":      {view.RolloutRunning, view.RolloutPaused, view.RolloutHalted},
	}
	order := []string{"approve", "start", "pause", "resume", "abort", "abort-revert", "retry", "skip-wave", "confirm"}
	var list []view.Step
	for _, name := range order {
		step := view.Step{Name: name}
		switch {
		case !r.is(allowed[name]...):
			step.Denied = "not while the rollout is " + strings.ReplaceAll(r.head.State, "-", " ")
		case name == "retry" && r.failures() == 0:
			step.Denied = "no device has failed"
		case name == "skip-wave" && r.head.Wave+1 >= len(r.waves):
			step.Denied = "this is the last wave"
		case name == "confirm" && !slices.ContainsFunc(r.devices, func(d device) bool { return d.waits }):
			step.Denied = "no trial waits for a greenlight"
		}
		list = append(list, step)
	}
	return list
}

// Devices lists those of a wave (-1: all) and phase ("": all) after an id, in the order of
// their ids, and tells how many there are on all pages.
func (r *Rollout) Devices(wave int, phase, after string, most int) (list []view.RolloutDevice, total int) {
	var ids []string
	for i := range r.devices {
		d := &r.devices[i]
		if (wave < 0 || d.Wave == wave) && (phase == "" || d.shown() == phase) {
			total++
			if d.Device > after {
				ids = append(ids, d.Device)
			}
		}
	}
	slices.Sort(ids)
	list = []view.RolloutDevice{}
	for _, id := range ids[:min(len(ids), most)] {
		d := &r.devices[r.index[id]]
		list = append(list, view.RolloutDevice{
			ID: id, Wave: d.Wave + 1, Phase: d.shown(), Since: d.Since, Tries: d.Tries, Cause: d.Cause, Detail: d.Detail, From: d.From,
		})
	}
	return list, total
}

func (d *device) shown() string {
	if d.unknown {
		return view.PhaseUnknown
	}
	return d.Phase
}

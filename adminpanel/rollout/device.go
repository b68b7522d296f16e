package rollout

import (
	"time"

	"slipstream/adminpanel/view"
)

// Causes that the rollout itself finds.
const (
	causeSilence = "silence"
	causeRevert  = "no word on the revert"
	causeGone    = "left the fleet"
)

func (r *Rollout) link(e Link) {
	i, ok := r.index[e.Device]
	if !ok || r.devices[i].online == e.Online {
		return
	}
	r.tally(i, -1) // not journaled: presence is not
	r.devices[i].online = e.Online
	r.tally(i, 1)
	if e.Online {
		r.arrived(i)
		return
	}
	if r.devices[i].Phase == view.PhaseStaging {
		r.enter(i, view.PhaseQueued, e.At) // others may download meanwhile
	}
	r.wait(i, e.At)
}

// arrived asks a device again what it may have missed.
func (r *Rollout) arrived(i int) {
	d := &r.devices[i]
	switch {
	case waiting(d.Phase):
		r.change(i, func(d *device) { d.Until = time.Time{} })
		r.enqueue(i)
	case d.Want == WantNothing, d.Want != "" && !ended(d.Phase):
		r.send(i)
	}
}

// wait gives a device that is away its time to come, if the plan has such a time.
func (r *Rollout) wait(i int, at time.Time) {
	d := &r.devices[i]
	if r.plan.OfflineDeadlineMS > 0 && !d.online && waiting(d.Phase) {
		r.until(i, at.Add(span(r.plan.OfflineDeadlineMS)))
	}
}

// waiting phases are those in which nothing happens on the device.
func waiting(phase string) bool { return phase == view.PhaseQueued || phase == view.PhaseStaged }

func (r *Rollout) leave(e Leave) {
	i, ok := r.index[e.Device]
	if !ok || r.devices[i].gone {
		return
	}
	r.devices[i].gone = true
	if !ended(r.devices[i].Phase) {
		r.skip(i, causeGone, e.At)
	}
}

func (r *Rollout) taken(e Taken) {
	i, ok := r.index[e.Device]
	if !ok || e.Epoch <= r.devices[i].Epoch {
		return
	}
	r.change(i, func(d *device) { d.Epoch, d.Heard, d.Want = e.Epoch, e.Epoch, "" })
	if !ended(r.devices[i].Phase) {
		r.skip(i, "somebody else has asked it for something", e.At)
	}
}

func (r *Rollout) skip(i int, why string, at time.Time) {
	limits := r.limitsOf(&r.devices[i])
	r.enter(i, view.PhaseSkipped, at)
	r.change(i, func(d *device) { d.Cause = why })
	r.release(limits)
}

// seen takes a device's word. What it says of another release than the one asked for,
// and what it said before it knew of the newest ask, is not about this.
func (r *Rollout) seen(e Seen) {
	i, ok := r.index[e.Device]
	if !ok {
		return
	}
	d := &r.devices[i]
	if d.Want == "" || e.Release != d.Steps[d.Step] || e.Epoch < d.Heard {
		return
	}
	if d.unknown {
		r.change(i, func(d *device) { d.unknown = false })
	}
	if e.GapMS > d.GapMS {
		r.change(i, func(d *device) { d.GapMS = e.GapMS })
		r.gaps.add(e.GapMS)
		if e.GapMS >= r.gaps.most {
			r.worst = d.Device
		}
	}
	if d.Phase == view.PhaseReverting {
		r.seenReverting(i, e)
		return
	}
	switch e.What {
	case SeenStaged:
		r.seenStaged(i, e.At)
	case SeenTrial, SeenReady:
		r.seenTrial(i, e)
	case SeenDone:
		r.seenDone(i, e.At)
	case SeenFailed:
		r.seenFailed(i, e)
	case SeenReverted:
		r.seenReverted(i, e)
	}
}

// seenReverting hears only how the revert ended: a device that was asked to return may
// still say that the version is its permanent one, until it is not.
func (r *Rollout) seenReverting(i int, e Seen) {
	switch e.What {
	case SeenReverted:
		r.end(i, view.PhaseReverted, "asked to revert", e.Detail, e.At)
	case SeenFailed:
		r.end(i, view.PhaseFailed, "cannot revert: "+e.Cause, e.Detail, e.At)
	}
}

func (r *Rollout) seenStaged(i int, at time.Time) {
	if r.devices[i].Phase != view.PhaseStaging {
		return
	}
	r.enter(i, view.PhaseStaged, at)
	r.wait(i, at)
	r.enqueue(i)
}

func (r *Rollout) seenTrial(i int, e Seen) {
	d := &r.devices[i]
	switch d.Phase {
	case view.PhaseStaging, view.PhaseStaged, view.PhaseActivating:
		since := d.Since
		asked := d.Phase == view.PhaseActivating
		until := d.Until
		r.enter(i, view.PhaseTrial, e.At)
		if !asked { // somebody else activated it
			until = e.At.Add(span(r.plan.TrialDeadlineMS))
		}
		r.until(i, until)
		if asked {
			ms := float64(e.At.Sub(since).Microseconds()) / 1000
			r.change(i, func(d *device) { d.ActMS = ms })
			r.acts.add(ms)
		}
	case view.PhaseTrial:
	default:
		return
	}
	d.waits = e.What == SeenReady
	if d.waits && r.plan.Greenlight.Auto && d.Want == WantActivate && r.is(view.RolloutRunning) {
		r.ask(i, WantConfirm)
	}
}

// seenDone also takes the word of a device that was given up for its silence: it is the
// truth about itself.
func (r *Rollout) seenDone(i int, at time.Time) {
	d := &r.devices[i]
	switch {
	case d.Phase == view.PhaseDone || d.Phase == view.PhaseReverted:
		return
	case d.Phase == view.PhaseFailed && d.Want == WantRevert:
		return // that it has not gone back is no news
	case d.Step+1 < len(d.Steps):
		r.nextStep(i, at)
		return
	}
	r.end(i, view.PhaseDone, "", "", at)
	if r.is(view.RolloutRollingBack) {
		r.back = append(r.back, i)
	}
}

// nextStep goes on to the next of the releases that the device must pass.
func (r *Rollout) nextStep(i int, at time.Time) {
	limits := r.limitsOf(&r.devices[i])
	r.enter(i, view.PhaseQueued, at)
	r.change(i, func(d *device) { d.Step, d.Tries, d.Cause, d.Detail = d.Step+1, 0, "", "" })
	r.release(limits)
	r.wait(i, at)
	r.enqueue(i)
}

func (r *Rollout) seenFailed(i int, e Seen) {
	switch r.devices[i].Phase {
	case view.PhaseStaging, view.PhaseActivating, view.PhaseTrial, view.PhaseStaged:
		r.fail(i, e.Cause, e.Detail, e.At)
	}
}

// seenReverted counts a device out, whenever that happens.
func (r *Rollout) seenReverted(i int, e Seen) {
	d := &r.devices[i]
	switch d.Phase {
	case view.PhaseReverted, view.PhaseSkipped, view.PhaseQueued:
		return
	case view.PhaseDone:
		r.note("%s has gone back after it was done: %s", d.Device, e.Cause)
	}
	r.end(i, view.PhaseReverted, e.Cause, e.Detail, e.At)
}

// fail ends a device's try. While it has tries left it is queued again after a
// pause. A device that reverted is not: the version was tried and found bad there.
func (r *Rollout) fail(i int, cause, detail string, at time.Time) {
	d := &r.devices[i]
	if d.Tries >= r.plan.Retries || !r.is(view.RolloutRunning, view.RolloutPaused) {
		r.end(i, view.PhaseFailed, cause, detail, at)
		return
	}
	limits := r.limitsOf(d)
	r.enter(i, view.PhaseQueued, at)
	r.change(i, func(d *device) { d.Tries, d.Cause, d.Detail = d.Tries+1, cause, detail })
	r.change(i, func(d *device) { d.Retry = at.Add(span(r.plan.RetryAfterMS)) })
	r.alarms.set(r.devices[i].Retry, i)
	r.release(limits)
}

// end brings a device to an end and gives its room to others.
func (r *Rollout) end(i int, phase, cause, detail string, at time.Time) {
	limits := r.limitsOf(&r.devices[i])
	r.change(i, func(d *device) {
		d.Phase, d.Since, d.Until, d.Retry, d.unknown, d.waits = phase, at, time.Time{}, time.Time{}, false, false
		d.Cause, d.Detail = cause, detail
	})
	r.release(limits)
}

// tick does what is due.
func (r *Rollout) tick(now time.Time) {
	for {
		a, ok := r.alarms.due(now)
		switch {
		case !ok:
			return
		case a.about == aboutWindows:
			r.windowsMoved()
		case a.about >= 0 && r.devices[a.about].Retry.Equal(a.at):
			r.change(a.about, func(d *device) { d.Retry = time.Time{} })
			r.wait(a.about, now)
			r.enqueue(a.about)
		case a.about >= 0 && r.devices[a.about].Until.Equal(a.at):
			r.timeIsUp(a.about, now)
		}
	}
}

func (r *Rollout) windowsMoved() {
	for name := range r.held {
		if isWindow(name) {
			r.releaseAll(name)
		}
	}
}

// timeIsUp is for a device whose deadline has come.
func (r *Rollout) timeIsUp(i int, now time.Time) {
	d := &r.devices[i]
	switch d.Phase {
	case view.PhaseQueued, view.PhaseStaged:
		r.skip(i, "away for too long", now)
	case view.PhaseStaging:
		r.silent(i, "nothing was heard of its download in time", now)
	case view.PhaseActivating:
		r.silent(i, "nothing was heard of its activation in time", now)
	case view.PhaseTrial:
		r.silent(i, "its trial did not end in time", now)
	case view.PhaseReverting:
		r.end(i, view.PhaseFailed, causeRevert, "it was asked to revert and did not say that it has", now)
	}
}

// silent gives a device up, and takes the ask back, lest it be followed in an unwatched
// hour. What the device says of the earlier ask is heard still.
func (r *Rollout) silent(i int, detail string, now time.Time) {
	r.fail(i, causeSilence, detail, now)
	if r.devices[i].Phase == view.PhaseFailed {
		r.ask(i, WantNothing)
	}
}

package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"slipstream/adminpanel/view"
)

// ErrState is wrapped by what Step returns for a verb that makes no sense at present.
var ErrState = errors.New("not in this state of the rollout")

// Step takes an event in. The error says why a verb is refused; other events are
// never refused, and what makes no sense in them changes nothing.
func (r *Rollout) Step(e Event) (Outcome, error) {
	r.out = Outcome{}
	now, err := r.take(e)
	if err != nil {
		return Outcome{}, err
	}
	if r.torn {
		r.mend(now)
	}
	// Asking the last devices may be what the verdict waited for, and the verdict
	// what others waited for.
	for range 2 {
		r.judge(now)
		r.pump(now)
	}
	for _, i := range r.dirty {
		r.out.Courses = append(r.out.Courses, r.devices[i].Device)
	}
	r.clean()
	r.out.Wake = r.alarms.next()
	return r.out, nil
}

// clean forgets what is to be journaled.
func (r *Rollout) clean() {
	for _, i := range r.dirty {
		r.devices[i].dirty = false
	}
	r.dirty = r.dirty[:0]
}

func (r *Rollout) take(e Event) (time.Time, error) {
	switch e := e.(type) {
	case Start:
		return e.At, r.start(e.At)
	case Pause:
		return e.At, r.pause(e.Why)
	case Resume:
		return e.At, r.resume(e.At)
	case Abort:
		return e.At, r.abort(e.At, e.Why)
	case AbortRevert:
		return e.At, r.rollBack(e.At, e.Why)
	case Retry:
		return e.At, r.retryAll(e.At)
	case SkipWave:
		return e.At, r.skipWave(e.At)
	case Confirm:
		return e.At, r.confirm()
	case Tick:
		r.tick(e.At)
		return e.At, nil
	case Link:
		r.link(e)
		return e.At, nil
	case Join:
		return e.At, r.join(e)
	case Leave:
		r.leave(e)
		return e.At, nil
	case Taken:
		r.taken(e)
		return e.At, nil
	case Seen:
		r.seen(e)
		return e.At, nil
	}
	return time.Time{}, fmt.Errorf("rollout: no such event: %T", e)
}

// Over tells whether the rollout asks nobody any more, and has no device in flight.
func (r *Rollout) Over() bool {
	return r.head.State == view.RolloutCompleted || r.head.State == view.RolloutAborted && !r.inFlight()
}

func (r *Rollout) inFlight() bool {
	c := r.total
	return c.Staging+c.Activating+c.Trial+c.Reverting+c.Unknown > 0
}

func (r *Rollout) refuse(verb string) error {
	return fmt.Errorf("%w: a rollout that is %s cannot be %s", ErrState, r.head.State, verb)
}

func (r *Rollout) is(states ...string) bool { return slices.Contains(states, r.head.State) }

// become brings the rollout into a state and says why.
func (r *Rollout) become(state, why string) {
	r.head.State, r.head.Why = state, why
	r.out.Head = true
	if why != "" {
		r.note("the rollout is %s: %s", state, why)
	}
}

func (r *Rollout) note(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, fmt.Sprintf(format, args...))
}

func (r *Rollout) start(at time.Time) error {
	if !r.is(view.RolloutDraft, view.RolloutApproved) {
		return r.refuse("started")
	}
	r.become(view.RolloutRunning, "")
	r.head.Started = at
	for i := range r.devices {
		if !ended(r.devices[i].Phase) {
			r.change(i, func(d *device) { d.Since = at })
			r.wait(i, at)
		}
		r.enqueue(i)
	}
	r.openWave(0, at)
	return nil
}

func (r *Rollout) pause(why string) error {
	if !r.is(view.RolloutRunning) {
		return r.refuse("paused")
	}
	r.become(view.RolloutPaused, why)
	return nil
}

func (r *Rollout) resume(at time.Time) error {
	if !r.is(view.RolloutPaused, view.RolloutHalted) {
		return r.refuse("resumed")
	}
	r.head.Accepted, r.head.Of = r.failures(), r.endings()
	r.become(view.RolloutRunning, "")
	if r.plan.Greenlight.Auto {
		r.confirmReady()
	}
	if h := r.open(); h != nil && (h.Verdict == waveFailed || h.Verdict == wavePassed) {
		r.openWave(r.head.Wave+1, at)
	}
	return nil
}

func (r *Rollout) skipWave(at time.Time) error {
	if !r.is(view.RolloutRunning, view.RolloutPaused, view.RolloutHalted) || r.head.Wave+1 >= len(r.waves) {
		return r.refuse("brought to its next wave")
	}
	if h := r.open(); h.Verdict == waveOpen || h.Verdict == waveSoaking {
		h.Verdict, h.Closed = waveSkipped, at
	}
	r.openWave(r.head.Wave+1, at)
	return nil
}

func (r *Rollout) abort(at time.Time, why string) error {
	if r.is(view.RolloutCompleted, view.RolloutAborted) {
		return r.refuse("aborted")
	}
	r.become(view.RolloutAborted, why)
	r.head.Ended = at
	r.dropWaiting(at)
	return nil
}

// dropWaiting skips whoever has not been activated. A download that runs is called off.
func (r *Rollout) dropWaiting(at time.Time) {
	r.staging.clear()
	r.ready.clear()
	clear(r.held)
	for i := range r.devices {
		d := &r.devices[i]
		d.staging, d.ready = false, false
		switch d.Phase {
		case view.PhaseQueued, view.PhaseStaging, view.PhaseStaged:
			asked := d.Want != ""
			r.skip(i, "the rollout was aborted", at)
			if asked {
				r.ask(i, WantNothing)
			}
		}
	}
}

func (r *Rollout) rollBack(at time.Time, why string) error {
	if r.is(view.RolloutDraft, view.RolloutApproved, view.RolloutRollingBack) {
		return r.refuse("rolled back")
	}
	r.become(view.RolloutRollingBack, why)
	r.head.Ended = time.Time{}
	r.takeBack(at)
	return nil
}

// takeBack turns everyone round who is under way, and queues who has arrived.
func (r *Rollout) takeBack(at time.Time) {
	r.dropWaiting(at)
	for i := range r.devices {
		if d := &r.devices[i]; d.Phase == view.PhaseActivating || d.Phase == view.PhaseTrial {
			r.revert(i, at)
		}
	}
	r.queueBack()
}

// queueBack queues who took the release, those first who are here.
func (r *Rollout) queueBack() {
	r.back = nil
	for _, here := range []bool{true, false} {
		for i := range r.devices {
			if d := &r.devices[i]; d.Phase == view.PhaseDone && d.Want != "" && d.online == here {
				r.back = append(r.back, i)
			}
		}
	}
}

func (r *Rollout) retryAll(at time.Time) error {
	if !r.is(view.RolloutRunning, view.RolloutPaused, view.RolloutHalted) {
		return r.refuse("retried")
	}
	for i := range r.devices {
		d := &r.devices[i]
		if d.gone || d.Phase != view.PhaseFailed && d.Phase != view.PhaseReverted {
			continue
		}
		r.enter(i, view.PhaseQueued, at)
		r.change(i, func(d *device) { d.Tries, d.Force, d.Cause, d.Detail = 0, true, "", "" })
		r.wait(i, at)
		r.enqueue(i)
	}
	if h := r.open(); h != nil && h.Verdict == waveFailed {
		h.Verdict, h.Why, h.Closed = waveOpen, "", time.Time{}
	}
	if r.is(view.RolloutHalted) {
		r.become(view.RolloutRunning, "")
	}
	r.head.Accepted, r.head.Of = r.failures(), r.endings()
	r.out.Head = true
	return nil
}

func (r *Rollout) confirm() error {
	if r.is(view.RolloutDraft, view.RolloutApproved, view.RolloutAborted, view.RolloutRollingBack) {
		return r.refuse("confirmed")
	}
	r.confirmReady()
	return nil
}

func (r *Rollout) confirmReady() {
	for i := range r.devices {
		if d := &r.devices[i]; d.Phase == view.PhaseTrial && d.Want == WantActivate && d.waits {
			r.ask(i, WantConfirm)
		}
	}
}

func (r *Rollout) join(e Join) error {
	if !r.plan.Dynamic || !r.is(view.RolloutRunning, view.RolloutPaused) {
		return r.refuse("joined")
	}
	e.Member.Wave = len(r.waves) - 1
	i, err := r.add(e.Member, e.At)
	if err != nil {
		return err
	}
	r.mark(i)
	r.wait(i, e.At)
	r.enqueue(i)
	return nil
}

package rollout

import (
	"fmt"
	"time"

	"slipstream/adminpanel/view"
)

// Restore makes a rollout from what was journaled. All devices count as away until
// [Link] says that they are here, and those in flight as unknown until they have
// spoken: they get their whole time anew, for it was the panel that was silent.
func Restore(plan view.Plan, head Head, courses []Course, now time.Time) (*Rollout, error) {
	if err := Check(plan); err != nil {
		return nil, err
	}
	if len(head.Waves) != len(plan.Waves) || head.Wave < -1 || head.Wave >= len(plan.Waves) {
		return nil, fmt.Errorf("rollout: the journal tells of %d waves, and the plan has %d", len(head.Waves), len(plan.Waves))
	}
	r := blank(plan)
	r.head = head
	r.head.Waves = append([]WaveHead(nil), head.Waves...)
	for _, c := range courses {
		if err := r.restore(c, now); err != nil {
			return nil, err
		}
	}
	if h := r.open(); h != nil && h.Verdict == waveSoaking {
		r.alarms.set(h.Reached.Add(r.soak()), aboutWave)
	}
	r.torn = r.is(view.RolloutRollingBack, view.RolloutAborted)
	r.clean()
	return r, nil
}

// Look makes a rollout to be shown and for nothing else: devices in flight are what the
// journal says, and here if online says so.
func Look(plan view.Plan, head Head, courses []Course, now time.Time, online func(device string) bool) (*Rollout, error) {
	r, err := Restore(plan, head, courses, now)
	if err != nil {
		return nil, err
	}
	for i, c := range courses {
		r.change(i, func(d *device) { d.unknown, d.online, d.Phase = false, online(c.Device), c.Phase })
	}
	r.clean()
	return r, nil
}

// mend completes an abort or a roll-back whose head was journaled and whose devices were
// not, or not all of them. What was done is not done again.
func (r *Rollout) mend(now time.Time) {
	r.torn = false
	switch {
	case r.is(view.RolloutAborted):
		r.dropWaiting(now)
	case r.is(view.RolloutRollingBack):
		r.takeBack(now)
	}
}

func (r *Rollout) restore(c Course, now time.Time) error {
	_, twice := r.index[c.Device]
	switch {
	case c.Device == "" || twice:
		return fmt.Errorf("rollout: the journal has device %q twice or without a name", c.Device)
	case c.Wave < 0 || c.Wave >= len(r.waves) || c.Step < 0 || c.Step >= len(c.Steps):
		return fmt.Errorf("rollout: what the journal says of device %s makes no sense", c.Device)
	}
	if c.Phase == view.PhaseStaging {
		c.Phase = view.PhaseQueued // asked again when it is here; what it has, it keeps
	}
	c.Until = time.Time{}
	i := r.put(device{Course: c, unknown: unavailable(c.Phase)})
	switch {
	case unavailable(c.Phase):
		r.until(i, now.Add(span(r.plan.TrialDeadlineMS)))
	case !r.is(view.RolloutDraft, view.RolloutApproved):
		r.wait(i, now)
	}
	if !c.Retry.IsZero() {
		r.alarms.set(c.Retry, i)
	}
	return nil
}

// Head is what to journal of the rollout itself.
func (r *Rollout) Head() Head {
	head := r.head
	head.Waves = append([]WaveHead(nil), head.Waves...)
	return head
}

// Course is what to journal of a device; false if it is none of the rollout's. The
// slices in it are shared and not to be changed.
func (r *Rollout) Course(device string) (Course, bool) {
	i, ok := r.index[device]
	if !ok {
		return Course{}, false
	}
	return r.devices[i].Course, true
}

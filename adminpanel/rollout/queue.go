package rollout

import (
	"time"

	"slipstream/adminpanel/view"
)

// queues hold devices by wave, first come first served.
type queues [][]int

func (q queues) push(wave, i int) { q[wave] = append(q[wave], i) }

// pop takes the next of the waves up to and with the one named.
func (q queues) pop(upTo int) (int, bool) {
	for w := 0; w <= upTo && w < len(q); w++ {
		if len(q[w]) > 0 {
			i := q[w][0]
			q[w] = q[w][1:]
			return i, true
		}
	}
	return 0, false
}

func (q queues) clear() {
	for w := range q {
		q[w] = nil
	}
}

// limit is how many devices of one kind may be unavailable at a time.
type limit struct {
	name string
	most int
}

// busyCount counts unavailable devices by the name of the limit.
type busyCount map[string]int

func (b busyCount) add(limits []limit, n int) {
	for _, l := range limits {
		b[l.name] += n
		if b[l.name] == 0 {
			delete(b, l.name)
		}
	}
}

// full returns the first of the limits that leaves no room.
func (b busyCount) full(limits []limit) (limit, bool) {
	for _, l := range limits {
		if b[l.name] >= l.most {
			return l, true
		}
	}
	return limit{}, false
}

// holds are devices that wait for room under a limit, or for a window, by its name.
type holds map[string][]int

// hold puts a device aside; it stays queued in the sense that nobody else queues it.
func (h holds) hold(name string, i int) { h[name] = append(h[name], i) }

// enqueue puts device i where its phase waits, if it is here and not there yet.
func (r *Rollout) enqueue(i int) {
	d := &r.devices[i]
	switch {
	case !d.online || d.gone || !d.Retry.IsZero():
	case d.Phase == view.PhaseQueued && !d.staging:
		d.staging = true
		r.staging.push(d.Wave, i)
	case d.Phase == view.PhaseStaged && !d.ready:
		d.ready = true
		r.ready.push(d.Wave, i)
	}
}

// release gives room that there is under the limits to who waits for it: to one of them,
// for more is left where one goes through.
func (r *Rollout) release(limits []limit) {
	for _, l := range limits {
		for len(r.held[l.name]) > 0 && r.busy[l.name] < l.most {
			i := r.held[l.name][0]
			r.held[l.name] = r.held[l.name][1:]
			r.devices[i].ready = false
			r.enqueue(i)
			if r.devices[i].ready {
				break
			}
		}
	}
}

// releaseAll brings back everyone who waits under a name.
func (r *Rollout) releaseAll(name string) {
	waiting := r.held[name]
	delete(r.held, name)
	for _, i := range waiting {
		r.devices[i].ready = false
		r.enqueue(i)
	}
}

// pump asks whoever may be asked now.
func (r *Rollout) pump(now time.Time) {
	if r.head.State == view.RolloutRunning {
		r.pumpStaging(now)
		r.pumpReady(now)
	}
	if r.head.State == view.RolloutRollingBack {
		r.pumpBack(now)
	}
}

func (r *Rollout) pumpStaging(now time.Time) {
	most := r.plan.MaxStaging
	if most == 0 {
		most = defaultStaging
	}
	for r.total.Staging < most {
		i, ok := r.staging.pop(len(r.waves) - 1)
		if !ok {
			return
		}
		d := &r.devices[i]
		d.staging = false
		if d.Phase != view.PhaseQueued || !d.online || d.gone || !d.Retry.IsZero() {
			continue // a link or an alarm brings it back
		}
		r.enter(i, view.PhaseStaging, now)
		r.until(i, now.Add(r.stagingDeadline()))
		r.ask(i, WantStage)
	}
}

func (r *Rollout) pumpReady(now time.Time) {
	for r.busy[anyDevice] < r.most() {
		i, ok := r.popReady(now)
		if !ok {
			return
		}
		d := &r.devices[i]
		d.ready = false
		limits := r.limitsOf(d)
		l, full := r.busy.full(limits)
		open, next := openAt(r.windows, now, d.zone)
		switch {
		case d.Phase != view.PhaseStaged || !d.online || d.gone:
			// A link or a stage brings it back.
		case !open:
			r.waitForWindow(i, next)
		case full:
			d.ready = true
			r.held.hold(l.name, i)
		default:
			r.activate(i, now)
			continue
		}
		r.release(limits) // the room that it leaves to others
	}
}

// popReady takes the next device of the waves that are open. Of a wave whose devices
// are activated together nobody is taken before all are staged.
func (r *Rollout) popReady(now time.Time) (int, bool) {
	upTo := r.head.Wave
	if upTo >= 0 && r.plan.Activation == "together" && !r.together(upTo, now) {
		upTo--
	}
	return r.ready.pop(upTo)
}

// together tells whether the moment of the wave has come: nobody of it who is here is
// still to be staged. Who comes later follows by itself.
func (r *Rollout) together(wave int, now time.Time) bool {
	h, c := &r.head.Waves[wave], r.waves[wave]
	if h.Moment.IsZero() && c.Staged > 0 && c.Staging+c.Unknown+r.pausing[wave]+len(r.staging[wave]) == 0 {
		h.Moment = now
		r.out.Head = true
		r.note("wave %d is staged and activated in one moment: %d devices", wave+1, c.Staged)
	}
	return !h.Moment.IsZero()
}

func (r *Rollout) waitForWindow(i int, next time.Time) {
	d := &r.devices[i]
	name := "window " + d.Zone
	if len(r.held[name]) == 0 && !next.IsZero() {
		r.alarms.set(next, aboutWindows)
	}
	d.ready = true
	r.held.hold(name, i)
}

func (r *Rollout) activate(i int, now time.Time) {
	r.enter(i, view.PhaseActivating, now)
	r.until(i, now.Add(span(r.plan.TrialDeadlineMS)))
	r.ask(i, WantActivate)
}

func (r *Rollout) pumpBack(now time.Time) {
	for len(r.back) > 0 {
		i := r.back[0]
		d := &r.devices[i]
		if d.Phase != view.PhaseDone || d.gone || d.Want == "" {
			r.back = r.back[1:]
			continue
		}
		if r.busy[anyDevice] >= r.plan.MaxUnavailable {
			return
		}
		r.back = r.back[1:]
		r.revert(i, now)
	}
}

func (r *Rollout) revert(i int, now time.Time) {
	r.enter(i, view.PhaseReverting, now)
	r.until(i, now.Add(span(r.plan.TrialDeadlineMS)))
	r.ask(i, WantRevert)
}

// ask asks device i. Its older answers are not heard from then on.
func (r *Rollout) ask(i int, want string) {
	r.change(i, func(d *device) {
		d.Epoch++
		d.Want = want
		if want != WantNothing && want != WantConfirm {
			d.Heard = d.Epoch
		}
	})
	r.send(i)
}

// send sends the newest ask of device i, once more if need be.
func (r *Rollout) send(i int) {
	d := &r.devices[i]
	r.out.Asks = append(r.out.Asks, Ask{Device: d.Device, Epoch: d.Epoch, Want: d.Want, Release: d.Steps[d.Step], Force: d.Force})
}

func (r *Rollout) stagingDeadline() time.Duration {
	if r.plan.StagingDeadlineMS > 0 {
		return span(r.plan.StagingDeadlineMS)
	}
	return defaultStagingDeadline
}

// until sets the end of the device's phase.
func (r *Rollout) until(i int, at time.Time) {
	r.change(i, func(d *device) { d.Until = at })
	r.alarms.set(at, i)
}

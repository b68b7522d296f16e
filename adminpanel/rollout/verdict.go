package rollout

import (
	"fmt"
	"math"
	"time"

	"slipstream/adminpanel/view"
)

// open is the wave that is open; nil before the first.
func (r *Rollout) open() *WaveHead {
	if r.head.Wave < 0 {
		return nil
	}
	return &r.head.Waves[r.head.Wave]
}

func (r *Rollout) openWave(w int, at time.Time) {
	if w >= len(r.waves) {
		return
	}
	r.head.Wave = w
	r.head.Waves[w].Verdict, r.head.Waves[w].Opened = waveOpen, at
	r.out.Head = true
	r.note("wave %d of %d is open: %d devices", w+1, len(r.waves), r.waves[w].Devices)
}

// failures and endings are of all devices; a skipped one says nothing either way.
func (r *Rollout) failures() int { return r.total.Failed + r.total.Reverted }
func (r *Rollout) endings() int  { return r.failures() + r.total.Done }

// judge draws what conclusions the counts allow.
func (r *Rollout) judge(now time.Time) {
	switch r.head.State {
	case view.RolloutRunning:
		if r.overLimit(now) {
			return
		}
		r.judgeWaves(now)
		r.complete(now)
	case view.RolloutRollingBack:
		if len(r.back) == 0 && !r.inFlight() {
			r.become(view.RolloutAborted, r.head.Why)
			r.head.Ended = now
		}
	}
}

// overLimit stops a rollout that fails too often.
func (r *Rollout) overLimit(now time.Time) bool {
	failed, of := r.failures()-r.head.Accepted, r.endings()-r.head.Of
	if failed <= 0 {
		return false
	}
	low, _ := wilson(failed, of)
	switch {
	case r.plan.FailCount > 0 && failed >= r.plan.FailCount:
		r.cross(fmt.Sprintf("%d devices failed, which is the limit", failed), now)
	case low*100 > r.plan.FailPercent:
		r.cross(fmt.Sprintf("%d of %d devices failed: the rate is above %.1f %%, and the limit is %g %%", failed, of, low*100, r.plan.FailPercent), now)
	default:
		return false
	}
	return true
}

// cross does what the plan wants done when a limit is crossed.
func (r *Rollout) cross(why string, now time.Time) {
	switch r.plan.OnFailure {
	case "pause":
		r.become(view.RolloutPaused, why)
	case "revert":
		// A running rollout can always be rolled back.
		if err := r.rollBack(now, why); err != nil {
			r.become(view.RolloutHalted, why)
		}
	default:
		r.become(view.RolloutHalted, why)
	}
}

// judgeWaves gives the open wave its verdict, and the next, as long as there is one to give.
func (r *Rollout) judgeWaves(now time.Time) {
	for r.is(view.RolloutRunning) && r.judgeWave(now) {
		if r.plan.Waves[r.head.Wave].Pause && r.head.Wave+1 < len(r.waves) {
			r.become(view.RolloutPaused, fmt.Sprintf("wave %d has passed, and the plan wants a person to look", r.head.Wave+1))
			return
		}
		if r.head.Wave+1 >= len(r.waves) {
			return
		}
		r.openWave(r.head.Wave+1, now)
	}
}

// judgeWave tells whether the open wave passes now.
func (r *Rollout) judgeWave(now time.Time) bool {
	h, c := r.open(), r.waves[r.head.Wave]
	if h == nil || h.Verdict != waveOpen && h.Verdict != waveSoaking {
		return false
	}
	asked := c.Devices - c.Skipped
	enough := c.Done > 0 && float64(c.Done)*100 >= r.plan.SuccessPercent*float64(asked)
	over := asked == c.Done+c.Failed+c.Reverted
	switch {
	case c.Devices == 0:
		r.closeWave(h, wavePassed, "it has no devices", now)
		return true
	case enough && h.Reached.IsZero():
		h.Reached, h.Verdict = now, waveSoaking
		r.out.Head = true
		r.alarms.set(now.Add(r.soak()), aboutWave)
	case !enough && !h.Reached.IsZero():
		h.Reached, h.Verdict = time.Time{}, waveOpen // some have gone back
		r.out.Head = true
	}
	switch {
	case enough && !now.Before(h.Reached.Add(r.soak())):
		r.closeWave(h, wavePassed, "", now)
		return true
	case over && asked == 0:
		r.closeWave(h, waveFailed, "none of its devices could be asked, so nothing was proven", now)
		r.become(view.RolloutHalted, fmt.Sprintf("none of wave %d could be asked, so nothing was proven", r.head.Wave+1))
	case over && !enough:
		why := fmt.Sprintf("%d of %d devices of wave %d are done, and %g %% are needed", c.Done, asked, r.head.Wave+1, r.plan.SuccessPercent)
		r.closeWave(h, waveFailed, why, now)
		r.cross(why, now)
	}
	return false
}

func (r *Rollout) soak() time.Duration { return span(r.plan.Waves[r.head.Wave].SoakMS) }

func (r *Rollout) closeWave(h *WaveHead, verdict, why string, now time.Time) {
	h.Verdict, h.Why, h.Closed = verdict, why, now
	r.out.Head = true
	r.note("wave %d has %s", r.head.Wave+1, verdict)
}

// complete ends a rollout whose devices have all ended and whose last wave has its verdict.
func (r *Rollout) complete(now time.Time) {
	c, last := r.total, r.head.Waves[len(r.head.Waves)-1]
	if !r.is(view.RolloutRunning) || last.Closed.IsZero() || c.Done+c.Failed+c.Reverted+c.Skipped != c.Devices {
		return
	}
	why := ""
	if exceptions := c.Failed + c.Reverted + c.Skipped; exceptions > 0 {
		why = fmt.Sprintf("with %d exceptions", exceptions)
	}
	r.become(view.RolloutCompleted, why)
	r.head.Ended = now
}

// wilson is the score interval of a rate at 95 %: Wilson, Journal of the American
// Statistical Association 22 (1927), p. 209.
func wilson(hits, of int) (low, high float64) {
	if of <= 0 {
		return 0, 1
	}
	const z = 1.959964
	n := float64(of)
	p := float64(hits) / n
	middle := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	whole := 1 + z*z/n
	return max(0, (middle-spread)/whole), min(1, (middle+spread)/whole)
}

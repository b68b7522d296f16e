package agent

import (
	"math"
	"time"
)

// ageStep is how finely an age is kept over the agent's death: the journal is written
// once for each of them.
const ageStep = 10 * time.Minute

// Age is how long ago something was, on a device whose clock jumps and that is often
// without power. What is permitted while something is young, or once it is old, must not
// come about by setting a clock: so within one boot the monotonic clock alone is asked, and
// beyond it the age is known from below and from above.
type Age struct {
	Boot  string    `json:"boot"`
	Mark  int64     `json:"mark"`            // CLOCK_MONOTONIC ns of that boot: what lay before is in Lived
	Lived int64     `json:"lived,omitempty"` // ns that the device is known to have run since
	Boots int       `json:"boots,omitempty"` // how often it was started since
	Wall  time.Time `json:"wall"`
}

func (a Age) known() bool { return a.Boot != "" }

// passed notes that time has gone by, as far as it has to be kept: a start of the device
// ends what was not.
func (a Age) passed(boot string, now int64) Age {
	switch {
	case !a.known():
	case a.Boot != boot:
		a.Boot, a.Mark, a.Boots = boot, now, a.Boots+1
	case now-a.Mark >= int64(ageStep):
		a.Lived, a.Mark = a.Lived+now-a.Mark, now
	}
	return a
}

// least is how old it is at least, by what the device has run.
func (a Age) least(now int64) time.Duration { return time.Duration(a.Lived + now - a.Mark) }

// most is how old it may be. A clock that went back says nothing.
func (a Age) most(now int64, wall time.Time) time.Duration {
	ran := a.least(now) + time.Duration(a.Boots)*ageStep
	switch by := wall.Sub(a.Wall); {
	case a.Boots == 0:
		return ran
	case by < 0:
		return math.MaxInt64
	default:
		return max(ran, by)
	}
}

package agent

import (
	"context"
	"fmt"
	"slices"
)

// Distrust makes damaged slots hold nothing that could be started. It is done again at
// each start of the agent until something is staged there.
type Distrust struct{ Slots []string }

// damagedDetail says what a trial ended of that its version is not to blame for.
func damagedDetail(v Version, detail string) string {
	return fmt.Sprintf("%s; stage version %s again, which needs no force", detail, v.Version)
}

// notStarted ends a trial whose version could not be started.
func (m *machine) notStarted(damaged bool, slot, cause, detail string) {
	if damaged && !m.Trial.Rehearsal {
		m.Trial.Spoilt = slot
		cause, detail = CauseDamaged, damagedDetail(m.Trial.To, detail)
	}
	m.revert(cause, detail)
}

// spoil is the end of a trial that could not start because its slot no longer held what
// was staged. The version was not tried, and so it is not remembered as one that was.
func (m *machine) spoil(slot string) {
	if slot == m.Spare.Slot {
		m.Spare = Version{}
	}
	if !slices.Contains(m.Spoilt, slot) {
		m.Spoilt = append(slices.Clone(m.Spoilt), slot)
	}
	m.do(Distrust{[]string{slot}})
}

// trustAgain says that slots are written anew, or empty.
func (m *machine) trustAgain(names []string) {
	m.Spoilt = slices.DeleteFunc(slices.Clone(m.Spoilt), func(s string) bool { return slices.Contains(names, s) })
}

// stillSpoilt goes on where an agent died between the word and the deed.
func (m *machine) stillSpoilt() {
	m.trustAgain([]string{m.Permanent.Slot, systemName(m.System.Permanent.Slot), systemName(m.System.Running), runtimeName(m.Runtime.Permanent.Slot), runtimeName(m.Runtime.Running)})
	if len(m.Spoilt) == 0 {
		return
	}
	if slices.Contains(m.Spoilt, m.Spare.Slot) {
		m.Spare = Version{}
	}
	m.do(Distrust{slices.Clone(m.Spoilt)})
}

// distrust is the runner's part. One follows the other, and a stage follows both: a slot
// that was written anew meanwhile must not be taken for the damaged one.
func (a *Agent) distrust(ctx context.Context, e Distrust) {
	before, done := a.doubtQueue, make(chan struct{})
	a.doubtQueue = done
	a.wg.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		for _, name := range e.Slots {
			t := a.targetOf(name)
			if t.set == nil {
				continue
			}
			if err := t.set.Distrust(ctx, t.slot); err != nil && ctx.Err() == nil {
				a.log.Error("damaged slot not marked", "slot", name, "reason", err)
			}
		}
	})
}

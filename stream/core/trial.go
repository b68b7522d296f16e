package core

import "slipstream/stream/orders"

// phase is how far a trial has come. It only moves forward.
type phase int

const (
	steady   phase = iota // no trial
	armed                 // viewers see the permanent source until the trial's has its key frames
	switched              // viewers see the trial's source
	held                  // the agent may commit; the deadline is a lease now
)

func (p phase) String() string {
	return [...]string{"steady", "armed", "switched", "held"}[p]
}

// trial is the dead man's switch: whatever does not happen in time reverts. It
// knows no clock and no sockets.
type trial struct {
	id       orders.TrialID
	source   orders.SourceID
	phase    phase
	deadline int64
	armedAt  int64 // a key frame older than this does not count
}

func (t *trial) arm(o orders.Trial, now int64) {
	*t = trial{id: o.ID, source: o.Source, phase: armed, deadline: o.Deadline, armedAt: now}
}

// hold grants or renews the lease of the trial that carries the streams.
func (t *trial) hold(id orders.TrialID, until int64) bool {
	if t.id != id || t.phase < switched {
		return false
	}
	t.phase, t.deadline = held, until
	return true
}

// due is when silence ends the trial.
func (t *trial) due() int64 {
	if t.phase == steady {
		return never
	}
	return t.deadline
}

// expired returns the cause of the revert that is due now, or "".
func (t *trial) expired(now int64) string {
	switch {
	case now < t.due():
		return ""
	case t.phase == held:
		return orders.CauseLease
	}
	return orders.CauseDeadline
}

// carries says that viewers see the trial's source.
func (t *trial) carries() bool { return t.phase >= switched }

func (t *trial) end() { *t = trial{} }

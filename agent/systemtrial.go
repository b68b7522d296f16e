package agent

import (
	"cmp"
	"fmt"
	"slices"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// judgeSystemTrial is the trial of a system, or of Slipstream's own programs, without an
// app of its own: viewers must see the permanent version throughout the soak.
func (m *machine) judgeSystemTrial() {
	t := &m.Trial
	app := m.Apps[slotIndex(m.Permanent.Slot)]
	healthy := m.Permanent.none() || app.Status == AppRunning && t.seen == app.Source
	unproven := m.unproven()
	healthy = healthy && unproven == ""
	switch {
	case m.now >= t.Deadline:
		m.revert(orders.CauseDeadline, cmp.Or(unproven, m.systemDeadline(healthy)))
	case !healthy:
		t.SoakEnds = 0
	case t.SoakEnds == 0:
		t.SoakEnds = m.now + int64(t.To.Rules.Soak)
		if t.TookOver.IsZero() {
			t.TookOver = m.wall
		}
	case m.now >= t.SoakEnds:
		if t.To.Rules.Greenlight == verify.GreenlightAuto {
			t.Latched = true
		}
		if t.Latched {
			m.Phase = PhaseCommitting
			m.do(WriteRecord{Trial: t.ID, Version: t.To, Previous: t.From})
		}
	}
}

func (m *machine) systemDeadline(healthy bool) string {
	if !healthy {
		return fmt.Sprintf("viewers did not see version %s with the new %s within %v", m.Permanent.Version, newOnes(m.Trial.To), m.Trial.To.Rules.Deadline)
	}
	return m.Trial.sentence(orders.CauseDeadline)
}

// newOnes is what a version without an app brings, in words.
func newOnes(v Version) string {
	if !v.Runtime.none() {
		return "programs"
	}
	return "system"
}

// systemWritten: the new system is the permanent one.
func (m *machine) systemWritten() {
	to := m.Trial.To
	m.System.Permanent = to.System
	m.do(AgreeBoot{to.System.Slot})
}

// finishSystem ends the trial of a system, or of programs, that is permanent and has no app, or whose
// app's processes are of another boot.
func (m *machine) finishSystem() {
	t := m.Trial
	m.do(Remember{m.entry(control.OutcomePermanent)}, EndTrial{Trial: t.ID, Slot: t.To.Slot, Kept: true})
	m.forgive(t.To)
	m.committed(t)
	m.leftBehind(t)
	m.Phase, m.Trial = PhaseIdle, Trial{}
	m.answerWaiting(&t, control.ExitDone, "version "+t.To.Version+" is permanent")
}

// forgive forgets that a version was reverted: it is permanent.
func (m *machine) forgive(v Version) {
	m.Reverted = slices.DeleteFunc(slices.Clone(m.Reverted), func(r Reverted) bool { return r.covers(v) })
}

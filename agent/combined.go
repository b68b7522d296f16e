package agent

import (
	"cmp"

	"slipstream/stream/orders"
)

// A package may bring programs of Slipstream beside an app, a system, or both. Its trial is
// one, and goes from what is needed first to what needs it: the system comes up with the
// programs of before, then forwarder and agent become the new ones, and then the app is
// tried by them like any other. One record makes all of it permanent. The way back is the
// other way round, whoever has to go it: viewers first, then the app, then agent and
// forwarder, or at once the system, which brings those of before with it.

// changesPrograms says whether the trial under way is of programs, and their turn has come:
// beside a system, that is after the reboot.
func (s State) changesPrograms() bool {
	return s.runtimeTrial() && (!s.systemTrial() || s.Trial.Reboot.Boot != "")
}

// tryApp is what is left of a trial when all that its app may need is there.
func (m *machine) tryApp() {
	t := m.Trial
	t.Source, t.StartBy = m.nextSource(t.To.Slot), m.now+int64(prepareLimit)
	m.start(t)
}

// soaks says whether the soak of an app counts: the programs on trial with it must be proven
// throughout.
func (m *machine) soaks() bool {
	t := &m.Trial
	switch {
	case m.unproven() != "":
		t.SoakEnds = 0
	case t.SoakEnds == 0:
		t.SoakEnds = m.now + int64(t.To.Rules.Soak)
	}
	return t.SoakEnds > 0
}

// lateness says what was missing when the deadline passed.
func (m *machine) lateness() string {
	if m.onTrial() && !m.Trial.TookOver.IsZero() {
		return cmp.Or(m.unproven(), m.Trial.sentence(orders.CauseDeadline))
	}
	return m.Trial.sentence(orders.CauseDeadline)
}

// cameBack: the app of before is what viewers see, and nothing else of a trial runs but,
// maybe, the programs.
func (m *machine) cameBack() {
	t := &m.Trial
	if !m.runtimeTrial() || m.systemTrial() { // the system that runs has brought its own
		m.finishRevert()
		return
	}
	if t.ReturnBy = 0; t.To.Slot != "" {
		m.Apps[slotIndex(t.To.Slot)] = App{}
		m.sendOrders()
	}
	m.leaveRuntime()
}

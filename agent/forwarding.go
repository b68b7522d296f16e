package agent

import (
	"cmp"
	"slices"
	"time"

	"slipstream/stream/orders"
)

// sendOrders gives the forwarder the full truth as of now.
func (m *machine) sendOrders() {
	o := SendOrders{Permanent: m.followed(), Frozen: m.Trial.Frozen}
	for _, app := range m.Apps {
		if app.Source != "" {
			o.Sources = append(o.Sources, app.Source)
		}
	}
	if t := m.Trial; m.named() {
		o.Trial = &orders.Trial{ID: t.ID, Source: t.Source, Deadline: t.Deadline}
	}
	m.do(o)
}

// named says whether orders name the trial. Past the commit point they do not:
// settle goes first then, and has ended the trial for the forwarder, so orders
// that name it would begin it anew. A forwarder that was started since must not
// hear of the trial at all.
func (m *machine) named() bool {
	switch m.Phase {
	case PhaseStarting, PhaseTrial, PhaseHolding, PhaseCommitting:
		return m.Trial.Armed && !m.Trial.Forgotten
	}
	return false
}

// followed is the source that viewers see if no trial carries the streams.
func (m *machine) followed() orders.SourceID {
	if m.Permanent.none() {
		return ""
	}
	return m.Apps[slotIndex(m.Permanent.Slot)].Source
}

// forwarderConnected: orders stand only if they arrived, so they are sent again,
// and whatever waits for an answer is asked again.
func (m *machine) forwarderConnected() {
	m.Trial.asked, m.face.forwarder = 0, true
	if m.Phase == PhaseSettling && !m.Trial.Forgotten {
		m.ask() // before the orders, which would end the trial the other way
	}
	m.sendOrders()
	switch m.Phase {
	case PhaseStarting, PhaseTrial:
		if m.Trial.Armed {
			m.do(AskStatus{}) // a report may have been lost with the old connection
		}
	case PhaseHolding, PhaseCommitting, PhaseReverting:
		if m.Trial.askAt > 0 {
			m.ask()
		}
	case PhaseSettling:
		if m.Trial.Forgotten {
			m.ask() // after the orders, without which a new forwarder knows no source
		}
	}
}

// forwarderLost: a new forwarder serves the permanent version. Before the commit
// point that ends the trial; after it, the new version is the permanent one.
func (m *machine) forwarderLost(e ForwarderLost) {
	t := &m.Trial
	if !t.under() {
		m.replace.wanted, m.face.renewed = m.replace.wanted || m.face.renewed, false
		return
	}
	m.face.forwarder = false
	if m.changesPrograms() && (t.To.Slot == "" || m.Phase == PhaseArming || m.Phase == PhaseRenewing) {
		m.runtimeForwarderLost(e)
		return
	}
	if t.To.Slot == "" {
		t.seen = "" // it brings nothing that the forwarder would know of
		return
	}
	t.Forgotten, t.asked = true, 0
	m.thaw() // a new one has no freezer yet, and serves the permanent version
	switch {
	case m.open():
		m.revert(CauseForwarder, e.Detail)
	case m.Phase == PhaseReverting && !t.Back:
		t.Back = true
		m.endTrialApp()
	}
}

// forwarderStatus finds out what was missed while there was no connection.
func (m *machine) forwarderStatus(e ForwarderStatus) {
	t := &m.Trial
	if !t.Armed || m.Phase != PhaseStarting && m.Phase != PhaseTrial {
		return
	}
	switch {
	case e.Trial != t.ID:
		// It is over; the answer to a revert says how it ended.
		m.revert(CauseForwarder, "the forwarder ended the trial while the agent was away")
	case m.Phase == PhaseStarting && (e.Phase == "switched" || e.Phase == "held"):
		m.tookOver(orders.Switched{Trial: t.ID, Source: t.Source, At: m.now, Done: m.now})
	case m.Phase == PhaseStarting && m.now >= t.StartBy:
		m.late(e.Missing)
	case m.Phase == PhaseTrial && (e.Phase == "switched" || e.Phase == "held"):
		m.freezeAgain()
	}
}

// tookOver starts the soak.
func (m *machine) tookOver(e orders.Switched) {
	t := &m.Trial
	if e.Trial != t.ID || m.Phase != PhaseStarting {
		return
	}
	m.Phase = PhaseTrial
	t.TookOver, t.SoakEnds = m.wall, e.Done+int64(t.To.Rules.Soak)
	t.Switched = &e
	m.watchChecks()
	m.freeze()
}

// trialReverted: the forwarder has brought viewers back, by itself or because it
// was asked. Its word on the cause counts, because it acted on it; but what it
// says about being told is no cause.
func (m *machine) trialReverted(e orders.Reverted) {
	t := &m.Trial
	if e.Trial != t.ID || !t.under() || m.Phase == PhaseSettling {
		return // settle overrules a revert that came after the commit point
	}
	if t.Back {
		if completes(t.Reverted, e) {
			t.Reverted = &e
			m.returned()
		}
		return
	}
	t.Back, t.Reverted = true, &e
	m.thaw()
	if !m.knowsBetter(e.Cause) {
		t.Cause, t.Detail = e.Cause, cmp.Or(brokenDetail(e, t.Latched), e.Detail, t.sentence(e.Cause))
		if e.Cause == orders.CauseDeadline {
			t.Detail = m.lateness() // the forwarder knows of no marker
		}
	}
	if m.Phase == PhaseCommitting {
		// The record is on its way to the disk and cannot be called back; whether
		// it arrives decides.
		t.askAt = 0
		return
	}
	m.revert(t.Cause, t.Detail)
}

// sentence explains a forwarder's cause to people.
func (t Trial) sentence(cause string) string {
	switch cause {
	case orders.CauseExit:
		return "the app ended"
	case orders.CauseEOF:
		return "the app closed its publish socket"
	case orders.CauseStall:
		return "no frame came within the stall limit"
	case orders.CauseDeadline:
		if t.TookOver.IsZero() {
			return "it did not take over the streams within " + t.To.Rules.Deadline.String()
		}
		if name, open := t.unchecked(); t.Latched && open {
			return "greenlit, but the check " + name + " was not judged before the deadline"
		}
		if t.Latched {
			return "greenlit, but its soak time was not over at the deadline"
		}
		return "no greenlight within " + t.To.Rules.Deadline.String()
	case orders.CauseLease:
		return "the agent asked to hold and was not heard of again"
	case orders.CauseMedia:
		return "a stream broke its declaration"
	}
	return "the forwarder says " + cause
}

// knowsBetter compares the agent's cause of a revert with the forwarder's.
func (m *machine) knowsBetter(theirs string) bool {
	switch ours := m.Trial.Cause; ours {
	case "":
		return false
	case theirs:
		return true
	case orders.CauseExit:
		return theirs == orders.CauseEOF || theirs == orders.CauseOrders // a dead process closes its sockets
	}
	return theirs == "" || theirs == orders.CauseOrders
}

// stopApp asks a slot's app to end, unless it is dead already.
func (m *machine) stopApp(slot string, grace time.Duration) { m.stopAppAfter(0, slot, grace) }

// stopAppAfter leaves the app a while to end by itself.
func (m *machine) stopAppAfter(leave time.Duration, slot string, grace time.Duration) {
	app := &m.Apps[slotIndex(slot)]
	switch app.Status {
	case AppStopped, AppBackOff:
		*app = App{}
	default:
		app.Status = AppStopping
		m.do(StopApp{Source: app.Source, Grace: grace, Leave: leave})
	}
}

// slotOf finds the slot in which a source runs; -1 if that run is over.
func (m *machine) slotOf(source orders.SourceID) int {
	return slices.IndexFunc(m.Apps[:], func(a App) bool { return a.Source == source && source != "" })
}

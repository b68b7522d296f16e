package agent

import (
	"slices"

	"slipstream/stream/orders"
)

// recover goes on where the journal ends. The record alone says what is
// permanent; the journal says what was being tried; the kernel says what still
// runs.
func (m *machine) recover(e Recover) {
	if m.Boot == "" { // no journal, or a lost one
		m.State = State{Phase: PhaseIdle, Trials: e.Base, Starts: e.Base}
	}
	sameBoot := m.Boot == e.Boot
	m.Boot, m.Permanent, m.Previous, m.Damage = e.Boot, e.Permanent.app(), e.Previous, ""
	m.replace.wanted, m.noFreezer = e.Outdated, e.NoFreezer
	m.Runtime = e.Runtime.Programs
	if m.System.Running, m.System.Permanent = e.System.Running, e.System.Permanent; m.System.Running == m.System.Permanent.Slot {
		m.System.Sent, m.System.SentIn = "", ""
	}
	m.forgetStale()
	m.Spare = e.Slots[slotIndex(m.SpareSlot())].app()
	m.stillSpoilt()
	m.adopt(e.Alive)
	switch {
	case m.Trial.under():
		m.recoverTrial(e, sameBoot)
	case m.Phase == PhaseStaging && m.whole(m.Stage.Version, e):
		m.setStaged(m.Stage.Version)
	case m.Phase == PhaseStaged && m.whole(m.staged(), e): // it stays so
	default:
		m.Phase, m.Stage, m.Package = PhaseIdle, Stage{}, Version{}
	}
	m.forgetRoom()
	m.goHome()
	m.stopStrays()
	m.agree()
}

// whole says whether all of a package is in the slots where it was to be put.
func (m *machine) whole(v Version, e Recover) bool {
	app := v.Slot == "" || v.Digest == m.Spare.Digest
	system := v.System.Slot == "" || v.Digest == e.System.Slots[slotIndex(v.System.Slot)].Digest
	runtime := v.Runtime.Slot == "" || v.Digest == e.Runtime.Slots[slotIndex(v.Runtime.Slot)].Digest
	return v.Digest != "" && app && system && runtime
}

// forgetStale drops a trial in the permanent version's slot that is not of this
// version: the journal is older than the record. Nothing of the trial is left, and
// ending it would end the permanent version's app and its data.
func (m *machine) forgetStale() {
	to := m.Trial.To
	app := to.Slot != "" && to.Slot == m.Permanent.Slot && to.Digest != m.Permanent.Digest
	system := to.System.Slot != "" && to.System.Slot == m.System.Permanent.Slot && to.System.Digest != m.System.Permanent.Digest
	runtime := m.runtimeTrial() && to.Runtime.Slot == m.Runtime.Permanent.Slot && to.Runtime.Digest != m.Runtime.Permanent.Digest
	if m.Trial.under() && (app || system || runtime) {
		m.thaw()
		m.Trial, m.Phase = Trial{}, PhaseIdle
	}
	if m.Retiring == m.Permanent.Slot {
		m.Retiring = ""
	}
}

// adopt keeps the apps that still run and forgets the others.
func (m *machine) adopt(alive []Alive) {
	for i := range m.Apps {
		app := &m.Apps[i]
		if app.Source == "" {
			continue
		}
		if n := slices.IndexFunc(alive, func(a Alive) bool { return a.Source == app.Source }); n >= 0 {
			app.PID = alive[n].PID
			m.goOn(i)
			continue
		}
		if app.Status == AppAway {
			continue // nothing of it runs, as it should be
		}
		if m.Trial.under() && m.Trial.Clearing && slotNames[i] == m.Trial.From.Slot {
			m.cleared(i) // it ended unseen
			continue
		}
		if m.Trial.under() && slotNames[i] == m.Trial.To.Slot {
			// Orders go on to name it, or the forwarder could not be told to settle.
			app.Status, app.PID, app.RetryAt = AppBackOff, 0, m.now
			m.Trial.Gone = true
			continue
		}
		*app = App{Deaths: app.Deaths, Beyond: app.Beyond, Barred: app.Barred, LastExit: app.LastExit}
		if m.Retiring == slotNames[i] {
			m.Retiring = ""
		}
	}
}

// goOn asks the permanent app that was adopted for what its former agent has asked
// for. News of its start may have been lost with that one.
func (m *machine) goOn(i int) {
	app, rules := &m.Apps[i], m.Permanent.Rules
	if slotNames[i] != m.Permanent.Slot || m.Trial.under() && m.Trial.To.Slot == m.Permanent.Slot {
		return
	}
	switch {
	case app.Status == AppStopping: // its end may not have been begun
		m.do(StopApp{Source: app.Source, Grace: rules.StopTimeout})
	case app.Status == AppStarting && rules.Silent:
		app.Status = AppRunning
	case app.Status == AppStarting && app.StartBy == 0 && rules.StartTimeout > 0:
		app.StartBy = m.now + int64(rules.StartTimeout)
	}
}

// recoverTrial: the commit point divides what is completed from what is undone.
func (m *machine) recoverTrial(e Recover, sameBoot bool) {
	t := &m.Trial
	committed := m.Permanent.Slot == t.To.Slot && m.Permanent.Digest == t.To.Digest
	if !e.Forwarder {
		t.Forgotten = true
	}
	if m.runtimeTrial() {
		m.replace.wanted = false // it is returned, or becomes the permanent one
	}
	if m.systemTrial() && m.recoverSystem(e, sameBoot) || m.runtimeTrial() && m.recoverRuntime(e, sameBoot) {
		return
	}
	switch {
	case committed && (!sameBoot || t.Gone && !e.Forwarder):
		m.finishCommit() // no forwarder is left to be told, and nothing that it could follow
	case committed:
		m.resume(PhaseSettling)
	case !sameBoot:
		t.Back, t.Gone = true, true
		m.lost(CausePower, "the device was started anew during the trial")
	case t.Gone && !t.Started:
		m.lost(CauseAgent, "the agent was started anew before the new version ran")
	case t.Gone && t.Forgotten:
		m.lost(CauseAgent, "the agent was started anew, and the new version no longer ran")
	case t.Gone:
		m.lost(orders.CauseExit, "the new version ended while the agent was away")
	case t.Forgotten:
		m.lost(CauseForwarder, "the forwarder ended while the agent was away")
	case m.Phase == PhaseReverting || t.Back:
		m.revert(t.Cause, t.Detail)
	case m.Phase == PhaseHolding || m.Phase == PhaseCommitting:
		m.resume(PhaseHolding) // the record was not written, so hold is asked again
	default:
		t.Started = true // it runs, so it was started, if only just before we died
		t.StartBy = min(t.StartBy, m.now+int64(t.To.Rules.StartTimeout))
		t.Deadline = min(t.Deadline, m.now+int64(t.To.Rules.Deadline))
		m.do(WatchMarker{t.ID})
		if t.Checked = nil; m.Phase == PhaseTrial {
			m.watchChecks() // they are judged anew
		}
		if t.To.Rules.Silent {
			m.appReady(AppReady{t.Source})
		}
	}
}

// lost reverts for a cause that was found too late to see it happen, unless the
// true one is known from before the agent died.
func (m *machine) lost(cause, detail string) {
	if t := m.Trial; t.Cause != "" {
		cause, detail = t.Cause, t.Detail
	}
	m.revert(cause, detail)
}

// resume goes back to a phase whose request is sent once the forwarder is there.
func (m *machine) resume(p Phase) {
	m.Phase = p
	m.Trial.askAt = m.now + int64(askEvery)
}

// stopStrays ends what neither the record nor a trial wants to run: an old
// version that was not yet stopped when the agent died.
func (m *machine) stopStrays() {
	for _, slot := range slotNames {
		wanted := slot == m.Permanent.Slot || slot == m.Retiring || m.Trial.under() && (slot == m.Trial.To.Slot || slot == m.Trial.From.Slot)
		if !wanted {
			m.stopApp(slot, m.rules(slot).StopTimeout)
		}
	}
}

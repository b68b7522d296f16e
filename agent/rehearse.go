package agent

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"slipstream/agent/control"
)

// A rehearsal is a trial of the permanent version's own content, which proves that this
// device can swap and come back before a new version depends on it. It runs out of the
// permanent version's slot as if it were in the spare one, on a copy of the data, and
// writes nothing into any slot. It ends in a revert, by its design or for a fault, and
// never at the commit point; nothing of it is remembered against the version, and what
// was staged stays staged.

const (
	// rehearsalSoak bounds how long viewers are on the second copy.
	rehearsalSoak = 5 * time.Second
	// rehearsalData is the place of its data, beside those of the slots.
	rehearsalData = "rehearsal"
)

// RehearseAsked asks for a rehearsal.
type RehearseAsked struct{ Req uint64 }

func (m *machine) rehearseAsked(e RehearseAsked) {
	if code, why := m.unrehearsed(); why != "" {
		exit := control.ExitRefused
		if m.Permanent.none() {
			exit = control.ExitNothing
		}
		m.answer(e.Req, exit, code, "%s", why)
		return
	}
	if m.Phase != PhaseIdle && m.Phase != PhaseStaged {
		m.busy(e.Req)
		return
	}
	m.rehearse()
	m.do(Answer{
		Req: e.Req, Trial: m.Trial.ID,
		Result: result(control.ExitDone, "", fmt.Sprintf("rehearsal %s of version %s has begun", m.Trial.ID, m.Permanent.Version)),
	})
}

// unrehearsed says why there can be no rehearsal now.
func (m *machine) unrehearsed() (code, why string) {
	switch spare := m.Apps[slotIndex(m.SpareSlot())]; {
	case m.Permanent.none():
		return "", "no version is permanent yet; next: slipstream install FILE"
	case m.replace.under:
		return CodeBusy, "the forwarder is being replaced: try it again in a moment"
	case m.Trial.under():
		return "", "" // busy says so
	case m.Apps[slotIndex(m.Permanent.Slot)].Status != AppRunning:
		return CodeBusy, "the app of version " + m.Permanent.Version + " does not run, so there is nothing to come back to: slipstream status"
	case spare.Status != AppStopped:
		return CodeBusy, "the version before is still ending: try it again in a moment"
	}
	return "", ""
}

// rehearse begins. No greenlight makes it permanent, so who would give it is all the same.
func (m *machine) rehearse() {
	to := m.Permanent
	to.Slot, to.Rules.Soak = m.SpareSlot(), min(to.Rules.Soak, rehearsalSoak)
	m.Trials++
	m.start(Trial{
		ID: trialID(m.Trials), From: m.Permanent, To: to, Source: m.nextSource(to.Slot), Began: m.wall,
		StartBy: m.now + int64(prepareLimit), Deadline: m.now + int64(prepareLimit) + int64(to.Rules.Deadline),
		Rehearsal: true, Staged: m.Phase == PhaseStaged,
	})
}

// content is a trial's version with the slot that its files are in.
func (t Trial) content() Version {
	v := t.To
	if t.Rehearsal {
		v.Slot = t.From.Slot
	}
	return v
}

// home is the slot whose content runs in a slot.
func (s *State) home(slot string) string {
	if t := s.Trial; t.Rehearsal && slot == t.To.Slot {
		return t.From.Slot
	}
	return slot
}

// place names the data and the state of a slot's app.
func (s *State) place(slot string) string {
	if s.Trial.under() && slot == s.Trial.To.Slot {
		return s.Trial.place()
	}
	return slot
}

// place names the data of a trial.
func (t Trial) place() string {
	if t.Rehearsal {
		return rehearsalData
	}
	return t.To.Slot
}

// app is what is to be started for a trial.
func (t Trial) app() StartApp {
	e := StartApp{Slot: t.To.Slot, Source: t.Source, Role: RoleTrial, Trial: t.ID}
	if t.Rehearsal {
		e.Role, e.Home = RoleRehearsal, t.From.Slot
	}
	return e
}

// home is the slot that the app's files are in.
func (e StartApp) home() string { return cmp.Or(e.Home, e.Slot) }

// data names the app's data directory.
func (e StartApp) data() string {
	if e.Role == RoleRehearsal {
		return rehearsalData
	}
	return e.Slot
}

// rehearsed says that the second copy did all that was asked of it, and may go.
func (m *machine) rehearsed() bool {
	t := m.Trial
	return t.Rehearsal && m.Phase == PhaseTrial && m.now >= t.SoakEnds && t.checked()
}

// finishRehearsal is reached when viewers are back and the second copy is gone.
func (m *machine) finishRehearsal() {
	t := m.Trial
	r := m.entry(control.OutcomeReverted)
	if t.Cause == CauseRehearsal {
		r.Outcome = control.OutcomeRehearsed
	}
	m.do(Remember{r}, EndTrial{Trial: t.ID, Slot: t.place()})
	m.Apps[slotIndex(t.To.Slot)] = App{}
	m.Phase, m.Trial = PhaseIdle, Trial{}
	if t.Staged && m.staged().Digest != "" {
		m.Phase = PhaseStaged
	}
	m.agreeAfter(t)
	m.sendOrders()
}

// Rehearse implements [control.Technician].
func (a *Agent) Rehearse(ctx context.Context, r control.RehearseRequest) control.Result {
	answer, err := a.ask(ctx, func(req uint64) any { return RehearseAsked{Req: req} })
	if err != nil {
		return unanswered("", err)
	}
	if answer.Exit != control.ExitDone || !r.Wait {
		return answer.Result
	}
	record, err := a.ending(ctx, answer.Trial)
	switch {
	case err != nil:
		return unanswered("the rehearsal goes on: ", err)
	case record.Outcome == control.OutcomeRehearsed:
		return control.Result{Exit: control.ExitDone, Message: "version " + record.To + " swapped with itself and came back", Record: record}
	}
	return control.Result{
		Exit: control.ExitReverted, Record: record,
		Message: fmt.Sprintf("the rehearsal of version %s failed (%s): %s", record.To, record.Reason, record.Detail),
	}
}

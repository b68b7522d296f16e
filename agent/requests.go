package agent

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/agent/control"
	"slipstream/verify"
)

// answer answers a request that was not asked about a trial.
func (m *machine) answer(req uint64, exit int, code, format string, args ...any) {
	m.do(Answer{Req: req, Result: result(exit, code, fmt.Sprintf(format, args...))})
}

// busy refuses what must wait for the end of the update under way.
func (m *machine) busy(req uint64) {
	way := "slipstream status shows it"
	switch {
	case m.open():
		way += ", slipstream revert ends it"
	case m.Phase == PhaseStaging:
		way += ", slipstream cancel ends it"
	}
	m.answer(req, control.ExitRefused, CodeBusy, "another update is under way (%s): %s", shownPhase(m.Phase), way)
}

// stageAsked decides whether a verified package may overwrite the spare slot.
func (m *machine) stageAsked(e StageAsked) {
	v := e.Version
	code, sentence := m.unfit(v)
	again := m.Phase == PhaseStaged && m.staged().Digest == v.Digest
	switch {
	case m.Phase != PhaseIdle && m.Phase != PhaseStaged:
		m.busy(e.Req)
		return
	case m.permanent(v):
		m.answer(e.Req, control.ExitNothing, "", "version %s is permanent already", v.Version)
		return
	case !m.above(v): // force never passes floors
		m.refuse(e, CodeFloor, fmt.Sprintf("release counter %d is not above the permanent version's %d", v.Counter, m.floor(v)))
		return
	case code != "":
		m.refuse(e, code, sentence)
		return
	case m.forbidden(v, e.Force):
		m.refuse(e, CodeReverted, m.triedBefore(v)+"; `slipstream install --force FILE` tries it all the same")
		return
	case again && !e.Force:
		for _, staged := range []*Version{&m.Spare, &m.Package} {
			staged.Factory = staged.Factory || v.Factory && staged.Digest == v.Digest
		}
		m.answer(e.Req, control.ExitNothing, control.CodeAlreadyStaged, "version %s is staged already", v.Version)
		return
	}
	m.retire() // who stages knows that only a newer version helps
	v.Factory = v.Factory || again && m.staged().Factory
	was := m.Spare
	if v.hasLive() {
		v.Slot, m.Spare = m.SpareSlot(), Version{} // from its first byte on the slot holds nothing whole
	}
	if !v.System.none() {
		v.System.Slot = m.spareSystem()
	}
	if !v.Runtime.none() {
		v.Runtime.Slot = m.spareRuntime()
	}
	m.Attempts++
	m.Stage = Stage{Attempt: m.Attempts, Version: v, Again: again, req: e.Req, was: was}
	m.Phase, m.Package = PhaseStaging, Version{}
	m.beginStaging()
}

// permanent says whether all of a version is permanent, and none of it damaged.
func (m *machine) permanent(v Version) bool {
	app := !v.hasLive() || !m.Permanent.none() && v.Digest == m.Permanent.Digest && !m.damagedSelf(v)
	runtime := v.Runtime.none() || v.Digest == m.Runtime.Permanent.Digest && !m.Runtime.damaged()
	return app && runtime && (v.System.none() || v.Digest == m.System.Permanent.Digest)
}

// unfit says why a version cannot be tried on what is permanent now; "": it can.
func (m *machine) unfit(v Version) (code, sentence string) {
	if code, sentence = m.lacks(v); code != "" || !v.hasLive() || v.Factory { // who resets closes who cannot follow
		return code, sentence
	}
	return m.strands(v)
}

// floor is the highest release counter of what a version would replace.
func (m *machine) floor(v Version) (floor int64) {
	if v.hasLive() {
		floor = m.Permanent.Counter
	}
	if !v.System.none() {
		floor = max(floor, m.System.Permanent.Counter)
	}
	if !v.Runtime.none() {
		floor = max(floor, m.Runtime.Permanent.Counter)
	}
	return floor
}

// above says whether a version may follow the permanent one. Exactly at the floor
// is only the permanent one itself, or after a fallback the one before; either
// comes again if its slot was damaged.
func (m *machine) above(v Version) bool {
	switch floor := m.floor(v); {
	case v.Factory:
		return v.Epoch >= m.Permanent.Epoch
	case floor == 0 && m.Permanent.none() || v.Counter > floor:
		return true
	case v.Counter < floor:
		return false
	}
	return v.Digest == m.Previous.Digest || m.damagedSelf(v) || m.Runtime.damaged() && v.Digest == m.Runtime.Permanent.Digest
}

// damagedSelf says whether a version is the permanent one, which cannot be started.
func (m *machine) damagedSelf(v Version) bool {
	return m.Damage != "" && v.Digest == m.Permanent.Digest
}

// strands says why viewers of the permanent version's streams could not follow
// another one, unless that declares so; "": they can.
func (m *machine) strands(v Version) (code, sentence string) {
	for i, name := range m.Permanent.Streams {
		at := slices.Index(v.Streams, name)
		switch {
		case slices.Contains(v.Breaks, name):
			continue
		case at < 0:
			return CodeStreams, fmt.Sprintf("version %s no longer has the stream %q, and its viewers would lose the picture", v.Version, name)
		}
		now := v.envelope(at)
		if what := now.Leaves(m.Permanent.envelope(i)); what != "" {
			return CodeEnvelope, fmt.Sprintf("version %s has the stream %q as %s, which its viewers rely on; "+
				"if those who cannot follow are to be closed, its manifest must name the stream in app.breaks", v.Version, name, what)
		}
	}
	return "", ""
}

// forbidden says whether a version is kept away because it was reverted before.
func (m *machine) forbidden(v Version, force bool) bool {
	_, was := m.WasReverted(v)
	return was && !force && !v.Factory
}

// triedBefore says which version was reverted: a new number alone makes no other
// version of the same content.
func (m *machine) triedBefore(v Version) string {
	r, _ := m.WasReverted(v)
	if r.Digest == v.Digest {
		return fmt.Sprintf("version %s was tried before and reverted", v.Version)
	}
	return fmt.Sprintf("%s has the same content as %s, which was reverted", v.Version, r.Version)
}

// beginStaging waits until nothing of the slot's old version runs any more.
func (m *machine) beginStaging() {
	st := &m.Stage
	slot := st.Version.Slot
	if m.Phase != PhaseStaging || st.Begun || slot != "" && m.Apps[slotIndex(slot)].Status != AppStopped {
		return
	}
	st.Begun = true
	m.trustAgain(st.Version.places())
	m.do(StageSlot{Attempt: st.Attempt, Slot: slot, System: st.Version.System.Slot, Runtime: st.Version.Runtime.Slot, Req: st.req, Look: st.Again})
}

func (m *machine) stageDone(e StageDone) {
	st := m.Stage
	if m.Phase != PhaseStaging || e.Attempt != st.Attempt {
		return // a late report of an older attempt
	}
	m.Stage = Stage{}
	if e.Error != "" {
		m.Phase = PhaseIdle
		if e.Still {
			m.setStaged(st.Version)
		}
		if e.Code == CodeCancelled {
			m.cancelled(st)
			return
		}
		m.tooLate(st, "could not be staged: "+e.Error)
		m.refused(st.Version.Version, st.Version.Digest, e.Code, e.Error)
		exit := control.ExitRefused
		if e.Code == CodeStage {
			exit = control.ExitError
		}
		m.answer(st.req, exit, e.Code, "%s", e.Error)
		return
	}
	m.setStaged(st.Version)
	m.tooLate(st, "is staged")
	r := result(control.ExitDone, "", fmt.Sprintf("version %s is staged in %s", st.Version.Version, places(st.Version)))
	switch untouched := e.Cost != nil && e.Cost.Written == 0; {
	case st.Again && untouched:
		r = result(control.ExitNothing, control.CodeAlreadyStaged, fmt.Sprintf("version %s is staged already; all of it was read, and is whole", st.Version.Version))
	case st.Again:
		r.Message += "; it had been damaged there"
	}
	r.Staged = e.Cost
	m.do(Answer{Req: st.req, Result: r})
}

func (m *machine) setStaged(v Version) {
	m.Phase, m.Stage = PhaseStaged, Stage{}
	if v.Slot != "" {
		m.Spare = v.app()
	}
	if v.System.Slot+v.Runtime.Slot != "" {
		m.Package = v
	}
}

// places are the slots of a version, in words.
func places(v Version) string {
	var list []string
	for _, of := range []struct{ class, slot string }{{"", v.Slot}, {"system ", v.System.Slot}, {"runtime ", v.Runtime.Slot}} {
		if of.slot != "" {
			list = append(list, of.class+"slot "+of.slot)
		}
	}
	return strings.Join(list, " and ")
}

// refuse answers, and remembers, a package that this device will not stage.
func (m *machine) refuse(e StageAsked, code, sentence string) {
	m.refused(e.Version.Version, e.Version.Digest, code, sentence)
	m.answer(e.Req, control.ExitRefused, code, "%s", sentence)
}

func (m *machine) refused(to, digest, code, sentence string) {
	m.do(Remember{control.Record{
		Time: m.wall, From: m.Permanent.Version, To: to, Digest: digest,
		Outcome: control.OutcomeRefused, Reason: code, Detail: sentence,
	}})
}

// activateAsked begins the trial. What the device may run is judged once more,
// because weeks may have passed since the package was staged.
func (m *machine) activateAsked(e ActivateAsked) {
	v := m.staged()
	code, sentence := m.unfit(v)
	switch {
	case m.replace.under:
		m.replace.later = append(slices.Clip(m.replace.later), e)
	case m.Phase == PhaseIdle:
		m.answer(e.Req, control.ExitNothing, "", "nothing is staged; next: slipstream stage FILE")
	case m.Phase != PhaseStaged:
		m.busy(e.Req)
	case e.Digest != "" && e.Digest != v.Digest:
		m.answer(e.Req, control.ExitRefused, CodeOtherStaged, "version %s is staged, which is not the package that was meant", v.Version)
	case v.hasLive() && v.Slot == m.Permanent.Slot || !m.above(v):
		m.answer(e.Req, control.ExitRefused, CodeFloor, "version %s is not above the permanent one", v.Version)
	case code != "": // the permanent version is another one by now
		m.answer(e.Req, control.ExitRefused, code, "%s", sentence)
	case e.Held != "" && v.State != nil && !v.State.Takes(e.Held):
		m.answer(e.Req, control.ExitRefused, CodeState, "%s", refusedState(v.Version, e.Held))
	case m.forbidden(v, e.Force):
		m.answer(e.Req, control.ExitRefused, CodeReverted, "%s; `slipstream activate --force` tries it all the same", m.triedBefore(v))
	default:
		m.begin()
		m.do(Answer{
			Req: e.Req, Trial: m.Trial.ID,
			Result: result(control.ExitDone, "", fmt.Sprintf("trial %s of version %s has begun", m.Trial.ID, v.Version)),
		})
	}
}

// greenlightAsked makes the marker. It is latched like any other, and counts
// once soak and invariants hold.
func (m *machine) greenlightAsked(e GreenlightAsked) {
	t := m.Trial
	switch {
	case !m.open():
		m.answer(e.Req, control.ExitNothing, "", "%s", m.noGreenlight())
	case t.Rehearsal:
		m.answer(e.Req, control.ExitRefused, CodeGreenlight, "a rehearsal becomes nothing: it ends by itself")
	case t.To.Rules.Greenlight != verify.GreenlightOperator:
		m.answer(e.Req, control.ExitRefused, CodeGreenlight,
			"version %s gets its greenlight from %q, not from an operator", t.To.Version, t.To.Rules.Greenlight)
	case t.Latched:
		m.answer(e.Req, control.ExitNothing, "", "version %s has its greenlight already", t.To.Version)
	default:
		m.await(e.Req)
	}
}

// noGreenlight says why there is nothing that a greenlight could be for.
func (m *machine) noGreenlight() string {
	_, reverted := m.WasReverted(m.Spare)
	switch {
	case m.Phase == PhaseReverting:
		return fmt.Sprintf("version %s is being reverted", m.Trial.To.Version)
	case m.changesPrograms() && (m.Phase == PhaseArming || m.Phase == PhaseRenewing):
		return fmt.Sprintf("version %s is not on trial yet: forwarder and agent are becoming the new ones", m.Trial.To.Version)
	case m.Phase == PhaseArming, m.Phase == PhaseRebooting:
		return fmt.Sprintf("version %s is not on trial yet: the device is being started anew for it", m.Trial.To.Version)
	case m.Trial.under():
		return fmt.Sprintf("version %s is being made permanent already", m.Trial.To.Version)
	case m.Phase == PhaseStaged:
		return fmt.Sprintf("no version is on trial; to try %s: slipstream activate", m.Spare.Version)
	case m.Phase == PhaseStaging, m.Permanent.none(), reverted:
		return "no version is on trial"
	}
	return fmt.Sprintf("version %s is permanent already", m.Permanent.Version)
}

func (m *machine) revertAsked(e RevertAsked) {
	switch {
	case e.Rest && m.Trial.under():
		m.busy(e.Req)
	case m.open(), m.Phase == PhaseArming, m.Phase == PhaseRebooting, m.Phase == PhaseRenewing:
		id := m.Trial.ID
		m.revert(CauseOperator, "an operator asked for it")
		m.do(Answer{Req: e.Req, Trial: id, Result: result(control.ExitDone, "", "the trial is reverted")})
	case m.Phase == PhaseReverting:
		m.do(Answer{Req: e.Req, Trial: m.Trial.ID, Result: result(control.ExitDone, "", "the trial is being reverted already")})
	case m.Trial.under():
		m.answer(e.Req, control.ExitRefused, CodeTooLate, "version %s is being made permanent", m.Trial.To.Version)
	default:
		m.returnAsked(e)
	}
}

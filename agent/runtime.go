package agent

import (
	"cmp"
	"fmt"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// Programs is what is known of the slots of Slipstream's own programs.
type Programs struct {
	Able      bool   `json:"able,omitempty"`    // a start program stands behind this agent
	Running   string `json:"running,omitempty"` // slot that this agent's program is in; "": the built-in one
	Permanent Part   `json:"permanent,omitzero"`
}

// counter is the release of the programs that run; the built-in ones have none.
func (p Programs) counter() int64 {
	if p.Running != p.Permanent.Slot || p.Running == "" {
		return 0
	}
	return p.Permanent.Counter
}

// damaged says that the built-in programs stand in for the permanent ones.
func (p Programs) damaged() bool { return p.Permanent.Slot != "" && p.Running != p.Permanent.Slot }

// face is what this agent has heard of its own programs.
type face struct {
	reached   bool // somebody was answered at its socket
	forwarder bool // it is connected to one
	gateway   bool // one has stayed up, or there is to be none
	gone      string
	renewed   bool // its programs are permanent since then: a forwarder that is lost may have been lost before
	behind    bool // that one is not of the programs on trial: theirs ended in between
}

// builtIn is the version of the programs that came with the system, for people.
const builtIn = "built-in"

// runtimeTrial says whether the trial under way is of Slipstream's own programs.
func (s State) runtimeTrial() bool { return !s.Trial.To.Runtime.none() }

// onTrial says whether this agent's own program is.
func (s State) onTrial() bool {
	return s.runtimeTrial() && s.Runtime.Running == s.Trial.To.Runtime.Slot && s.Runtime.Permanent.Slot != s.Runtime.Running
}

// home of the forwarder: the slot of which one is started that was not handed
// anything. While programs are on trial it is that of the version before.
func (s State) forwarderHome() string {
	if s.onTrial() {
		return s.Trial.From.Runtime.Slot
	}
	return s.Runtime.Running
}

// spareRuntime is the slot of programs that may be written: neither the permanent one
// nor that of this agent.
func (s State) spareRuntime() string {
	if cmp.Or(s.Runtime.Permanent.Slot, s.Runtime.Running) == slotNames[0] {
		return slotNames[1]
	}
	return slotNames[0]
}

// lacksRuntime says why a version cannot be tried with the programs that run.
func (m *machine) lacksRuntime(v Version) (code, sentence string) {
	own := m.Runtime
	switch {
	case v.Runtime.none() && v.Requires.Runtime > own.counter():
		return CodeRequires, fmt.Sprintf("version %s requires programs of Slipstream of release %d or later, and this device has %s: install those first",
			v.Version, v.Requires.Runtime, own.words())
	case v.Runtime.none():
		return "", ""
	case !own.Able:
		return CodeNoStart, fmt.Sprintf("version %s brings programs of Slipstream, and this agent was not started by slipstream-start, "+
			"which could return to the ones before: start it so first", v.Version)
	}
	return "", ""
}

// words name the programs' release.
func (p Programs) words() string {
	if n := p.counter(); n > 0 {
		return fmt.Sprintf("release %d", n)
	}
	return "those of its system"
}

// ownPrograms are those that a trial leaves.
func (m *machine) ownPrograms() Part {
	if from := m.Runtime.Permanent; from.Slot != "" && !m.Runtime.damaged() {
		return from
	}
	return Part{Version: builtIn}
}

// beginRuntime begins the trial of Slipstream's own programs, alone or with an app.
func (m *machine) beginRuntime(to Version) {
	m.Trials++
	from := m.ownPrograms()
	t := Trial{ID: trialID(m.Trials), From: m.Permanent, To: to, Began: m.wall, Deadline: m.now + int64(to.Rules.Deadline), Unbegun: true}
	if t.From.Runtime = from; to.Slot == "" {
		t.From = Version{Version: from.Version, Runtime: from}
		t.Unbegun, t.Gone = false, true // there is no app
	}
	m.Trial, m.Package = t, Version{}
	m.tryPrograms()
}

// tryPrograms goes on with the forwarder: the one that runs hands over to the new one, or
// goes on if that cannot serve.
func (m *machine) tryPrograms() {
	t := &m.Trial
	if m.Phase = PhaseArming; t.To.Slot == "" { // else there is no marker before there is an app
		m.do(WatchMarker{t.ID})
	}
	m.do(TryRuntime{Trial: t.ID, Runtime: t.To.Runtime})
}

// runtimeTried: the new forwarder serves, so the agent becomes the new one.
func (m *machine) runtimeTried(e RuntimeTried) {
	if e.Trial != m.Trial.ID || m.Phase != PhaseArming || !m.changesPrograms() {
		return
	}
	if e.Error != "" {
		m.notStarted(e.Damaged, runtimeName(m.Trial.To.Runtime.Slot), CauseStart, e.Error)
		return
	}
	m.Phase = PhaseRenewing
	m.do(Become{Trial: m.Trial.ID, Runtime: m.Trial.To.Runtime, Deadline: m.Trial.Deadline})
}

// judgeRenewing waits for the end that becoming another program is.
func (m *machine) judgeRenewing() {
	if m.now >= m.Trial.Deadline {
		m.revert(orders.CauseDeadline, fmt.Sprintf("the agent did not become the new one within %v", m.Trial.To.Rules.Deadline))
	}
}

// unproven says what is not yet known of programs on trial; "": all of it is.
func (m *machine) unproven() string {
	switch {
	case !m.runtimeTrial():
		return ""
	case !m.face.reached:
		return "the new agent was not reached at its socket"
	case !m.face.forwarder:
		return "the new agent has no connection to the forwarder"
	case !m.face.gateway:
		return cmp.Or(m.face.gone, "the new gateway does not run")
	}
	return ""
}

// recoverRuntime goes on with a trial of programs. The start program has run the version
// on trial once, or the permanent one: so the agent on trial that is here for a second
// time is not the one that was tried. What has become of an app, the app's own part says.
func (m *machine) recoverRuntime(e Recover, sameBoot bool) (done bool) {
	t := &m.Trial
	own, to, app := m.Runtime, t.To.Runtime, t.To.Slot != ""
	committed := own.Permanent.Slot == to.Slot && own.Permanent.Digest == to.Digest
	if committed {
		m.replace.wanted = e.Outdated
	}
	switch {
	case app && (committed || m.Phase == PhaseReverting || !sameBoot):
		return false
	case committed:
		m.finishSystem()
	case m.Phase == PhaseReverting:
		m.revert(t.Cause, t.Detail)
	case !sameBoot:
		m.lost(CausePower, "the device was started anew during the trial")
	case t.Forgotten:
		m.lost(CauseForwarder, "the forwarder ended while the agent was away")
	case m.Phase == PhaseRenewing && own.Running == to.Slot:
		m.face.behind = !e.Outdated
		if app {
			m.tryApp()
			break
		}
		m.Phase = PhaseTrial
		m.do(WatchMarker{t.ID})
	case m.Phase == PhaseArming && own.Running != to.Slot:
		m.tryPrograms()
	case m.now >= t.Deadline:
		m.lost(orders.CauseDeadline, fmt.Sprintf("the new agent was not ready within %v, and was ended", t.To.Rules.Deadline))
	default:
		m.lost(CauseStart, "the new agent ended before its trial did")
	}
	return true
}

// leaveRuntime is the way back: first the agent before, and by that the forwarder
// before. One that is not of the version on trial has come back already.
func (m *machine) leaveRuntime() {
	if m.onTrial() {
		m.do(Become{})
		return
	}
	m.do(ReturnForwarder{m.Trial.ID}) // also if that died: a take-over may be under way still
}

// runtimeForwarderLost: the next one is of the version before. Once the record is being
// written that is no cause any more.
func (m *machine) runtimeForwarderLost(e ForwarderLost) {
	t := &m.Trial
	t.Forgotten, t.seen, t.asked = true, "", 0
	if m.Phase == PhaseArming || m.Phase == PhaseRenewing || m.Phase == PhaseTrial {
		m.revert(CauseForwarder, e.Detail)
	}
}

// forwarderReturned: viewers are served by the forwarder before.
func (m *machine) forwarderReturned(e ForwarderReturned) {
	if e.Trial == m.Trial.ID && m.Phase == PhaseReverting && m.runtimeTrial() && !m.onTrial() {
		m.finishRevert()
	}
}

// goHome leaves programs that are neither permanent nor on trial: whatever has started
// them, the record does not know them.
func (m *machine) goHome() {
	if own := m.Runtime; own.Able && own.Running != "" && own.Running != own.Permanent.Slot && !m.runtimeTrial() {
		m.do(Become{})
	}
}

// runtimeWritten: the new programs are the permanent ones. The forwarder is too, unless
// it ended meanwhile and one of the version before took its place.
func (m *machine) runtimeWritten() {
	m.Runtime.Permanent, m.face.renewed = m.Trial.To.Runtime, true
	m.replace.wanted = m.replace.wanted || m.Trial.Forgotten || m.face.behind
}

// runtimeProblem is a version of the programs in whose place the built-in one runs.
func runtimeProblem(s State) string {
	if own := s.Runtime; own.Able && own.damaged() && own.Running == "" && !s.onTrial() {
		return fmt.Sprintf("Slipstream's programs of version %s in runtime slot %s could not be started, and the built-in ones run: "+
			"stage it, or a newer version, and activate that", own.Permanent.Version, own.Permanent.Slot)
	}
	return ""
}

// shownRuntimes are the slots of Slipstream's own programs, as people see them.
func shownRuntimes(s State) []control.System {
	if !s.Runtime.Able {
		return nil
	}
	return shownSlots(s.Runtime.Running, s.Runtime.Permanent, s.Trial.To.Runtime, s.Package.Runtime, s)
}

// class is that of the slots whose change takes the most, of what a version brings, for the
// history; "" for an app alone.
func (v Version) class() string {
	switch {
	case !v.System.none():
		return verify.ClassSystem
	case !v.Runtime.none():
		return verify.ClassRuntime
	}
	return ""
}

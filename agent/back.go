package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"slipstream/agent/control"
	"slipstream/verify"
)

// The way back: the version that was permanent before is tried again, as any version is,
// and takes the place of the one that is permanent now. A person or the fleet asks for it,
// or the permanent version keeps ending (see escalate.go). Its floor stays where the newer
// one has brought it, and that one counts as reverted, so that nobody goes round in circles.

// Commit is what is known of how a version became permanent in its slot class. The active
// record says what is permanent; if this is lost, or about another version, the device does
// not return by itself.
type Commit struct {
	Number int64  `json:"number"` // of its trial
	Digest string `json:"digest"` // of its package
	Age    Age    `json:"age"`
	Back   bool   `json:"back,omitempty"`  // it was permanent before, and was returned to
	Tries  int    `json:"tries,omitempty"` // how often the device has tried by itself to return from it
}

// Commits are those of the slot classes.
type Commits struct {
	Live    Commit `json:"live,omitzero"`
	System  Commit `json:"system,omitzero"`
	Runtime Commit `json:"runtime,omitzero"`
}

// Candidate is a version that the device could return to, as its disk and its trust have it.
type Candidate struct {
	Version Version // of a class other than live; there the core knows it
	Code    string  // why it may not run
	Why     string  // one sentence; "": it may
}

// Returns are the candidates of the slot classes.
type Returns struct {
	Live, System, Runtime Candidate
	Bound                 fallbackBound // of what the device does by itself
}

// Codes of a return that is refused.
const (
	CodeGone  = "previous-gone"  // the version before is not there any more
	CodeEpoch = verify.CodeEpoch // the version before has known security faults
)

// committed notes that a trial's version is permanent.
func (m *machine) committed(t Trial) {
	c := Commit{
		Number: m.Trials, Digest: t.To.Digest, Back: t.Return != "", // each part has its own, if they were returned to
		Age: Age{Boot: m.Boot, Mark: m.now, Wall: m.wall},
	}
	if t.To.Slot != "" {
		m.Commits.Live = c
	}
	if t.To.System.Slot != "" {
		c.Digest = t.To.System.Digest
		m.Commits.System = c
		app := &m.Apps[slotIndex(m.Permanent.Slot)] // how often it ended with another system says nothing of this one
		app.Beyond, app.Barred = 0, ""
	}
	if !t.To.Runtime.none() {
		c.Digest = t.To.Runtime.Digest
		m.Commits.Runtime = c
	}
}

// current is the commit of what is permanent in a class, if it is known.
func (m *machine) current(class string) (c Commit, known bool) {
	digest := m.Permanent.Digest
	switch class {
	case verify.ClassSystem:
		c, digest = m.Commits.System, m.System.Permanent.Digest
	case verify.ClassRuntime:
		c, digest = m.Commits.Runtime, m.Runtime.Permanent.Digest
	default:
		c = m.Commits.Live
	}
	return c, c.Digest != "" && c.Digest == digest
}

// resting says that a trial may begin.
func (s State) resting() bool { return s.Phase == PhaseIdle || s.Phase == PhaseStaged }

// newestClass is that of the newest update that became permanent, since that is what a
// person wants to undo. A package of a system and its app is one of a system, whose record
// names the app to return to; programs go along with either. Where no journal tells, it is
// the class that has a way back.
func (m *machine) newestClass(r Returns) string {
	class, newest := "", int64(0)
	for _, of := range []string{verify.ClassSystem, verify.ClassLive, verify.ClassRuntime} {
		if c, known := m.current(of); known && c.Number > newest {
			class, newest = of, c.Number
		}
	}
	switch {
	case class != "":
	case m.Previous.none() && r.System.Version.System.Slot != "":
		return verify.ClassSystem
	case m.Previous.none() && !r.Runtime.Version.Runtime.none():
		return verify.ClassRuntime
	default:
		return verify.ClassLive
	}
	return class
}

// wayBack is the version that a class can return to, or why it cannot. Without either
// there is none.
func (m *machine) wayBack(class string, r Returns) (to Version, code, why string) {
	c := r.Live
	switch class {
	case verify.ClassSystem:
		c = r.System
		to = c.Version
	case verify.ClassRuntime:
		c = r.Runtime
		to = c.Version
	default:
		if m.Previous.none() {
			return Version{}, "", ""
		}
		if to = m.Spare; to.Digest != m.Previous.Digest {
			return Version{}, CodeGone, fmt.Sprintf("version %s, which was permanent before, is not in slot %s any more", m.Previous.Version, m.SpareSlot())
		}
		if to.Epoch < m.Permanent.Epoch {
			return Version{}, CodeEpoch, fmt.Sprintf("version %s has known security faults (security epoch %d, lowest allowed %d)",
				to.Version, to.Epoch, m.Permanent.Epoch)
		}
	}
	if c.Why != "" {
		return Version{}, c.Code, c.Why
	}
	if to.nothing() {
		return Version{}, "", ""
	}
	if m.together(class, verify.ClassRuntime) {
		with := r.Runtime
		if with.Why == "" && with.Version.Runtime.none() {
			with = Candidate{Code: CodeGone, Why: "the programs of Slipstream that ran with it are not known any more"}
		}
		if with.Why != "" {
			return Version{}, with.Code, with.Why
		}
		to.Runtime = with.Version.Runtime
	}
	if code, why = m.lacks(to); code != "" {
		return Version{}, code, why
	}
	return to, "", ""
}

// nothing says that there is no version.
func (v Version) nothing() bool { return v.Digest == "" && v.Runtime.none() }

// together says whether what is permanent in two classes became so in one trial.
func (m *machine) together(one, other string) bool {
	x, known := m.current(one)
	y, also := m.current(other)
	return one != other && known && also && x.Number == y.Number
}

// returnAsked is the operator's word against what is permanent.
func (m *machine) returnAsked(e RevertAsked) {
	class := m.newestClass(e.Back)
	to, code, why := m.wayBack(class, e.Back)
	switch {
	case !m.resting():
		m.busy(e.Req)
	case m.replace.under:
		m.answer(e.Req, control.ExitRefused, CodeBusy, "the forwarder is being replaced: try it again in a moment")
	case why != "":
		m.answer(e.Req, control.ExitRefused, code, "there is no way back: %s", why)
	case to.nothing():
		m.answer(e.Req, control.ExitNothing, "", "no version is on trial, and there is none to return to")
	case m.forbidden(to, e.Force):
		m.answer(e.Req, control.ExitRefused, CodeReverted, "%s; `slipstream revert --force` tries it all the same", m.triedBefore(to))
	case to.Slot != "" && m.Apps[slotIndex(to.Slot)].Status != AppStopped:
		if m.Apps[slotIndex(m.Permanent.Slot)].Status == AppBackOff {
			m.retire() // else viewers may need it until they see the other one
		}
		m.answer(e.Req, control.ExitRefused, CodeBusy, "the app of version %s is still ending: try it again in a moment", to.Version)
	default:
		m.goBack(to, CauseOperator, "an operator asked for the version before", nil)
		m.do(Answer{
			Req: e.Req, Trial: m.Trial.ID, Begun: true,
			Result: result(control.ExitDone, "", fmt.Sprintf("trial %s of version %s, which was permanent before, has begun", m.Trial.ID, to.Version)),
		})
	}
}

// goBack begins the trial of a version that was permanent before. What was staged is not
// any more: it may need what is being left.
func (m *machine) goBack(to Version, cause, detail string, evidence []string) {
	m.Package = Version{}
	if to.Slot != "" {
		to.Counter = max(to.Counter, m.Permanent.Counter)
	}
	if !to.Runtime.none() {
		to.Runtime.Counter = max(to.Runtime.Counter, m.Runtime.Permanent.Counter)
	}
	switch {
	case to.System.Slot != "":
		to.System.Counter = max(to.System.Counter, m.System.Permanent.Counter)
		m.beginSystem(to)
	case !to.Runtime.none():
		m.beginRuntime(to)
	default:
		m.beginLive(to)
	}
	m.Trial.Return, m.Trial.Left, m.Trial.Said = cause, detail, evidence
}

// leftBehind is the version that a trial has returned from.
func (m *machine) leftBehind(t Trial) {
	if t.Return == "" {
		return
	}
	v := t.From
	if v.Digest == "" { // a system, or programs
		v.Digest = cmp.Or(v.System.Digest, v.Runtime.Digest)
	}
	if v.Digest != "" {
		m.reject(v)
	}
	m.do(Remember{control.Record{
		Time: m.wall, From: t.To.Version, To: v.Version, Digest: v.Digest, Class: t.To.class(),
		Outcome: control.OutcomeReverted, Reason: t.Return, Detail: t.Left, Evidence: t.Said,
	}})
}

// reject remembers a version as one that is not tried again without force.
func (m *machine) reject(v Version) {
	if _, known := m.WasReverted(v); known || v.Digest == "" { // the built-in programs are no package's
		return
	}
	r := Reverted{Digest: v.Digest, Image: v.Image, App: v.App, System: v.System.Image, Runtime: v.Runtime.Image, Version: v.Version}
	m.Reverted = append(slices.Clone(m.Reverted), r)
	m.Reverted = m.Reverted[max(0, len(m.Reverted)-maxReverted):]
}

// blameless are causes that say nothing of the version. One that was permanent before, and
// whose return ended so, may be returned to again.
var blameless = []string{CausePower, CauseAgent, CauseForwarder, CauseRecord}

// blamed says whether a trial's end counts against its version.
func (t Trial) blamed() bool {
	untried := t.Cause == CauseBoot && t.Reboot.Times == 0 // the boot loader could not be told
	return t.Return == "" || !untried && !slices.Contains(blameless, t.Cause)
}

// Return implements [control.Technician].
func (a *Agent) Return(ctx context.Context, r control.ReturnRequest) control.Result {
	if err := a.ready(ctx); err != nil {
		return unanswered("", err)
	}
	answer, err := a.ask(ctx, func(req uint64) any { return RevertAsked{Req: req, Force: r.Force, Rest: true} })
	if err != nil {
		return unanswered("", err)
	}
	return a.trialResult(ctx, answer, r.Wait)
}

// returns finds what the device could return to. It reads what the slots say of
// themselves; that they are whole is known when the version is started.
func (a *Agent) returns() (r Returns) {
	r.Live = a.returnLive(a.state.Previous.Slot, a.state.Previous.Digest)
	r.System, r.Runtime = a.returnSystem(), a.returnRuntime()
	r.Bound = a.fallbackBound()
	return r
}

// returnLive says why the app of a slot may not be permanent once more; of a slot that
// holds another one the core says more.
func (a *Agent) returnLive(slot, digest string) Candidate {
	if slot == "" {
		return Candidate{}
	}
	v, m, err := a.recheck(slot)
	if err == nil && v.Digest != digest {
		err = fmt.Errorf("slot %s holds version %s", slot, v.Version)
	}
	if err != nil {
		return Candidate{Code: CodeGone, Why: fmt.Sprintf("the version before is not whole in slot %s: %s", slot, sentence(err))}
	}
	held := a.states.schema(a.state.Permanent.Slot)
	if held != "" && v.State != nil && !v.State.Takes(held) {
		return Candidate{Code: CodeState, Why: refusedState(v.Version, held)}
	}
	return a.mayReturn(m, v)
}

// mayReturn judges by the floors that the device keeps outside of its slots.
func (a *Agent) mayReturn(m verify.Manifest, v Version) Candidate {
	vendor, err := a.trust()
	var device verify.Device
	if err == nil {
		device, err = deviceOf(a.cfg, a.trusted)
	}
	if err == nil {
		err = m.MayReturn(vendor, device)
	}
	if err != nil {
		return Candidate{Version: v, Code: verify.Code(err), Why: bare(err)}
	}
	return Candidate{Version: v}
}

// returnSystem is the other system, with the app that was permanent with it.
func (a *Agent) returnSystem() Candidate {
	s := a.state.System
	r, err := a.record.Load()
	if err != nil || a.systems == nil || s.Permanent.Slot == "" || s.Running != s.Permanent.Slot {
		return Candidate{}
	}
	slot := a.state.spareSystem()
	was, known := r.Systems[slot]
	if !known {
		return Candidate{}
	}
	part, m, err := a.readPart(a.systemTarget(slot))
	if err == nil && part.Digest != was.Digest {
		err = fmt.Errorf("it holds version %s", part.Version)
	}
	if err != nil {
		return Candidate{Code: CodeGone, Why: fmt.Sprintf("system version %s is not whole in system slot %s: %s", was.Version, slot, sentence(err))}
	}
	if now, known := a.manifestOf(a.systemTarget(s.Permanent.Slot)); known && m.SecurityEpoch < now.SecurityEpoch {
		return Candidate{Code: CodeEpoch, Why: fmt.Sprintf("system version %s has known security faults (security epoch %d, lowest allowed %d)",
			m.Version, m.SecurityEpoch, now.SecurityEpoch)}
	}
	if live, has := r.Live[slot]; has {
		if c := a.returnLive(live.Slot, live.Digest); c.Why != "" {
			c.Why = fmt.Sprintf("version %s of the app, which ran with system %s, cannot run again: %s", live.Version, was.Version, c.Why)
			return c
		} else if c.Version.Epoch < a.state.Permanent.Epoch {
			return Candidate{Code: CodeEpoch, Why: fmt.Sprintf("version %s of the app, which ran with system %s, has known security faults (security epoch %d, lowest allowed %d)",
				live.Version, was.Version, c.Version.Epoch, a.state.Permanent.Epoch)}
		}
	}
	return a.mayReturn(m, alone(m, Version{System: part}))
}

// returnRuntime is the version of Slipstream's own programs before.
func (a *Agent) returnRuntime() Candidate {
	p := a.state.Runtime
	r, err := a.record.Load()
	if err != nil || a.runtimes == nil || p.Permanent.Slot == "" || p.damaged() {
		return Candidate{}
	}
	was := r.Runtime[r.System].Previous
	if was == nil {
		return a.returnBuiltIn()
	}
	part, m, err := a.readPart(a.runtimeTarget(was.Slot))
	if err == nil && part.Digest != was.Digest {
		err = fmt.Errorf("it holds version %s", part.Version)
	}
	if err == nil && was.Slot == p.Permanent.Slot {
		err = errors.New("it holds what is permanent")
	}
	if err != nil {
		return Candidate{Code: CodeGone, Why: fmt.Sprintf("version %s of Slipstream's programs is not whole in runtime slot %s: %s", was.Version, was.Slot, sentence(err))}
	}
	if now, known := a.manifestOf(a.runtimeTarget(p.Permanent.Slot)); known && m.SecurityEpoch < now.SecurityEpoch {
		return Candidate{Code: CodeEpoch, Why: fmt.Sprintf("version %s of Slipstream's programs has known security faults (security epoch %d, lowest allowed %d)",
			m.Version, m.SecurityEpoch, now.SecurityEpoch)}
	}
	return a.mayReturn(m, alone(m, Version{Runtime: part}))
}

// returnBuiltIn are the programs that came with the system, which ran before the first
// update of them. Of them it is known how safe their system is, and no more.
func (a *Agent) returnBuiltIn() Candidate {
	p := a.state.Runtime.Permanent
	now, known := a.manifestOf(a.runtimeTarget(p.Slot))
	if !known {
		return Candidate{Code: CodeGone, Why: "version " + p.Version + " of Slipstream's programs cannot be read, and it is not known how safe the built-in ones are beside it"}
	}
	epoch := int64(0)
	if s := a.state.System.Permanent; s.Slot != "" && a.systems != nil {
		if m, known := a.manifestOf(a.systemTarget(s.Slot)); known {
			epoch = m.SecurityEpoch
		}
	}
	if epoch < now.SecurityEpoch {
		return Candidate{Code: CodeEpoch, Why: fmt.Sprintf("the programs that came with the system may have known security faults (security epoch %d, lowest allowed %d): "+
			"to have others, install a version of them", epoch, now.SecurityEpoch)}
	}
	rules := alone(now, Version{Runtime: p}).Rules
	rules.Greenlight = verify.GreenlightAuto
	return Candidate{Version: Version{Version: builtIn, Rules: rules, Runtime: Part{BuiltIn: true, Version: builtIn}}}
}

// manifestOf is what a slot's package said.
func (a *Agent) manifestOf(t target) (verify.Manifest, bool) {
	_, m, err := a.readPart(t)
	return m, err == nil
}

// alone is a version without its app, although its package may have one. There is nobody
// then to make the app's marker: what was greenlit before is so again once it holds.
func alone(m verify.Manifest, with Version) Version {
	v := versionOf(m, cmp.Or(with.System.Digest, with.Runtime.Digest), "")
	out := Version{Digest: v.Digest, Version: v.Version, Counter: v.Counter, Epoch: v.Epoch, Rules: v.Rules, System: with.System, Runtime: with.Runtime}
	if m.App != nil {
		out.Rules = Rules{Greenlight: v.Rules.Greenlight, Deadline: v.Rules.Deadline, Soak: v.Rules.Soak}
	}
	if out.Rules.Greenlight == verify.GreenlightApp {
		out.Rules.Greenlight = verify.GreenlightAuto
	}
	return out
}

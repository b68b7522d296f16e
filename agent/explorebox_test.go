package agent_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// box is one state of all that matters of a device.
type box struct {
	now    int64
	boots  int
	lives  int  // of the agent
	faults int  // that may still happen
	mute   bool // nobody makes a marker, or asks for anything, any more
	never  bool // in this story there is no marker

	agent    agent.State
	up       bool
	admitted bool           // the agent knows of its connection
	todo     []agent.Effect // of its last step, not yet begun
	local    []any          // events that need no forwarder, in any order
	starting []agent.StartApp
	alive    []orders.SourceID
	ready    []orders.SourceID
	frozen   orders.SourceID
	slow     []agent.Effect // of the boot loader, one after the other
	queue    []agent.Effect // of programs, likewise
	reboots  bool           // the device is going down
	becoming bool           // the agent becomes another one

	slots    [2]agent.Version
	systems  *systemDisk
	programs *runtimeDisk
	loader   *loader
	writing  *agent.WriteRecord
	staging  *agent.StageSlot

	fwd     boxForwarder
	toFwd   []any
	toAgent []any

	offered agent.Version  // what is installed; zero: the version before is returned to
	asked   bool           // for it
	began   string         // digests of all that was permanent
	marked  orders.TrialID // its marker was made in this boot
	held    orders.TrialID // the forwarder has given the right to commit
	proven  int            // life of the agent that was reached
	tried   []orders.TrialID
	told    string   // digest of what the history last called permanent
	rejects []string // digests of what it called reverted
	returnV string   // digest of the version that may be returned from
	deaths  int      // that the permanent app is still to die
}

func boxVersion(n int64, slot string) agent.Version {
	name := fmt.Sprintf("%d.0", n)
	return agent.Version{Slot: slot, Version: name, Digest: "d" + name, Image: "i" + name, App: "contract", Counter: n, Rules: rules(), Streams: []string{"main"}}
}

// newBox is a device with all slot classes, whose version 1 runs in front of viewers.
func newBox() *box {
	b := &box{now: exploreStart, boots: 1, systems: newSystemDisk("a"), loader: newLoader("a"), programs: &runtimeDisk{content: map[string]agent.Part{}}}
	one := boxVersion(1, "a")
	b.slots[0] = one
	factory := agent.Part{Digest: "dfactory", Image: "sfactory", Version: "factory", Counter: 1}
	b.systems.is["a"], b.systems.content["a"], b.systems.live["a"] = factory, factory, one
	return b.started()
}

// started lets it come to rest, and forgets how.
func (b *box) started() *box {
	mute := b.mute
	b.mute = true
	for range maxSilence {
		m, ok := b.calmMove()
		if !ok {
			b.began, b.mute = b.permanents(), mute
			return b
		}
		m.do(b)
	}
	panic("no rest at the beginning: " + b.String())
}

// updated is a device on which what version 2 brings is permanent, and of version 1 what was
// so before.
func (b *box) updated(brings string) *box {
	b.offer(brings, "operator")
	for range maxSilence {
		if strings.Contains(b.permanents(), b.offered.Digest) && b.agent.Phase == agent.PhaseIdle && b.quiet() && len(b.alive) == 1 {
			break
		}
		m, _ := b.calmMove()
		if asked := b.people(); len(asked) > 0 && len(b.todo) == 0 {
			m = asked[0]
		}
		m.do(b)
	}
	b.returnV = b.offered.Digest
	b.offered, b.asked, b.marked, b.held = agent.Version{}, false, "", ""
	return b.started()
}

// offer lets somebody install version 2.
func (b *box) offer(brings, greenlight string) *box {
	v := boxVersion(2, "")
	v.Rules.Greenlight = greenlight
	part := agent.Part{Digest: v.Digest, Image: "s" + v.Version, Version: v.Version, Counter: 2}
	if !strings.Contains(brings, "app") {
		v.Image, v.App, v.Streams = "", "", nil
	}
	if strings.Contains(brings, "system") {
		v.System = part
	}
	if strings.Contains(brings, "runtime") {
		v.Runtime = part
	}
	b.offered = v
	return b
}

func (b *box) overlapping(how string) *box { b.offered.Rules.Overlap = how; return b }
func (b *box) silent() *box                { b.never = true; return b }

// returns lets an operator want the version before.
func (b *box) returns() *box { b.asked = false; return b }

// crashing lets the permanent version end whenever it has come up, so often. Nobody asks for
// the version before.
func (b *box) crashing(deaths int) *box {
	b.asked, b.deaths, b.returnV = true, deaths, ""
	return b
}

func (b *box) clone() *box {
	c := *b
	c.todo, c.local, c.starting = slices.Clone(b.todo), slices.Clone(b.local), slices.Clone(b.starting)
	c.alive, c.ready = slices.Clone(b.alive), slices.Clone(b.ready)
	c.slow, c.queue = slices.Clone(b.slow), slices.Clone(b.queue)
	c.toFwd, c.toAgent = slices.Clone(b.toFwd), slices.Clone(b.toAgent)
	c.fwd.over, c.fwd.sources = slices.Clone(b.fwd.over), slices.Clone(b.fwd.sources)
	c.rejects, c.tried = slices.Clone(b.rejects), slices.Clone(b.tried)
	s, p, l := *b.systems, *b.programs, *b.loader
	s.is, s.content, s.live, s.before = maps.Clone(s.is), maps.Clone(s.content), maps.Clone(s.live), maps.Clone(s.before)
	p.content, l.ok = maps.Clone(p.content), maps.Clone(l.ok)
	c.systems, c.programs, c.loader = &s, &p, &l
	return &c
}

// record is the app that the record names for the system that runs.
func (b *box) record() agent.Version { return b.systems.live[b.systems.with()] }

func (b *box) permanents() string {
	return b.record().Digest + " " + b.systems.is[b.systems.named].Digest + " " + b.programs.permanent.Digest
}

func (b *box) changed() bool { return b.permanents() != b.began }

// step lets the agent take an event. What follows from it is journaled at once, and begun one
// by one.
func (b *box) step(what any) {
	var effects []agent.Effect
	b.agent, effects = agent.Step(b.agent, agent.Event{Now: b.now, Wall: time.Unix(1_800_000_000, 0), What: what})
	for _, e := range effects {
		switch e := e.(type) {
		case agent.Remember: // in the journal with the state
			b.remember(e.Record)
		case agent.Answer, agent.WatchMarker, agent.WatchChecks, agent.MakeMarker, agent.EndTrial, agent.Distrust:
		default:
			b.todo = append(b.todo, e)
		}
	}
}

func (b *box) remember(r control.Record) {
	switch {
	case r.Outcome == control.OutcomePermanent:
		b.told = r.Digest
	case r.Outcome == control.OutcomeReverted && r.Trial == "" && (r.Reason == agent.CauseCrashing || r.Reason == agent.CauseOperator):
		b.rejects = append(b.rejects, r.Digest) // it was left
	case r.Outcome == control.OutcomeReverted && r.Trial == "", r.Reason == agent.CauseDamaged:
	case r.Outcome == control.OutcomeReverted && slices.Contains([]string{agent.CausePower, agent.CauseAgent, agent.CauseForwarder, agent.CauseRecord}, r.Reason) && r.Return != "":
	case r.Outcome == control.OutcomeReverted:
		b.rejects = append(b.rejects, r.Digest)
	}
}

// perform begins one effect.
func (b *box) perform() {
	e := b.todo[0]
	b.todo = b.todo[1:]
	switch e := e.(type) {
	case agent.StartApp:
		b.startApp(e)
	case agent.StopApp:
		b.stopApp(e.Source)
	case agent.CheckSlot:
		b.local = append(b.local, agent.SlotChecked{Trial: e.Trial})
	case agent.Freeze:
		if slices.Contains(b.alive, e.Source) {
			b.frozen = e.Source
		}
	case agent.Thaw:
		b.thaw(e.Source)
	case agent.SendOrders, agent.AskStatus, agent.Hold, agent.Settle, agent.RevertTrial:
		if b.admitted {
			b.toFwd = append(b.toFwd, e)
		}
	case agent.RestartForwarder:
		b.forwarderDies()
	case agent.ReplaceForwarder:
		b.queue = append(b.queue, e)
	case agent.TryBoot, agent.CancelBoot, agent.AgreeBoot, agent.Restart:
		b.slow = append(b.slow, e)
	case agent.TryRuntime, agent.ReturnForwarder:
		b.queue = append(b.queue, e)
	case agent.Become:
		b.programs.become, b.becoming = &e, true
	case agent.WriteRecord:
		b.mayCommit(e)
		b.writing = &e
	case agent.StageSlot:
		b.stage(e)
	default:
		b.fail("an effect that this story does not have: %T", e)
	}
}

// stage begins to write: from the first byte on the slots hold nothing.
func (b *box) stage(e agent.StageSlot) {
	if e.Slot == b.record().Slot || e.System != "" && (e.System == b.systems.running || e.System == b.systems.named) ||
		e.Runtime != "" && (e.Runtime == b.programs.running || e.Runtime == b.programs.permanent.Slot) {
		b.fail("a slot is written that holds what is permanent or runs: %+v", e)
	}
	if e.Slot != "" {
		b.slots[index(e.Slot)] = agent.Version{}
	}
	if e.System != "" {
		b.loader.ok[e.System] = false
		delete(b.systems.content, e.System)
	}
	delete(b.programs.content, e.Runtime)
	b.staging = &e
}

// staged is the last byte.
func (b *box) staged() {
	e, v := b.staging, b.agent.Stage.Version
	b.staging = nil
	if e.Slot != "" {
		b.slots[index(e.Slot)] = v
	}
	if e.System != "" {
		b.systems.content[e.System] = v.System
	}
	if e.Runtime != "" {
		b.programs.content[e.Runtime] = v.Runtime
	}
	b.local = append(b.local, agent.StageDone{Attempt: e.Attempt})
}

// tries: what was reverted is not tried again, since nobody in these stories asks by force.
func (b *box) tries(v agent.Version) {
	if slices.Contains(b.rejects, v.Digest) {
		b.fail("version %s was reverted, and is tried again", v.Version)
	}
}

func (b *box) startApp(e agent.StartApp) {
	trial := e.Role != agent.RolePermanent
	replaced := slices.ContainsFunc(b.local, func(what any) bool { _, is := what.(agent.RecordWritten); return is })
	if !replaced && trial == (e.Slot == b.record().Slot) { // else the agent is about to hear of it
		b.fail("the app of slot %s starts as %s, and the record names %s", e.Slot, e.Role, b.record().Slot)
	}
	if trial {
		b.tries(b.agent.Trial.To)
	}
	b.starting = append(b.starting, e)
}

// mayCommit is asked before a record is written, and when it is.
func (b *box) mayCommit(e agent.WriteRecord) {
	t := b.agent.Trial
	if auto := t.To.Rules.Greenlight == verify.GreenlightAuto; b.marked != e.Trial && !auto || !t.Latched {
		b.fail("trial %s is committed without a marker of its own", e.Trial)
	}
	if e.Version.Slot != "" && b.held != e.Trial {
		b.fail("trial %s is committed, and the forwarder has not given the right to it", e.Trial)
	}
	if s := e.Version.System.Slot; s != "" && (s != b.systems.running || b.systems.content[s].Digest != e.Version.System.Digest) {
		b.fail("system slot %s becomes permanent, and %s runs", s, b.systems.running)
	}
	if s := e.Version.Runtime.Slot; s != "" && (s != b.programs.running || b.proven != b.lives) {
		b.fail("programs of slot %s become permanent, those of %q run, reached: %v", s, b.programs.running, b.proven == b.lives)
	}
}

func (b *box) replaceRecord() {
	e := b.writing
	b.writing = nil
	b.mayCommit(*e)
	if v := e.Version; v.Runtime.Slot != "" {
		b.programs.permanent = v.Runtime
		if v.Slot+v.System.Slot == "" {
			return
		}
	}
	b.systems.commit(e.Version, e.Previous)
}

func (b *box) stopApp(source orders.SourceID) {
	t := b.agent.Trial
	heard := slices.Contains(b.ready, source) && !slices.ContainsFunc(b.local, func(what any) bool { return what == agent.AppReady{Source: source} })
	makesRoom := t.Clearing && string(source[:1]) == t.From.Slot
	if !makesRoom && b.fwd.up && b.fwd.permanent == source && heard {
		b.fail("%s is stopped while the forwarder calls it permanent", source)
	}
	b.thaw(source)
	if i := slices.IndexFunc(b.starting, func(e agent.StartApp) bool { return e.Source == source }); i >= 0 {
		b.starting = slices.Delete(b.starting, i, i+1)
		b.local = append(b.local, agent.AppExited{Source: source, Detail: "called off", Unborn: true})
		return
	}
	b.appDies(source)
}

// appDies ends a process: the forwarder and the agent each see it for themselves.
func (b *box) appDies(source orders.SourceID) {
	was := func(s orders.SourceID) bool { return s == source }
	b.alive, b.ready = slices.DeleteFunc(b.alive, was), slices.DeleteFunc(b.ready, was)
	b.thaw(source)
	if b.fwd.up && b.fwd.trial != "" && b.fwd.source == source {
		b.fwd.end(b, orders.CauseExit)
	}
	if b.up {
		b.local = append(b.local, agent.AppExited{Source: source, Detail: "exited", Back: b.found()})
	}
}

// found is what there is to return to, as the runner finds it: always, as far as floors go.
func (b *box) found() *agent.Returns {
	return &agent.Returns{Bound: 24 * time.Hour, System: b.systemBefore()}
}

// systemBefore is the other system, with the app that was permanent with it.
func (b *box) systemBefore() agent.Candidate {
	s := b.systems
	slot := otherSlot(s.named)
	was, known := s.is[slot]
	if !known || s.running != s.named {
		return agent.Candidate{}
	}
	if live := s.live[slot]; s.content[slot].Digest != was.Digest || b.slots[index(live.Slot)].Digest != live.Digest {
		return agent.Candidate{Code: agent.CodeGone, Why: "it is not whole"}
	}
	was.Slot = slot
	v := agent.Version{Version: was.Version, Digest: was.Digest, Counter: was.Counter, Rules: rules(), System: was}
	v.Rules.Greenlight = verify.GreenlightAuto
	return agent.Candidate{Version: v}
}

func (b *box) thaw(source orders.SourceID) {
	if b.frozen == source {
		b.frozen = ""
	}
}

func (b *box) agentDies() {
	b.up, b.admitted, b.todo, b.local, b.toFwd, b.toAgent, b.starting, b.writing = false, false, nil, nil, nil, nil, nil, nil
	b.slow, b.queue, b.staging, b.reboots, b.becoming = nil, nil, nil, false, false
}

// start is a new life of the agent, which has its journal, the record, and what runs.
func (b *box) start() {
	raw, err := json.Marshal(b.agent)
	if err != nil {
		panic(err)
	}
	b.agent = agent.State{}
	if err := json.Unmarshal(raw, &b.agent); err != nil {
		panic(err)
	}
	if b.programs.become == nil { // else the start program has chosen
		b.programs.start(false)
	}
	b.programs.become = nil
	if b.frozen != b.agent.Trial.Frozen { // so does the runner
		b.thaw(b.frozen)
	}
	b.up, b.admitted, b.lives = true, false, b.lives+1
	r := agent.Recover{
		Boot: fmt.Sprint(b.boots), Permanent: b.record(), Previous: b.systems.before[b.systems.with()], Slots: b.slots,
		System: b.systems.found(), Runtime: b.programs.found(), Forwarder: b.fwd.up,
	}
	r.Outdated = b.fwd.up && b.fwd.home != b.programs.permanent.Slot
	known := func(s orders.SourceID) bool { return b.agent.Apps[0].Source == s || b.agent.Apps[1].Source == s }
	for _, source := range slices.Clone(b.alive) {
		if !known(source) {
			b.appDies(source) // the runner ends strays
			b.local = nil
			continue
		}
		r.Alive = append(r.Alive, agent.Alive{Source: source, PID: 1})
	}
	if !b.fwd.up {
		b.fwd = boxForwarder{up: true, home: b.programs.permanent.Slot}
	}
	b.step(r)
	b.toAgent = []any{agent.ForwarderConnected{}}
	for _, source := range b.ready { // READY=1 may have been lost with the agent before
		b.local = append(b.local, agent.AppReady{Source: source})
	}
}

// powerFails is also what a reboot is.
func (b *box) powerFails() {
	b.agentDies()
	b.boots++
	b.alive, b.ready, b.frozen, b.fwd, b.marked, b.held = nil, nil, "", boxForwarder{}, "", ""
	b.programs.become = nil
	b.systems.running = b.loader.boot()
	if is, holds := b.systems.is[b.loader.good], b.systems.content[b.loader.good]; is.Digest != holds.Digest {
		b.fail("the boot loader's permanent slot %s holds %q, and %q was permanent", b.loader.good, holds.Version, is.Version)
	}
}

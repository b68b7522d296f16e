package agent_test

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/agent"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// boxMove is one thing that can happen next.
type boxMove struct {
	name string
	do   func(*box)
}

// moves lists what can happen next. The effects of one step are begun in one order; faults
// come between them.
func (b *box) moves() (all []boxMove) {
	if b.faults > 0 {
		all = b.accidents()
	}
	if len(b.todo) > 0 {
		return append(all, boxMove{fmt.Sprintf("begins %T", b.todo[0]), (*box).perform})
	}
	all = append(all, b.happenings()...)
	if !b.mute {
		all = append(all, b.people()...)
	}
	return all
}

// happenings are no faults: each of them is to be expected.
func (b *box) happenings() (all []boxMove) {
	if !b.up {
		return append(all, boxMove{"agent starts", (*box).start})
	}
	if b.reboots {
		return append(all, boxMove{"the device restarts", (*box).powerFails})
	}
	if b.becoming {
		return append(all, boxMove{"the agent becomes another one", func(b *box) { b.becomes(true) }})
	}
	if len(b.slow) > 0 { // that the agent may die, or the time come, before is a fault
		return append(all, boxMove{fmt.Sprintf("boot loader: %T", b.slow[0]), (*box).boots1})
	}
	if len(b.queue) > 0 {
		return append(all, boxMove{fmt.Sprintf("programs: %T", b.queue[0]), func(b *box) { b.programs1(true) }})
	}
	for n, what := range b.local {
		all = append(all, boxMove{fmt.Sprintf("agent sees %T", what), func(b *box) {
			b.local = slices.Delete(b.local, n, n+1)
			b.step(what)
		}})
	}
	for n, e := range b.starting {
		all = append(all, boxMove{"starts " + string(e.Source), func(b *box) {
			b.starting = slices.Delete(b.starting, n, n+1)
			b.alive = append(b.alive, e.Source)
			b.local = append(b.local, agent.AppStarted{Source: e.Source, PID: 1, At: b.now})
		}})
	}
	for _, source := range b.alive {
		if !slices.Contains(b.ready, source) && b.frozen != source && !b.isNews(source) {
			all = append(all, boxMove{string(source) + " is ready", func(b *box) {
				b.ready = append(b.ready, source)
				b.local = append(b.local, agent.AppReady{Source: source})
			}})
		}
	}
	if b.staging != nil {
		all = append(all, boxMove{"staged", (*box).staged})
	}
	if len(b.toAgent) > 0 {
		all = append(all, boxMove{fmt.Sprintf("agent hears %T", b.toAgent[0]), (*box).hear})
	}
	if b.writing != nil {
		all = append(all, boxMove{"record written", func(b *box) {
			id := b.writing.Trial
			b.replaceRecord()
			b.local = append(b.local, agent.RecordWritten{Trial: id})
		}})
	}
	if b.wake() != 0 && !b.busy() {
		all = append(all, boxMove{"agent's time has come", (*box).tick})
	}
	if s := b.agent; !b.busy() && b.admitted && (s.Phase == agent.PhaseTrial && s.Trial.To.Slot == "" && s.Trial.SoakEnds == 0 || s.Retiring != "" || s.Trial.ReturnBy != 0) {
		all = append(all, boxMove{"forwarder reports", (*box).report})
	}
	if t := b.agent.Trial; b.agent.Phase == agent.PhaseTrial && !b.busy() && b.admitted && b.now < t.SoakEnds {
		all = append(all, boxMove{"forwarder reports after the soak", func(b *box) {
			b.now = t.SoakEnds
			b.report()
		}})
	}
	if t := b.agent.Trial; (b.agent.Phase == agent.PhaseTrial || b.agent.Phase == agent.PhaseStarting) && t.To.Runtime.Slot != "" && b.proven != b.lives {
		all = append(all, boxMove{"agent is reached", func(b *box) {
			b.proven = b.lives
			b.local = append(b.local, agent.Reached{}, agent.GatewaySeen{})
		}})
	}
	if b.deaths > 0 && !b.busy() && b.agent.Phase == agent.PhaseIdle && slices.Contains(b.ready, b.permanentSource()) {
		all = append(all, boxMove{"the permanent app ends", func(b *box) { b.deaths--; b.appDies(b.permanentSource()) }})
	}
	return append(all, b.fwd.happenings(b)...)
}

func (b *box) permanentSource() orders.SourceID {
	return b.agent.Apps[max(0, index(b.record().Slot))].Source
}

// isNews says that the agent has not yet heard that a process runs.
func (b *box) isNews(source orders.SourceID) bool {
	return slices.ContainsFunc(b.local, func(what any) bool {
		e, ok := what.(agent.AppStarted)
		return ok && e.Source == source
	})
}

// people are what is done and asked for by those who may.
func (b *box) people() (all []boxMove) {
	s, t := b.agent, b.agent.Trial
	if !b.up {
		return nil
	}
	early := t.To.System.Slot != "" && (s.Phase == agent.PhaseArming || s.Phase == agent.PhaseRebooting) // and is no word for what comes up
	if t.ID != "" && b.marked != t.ID && !b.never && (s.Phase == agent.PhaseStarting || s.Phase == agent.PhaseTrial || early) &&
		(early || t.To.Slot == "" || slices.Contains(b.ready, t.Source)) && t.To.Rules.Greenlight != verify.GreenlightAuto {
		all = append(all, boxMove{"marker", func(b *box) {
			b.marked = t.ID
			b.local = append(b.local, agent.MarkerSeen{Trial: t.ID})
		}})
	}
	if b.busy() {
		return all
	}
	switch {
	case s.Phase == agent.PhaseStaged:
		all = append(all, boxMove{"activate", func(b *box) { b.step(agent.ActivateAsked{}) }})
	case s.Phase == agent.PhaseIdle && b.offered.Digest != "" && !strings.Contains(b.permanents(), b.offered.Digest) && (!b.asked || len(b.rejects) > 0):
		all = append(all, boxMove{"install", func(b *box) {
			b.asked = true
			b.step(agent.StageAsked{Version: b.offered})
		}})
	case s.Phase == agent.PhaseIdle && b.returnV != "" && strings.Contains(b.permanents(), b.returnV):
		all = append(all, boxMove{"return", func(b *box) {
			b.asked = true
			b.step(agent.RevertAsked{Rest: true, Back: *b.found()})
		}})
	}
	return all
}

// busy says that something is under way. It takes less time than the agent waits for
// anything, but for a fault.
func (b *box) busy() bool {
	return b.writing != nil || b.staging != nil || b.reboots || b.becoming || b.unready() ||
		len(b.todo)+len(b.local)+len(b.starting)+len(b.toFwd)+len(b.toAgent)+len(b.slow)+len(b.queue) > 0
}

// unready says that an app that runs will say that it is ready.
func (b *box) unready() bool {
	return slices.ContainsFunc(b.alive, func(s orders.SourceID) bool { return !slices.Contains(b.ready, s) && s != b.frozen })
}

// wake is when the agent wants to be woken, but for the growing of ages.
func (b *box) wake() int64 {
	s := b.agent
	s.Commits, s.Escalated = agent.Commits{}, agent.Age{}
	return s.Wake()
}

func (b *box) tick() {
	b.now = max(b.now, b.wake())
	b.step(agent.Tick{})
}

func (b *box) hear() {
	what := b.toAgent[0]
	b.toAgent = b.toAgent[1:]
	if _, ok := what.(agent.ForwarderConnected); ok {
		b.admitted = true
	}
	b.step(what)
}

// accidents are faults.
func (b *box) accidents() (all []boxMove) {
	fault := func(name string, do func(*box)) {
		all = append(all, boxMove{name, func(b *box) { b.faults--; do(b) }})
	}
	if b.up {
		fault("agent dies", func(b *box) { b.agentDies(); b.programs.become = nil })
		if b.writing != nil {
			fault("agent dies, the record is written", func(b *box) { b.replaceRecord(); b.agentDies() })
			fault("record not written", func(b *box) {
				b.local = append(b.local, agent.RecordFailed{Trial: b.writing.Trial, Error: "disk full"})
				b.writing = nil
			})
		}
		if b.staging != nil {
			fault("agent dies, the slot is written", func(b *box) { b.staged(); b.agentDies() })
		}
	}
	fault("power fails", (*box).powerFails)
	if len(b.todo) > 0 {
		return all // nobody else can tell whether an effect has begun
	}
	if b.up && b.admitted && b.fwd.up {
		fault("connection breaks", (*box).reconnect)
	}
	if b.fwd.up {
		fault("forwarder dies", (*box).forwarderDies)
		if b.fwd.trial != "" {
			if b.busy() {
				fault("the forwarder's time has come while others are late", func(b *box) {
					b.now = max(b.now, b.fwd.due)
					b.fwd.end(b, orders.CauseDeadline)
				})
			}
			fault("a stream stands still", func(b *box) { b.fwd.end(b, orders.CauseStall) })
		}
	}
	if b.wake() != 0 && b.up && b.busy() {
		fault("the agent's time has come while others are late", (*box).tick)
	}
	for _, source := range b.alive {
		fault(string(source)+" dies", func(b *box) { b.appDies(source) })
	}
	if b.agent.Trial.ID != "" && b.up {
		fault("the operator says no", func(b *box) { b.step(agent.RevertAsked{}) })
	}
	if b.up && len(b.queue) > 0 {
		fault("programs do not take over", func(b *box) { b.programs1(false) })
	}
	if b.becoming {
		fault("the new agent does not come up", func(b *box) { b.becomes(false) })
	}
	if b.reboots {
		fault("the new system does not come up", func(b *box) { b.powerFails(); b.systems.running = b.loader.boot(); b.boots++ })
	}
	return all
}

// becomes is the start program: a try is spent before it is used.
func (b *box) becomes(up bool) {
	e := b.programs.become
	b.agentDies()
	if e.Trial != "" {
		if slices.Contains(b.tried, e.Trial) {
			b.fail("trial %s of programs is tried again", e.Trial)
		}
		b.tried = append(b.tried, e.Trial)
	}
	b.programs.start(up)
	if up {
		b.programs.become = e // and not chosen anew
	}
}

// boots1 is one thing asked of the boot loader.
func (b *box) boots1() {
	e := b.slow[0]
	b.slow = b.slow[1:]
	switch e := e.(type) {
	case agent.TryBoot:
		if e.System.Slot == b.systems.named {
			b.fail("the permanent system %s is tried", e.System.Slot)
		}
		b.tries(b.agent.Trial.To)
		b.loader.tryOnce(e.System.Slot)
		b.local = append(b.local, agent.BootTried{Trial: e.Trial})
	case agent.CancelBoot:
		b.loader.cancel()
	case agent.AgreeBoot:
		if e.Slot != b.systems.named {
			b.fail("the boot loader is to agree on %s, the record names %s", e.Slot, b.systems.named)
		}
		b.loader.agree(e.Slot)
		b.local = append(b.local, agent.BootAgrees(e))
	case agent.Restart:
		b.reboots = true
	}
}

// programs1 is one thing asked for programs.
func (b *box) programs1(well bool) {
	e := b.queue[0]
	b.queue = b.queue[1:]
	switch e := e.(type) {
	case agent.TryRuntime:
		b.tries(b.agent.Trial.To)
		done := agent.RuntimeTried{Trial: e.Trial}
		if well {
			b.fwd.home = e.Runtime.Slot
			b.reconnect()
		} else {
			done.Error = "it never sends"
		}
		b.local = append(b.local, done)
	case agent.ReturnForwarder:
		if well {
			b.fwd.home = b.programs.permanent.Slot
			b.reconnect()
		} else {
			b.forwarderDies()
		}
		b.local = append(b.local, agent.ForwarderReturned(e))
	case agent.ReplaceForwarder:
		b.fwd.home = b.programs.permanent.Slot
		b.reconnect()
		b.local = append(b.local, agent.ForwarderReplaced{})
	}
}

// calmMove is what happens next if nothing goes wrong.
func (b *box) calmMove() (boxMove, bool) {
	if len(b.todo) > 0 {
		return boxMove{fmt.Sprintf("begins %T", b.todo[0]), (*box).perform}, true
	}
	var late []boxMove
	for _, m := range b.happenings() {
		if m.name == "agent's time has come" || m.name == "forwarder's time has come" {
			late = append(late, m)
			continue
		}
		return m, true
	}
	for _, m := range late { // whose time comes first
		if m.name == "forwarder's time has come" && b.wake() != 0 && b.wake() <= b.fwd.due {
			continue
		}
		return m, true
	}
	return boxMove{}, false
}

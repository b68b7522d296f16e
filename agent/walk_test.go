package agent_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/stream/orders"
)

// TestAnyWalkKeepsThePromises drives the core through random lives: crashes of
// every party at every moment, late and lost events, and requests at the worst
// time. The forwarder of the walk keeps its contract; nobody else is reliable.
func TestAnyWalkKeepsThePromises(t *testing.T) {
	for range 10 { // what is rare may not be in the first hundred walks
		rapid.Check(t, func(rt *rapid.T) {
			w := newWalk(rt)
			w.start()
			for range rapid.IntRange(20, 150).Draw(rt, "steps") {
				w.act()
			}
			w.calm()
		})
		if len(unwalked()) == 0 {
			return
		}
	}
	t.Errorf("no walk came to: %v", unwalked())
}

// unwalked is what no walk has come to yet and some have to.
func unwalked() []string {
	all := []string{"commit", "freeze", "thaw by the forwarder", "make room", "come back", "system commit", "boot the old system", "leave the new system", "app of a new system", "agent on trial", "forwarder returned", "programs commit", "combined commit", "cancel", "clear", "distrust", "look"}
	return slices.DeleteFunc(all, func(what string) bool { return walked[what] > 0 })
}

// walked counts what walks have come to.
var walked = map[string]int{}

// walk is a device as the core sees it, and what must be true of it.
type walk struct {
	*rapid.T
	state   agent.State
	now     int64
	boots   int
	record  agent.Version
	before  agent.Version // what the record calls previous
	slots   [2]agent.Version
	alive   map[orders.SourceID]bool
	fwd     walkForwarder
	later   []func() // what is under way: starts, stops, writes
	next    int64    // version counter
	dialled int      // connections to forwarders so far
	agents  int      // lives of the agent so far

	marked   map[orders.TrialID]bool
	held     map[orders.TrialID]bool
	ready    map[orders.SourceID]bool
	idle     map[orders.SourceID]bool // living apps that may be ended: not ready, no longer publishing, or making room
	told     map[orders.SourceID]bool // to end, so that it may be told again
	frozen   map[orders.SourceID]bool // by the kernel, whoever wanted it
	systems  *systemDisk
	programs walkPrograms
	loader   *loader
	boot     []func() // asked of the boot loader
	sent     string   // system that the device was started anew for, outside of trials
	sentIn   int      // number of the boot in which it was
	calming  bool     // nothing fails any more

	unsettled string // slot of an old version whose end the forwarder has not yet allowed
}

func newWalk(rt *rapid.T) *walk {
	w := &walk{
		T: rt, boots: 1, now: int64(time.Hour), next: 100, alive: map[orders.SourceID]bool{},
		marked: map[orders.TrialID]bool{}, held: map[orders.TrialID]bool{},
		ready: map[orders.SourceID]bool{}, idle: map[orders.SourceID]bool{}, told: map[orders.SourceID]bool{}, frozen: map[orders.SourceID]bool{},
	}
	if rapid.Bool().Draw(rt, "installed") { // without a system: the factory's
		w.record = w.version("a")
		w.slots[0] = w.record
	}
	w.withSystems()
	w.withPrograms()
	return w
}

func (w *walk) version(slot string) agent.Version {
	w.next++
	name := fmt.Sprintf("%d.%d", w.next/100, w.next%100)
	v := agent.Version{Slot: slot, Version: name, Digest: "d" + name, Image: "i" + name, Counter: w.next, Rules: rules(), Streams: []string{"main"}}
	v.Rules.Overlap = rapid.SampledFrom([]string{"", "full", "frozen", "none"}).Draw(w.T, "overlap")
	if slot == "" {
		w.bring(&v)
		w.bringPrograms(&v)
	}
	return v
}

// act lets one thing happen.
func (w *walk) act() {
	actions := []func(){
		w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn,
		w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn, w.goesOn,
		w.somethingEnds, w.timePasses, w.install, w.forwarderReverts, w.markerMade, w.appDies,
		w.forwarderDies, w.connectionBreaks, w.agentDies, w.powerFails, w.operatorReverts, w.staleEvent,
		w.lineBreaks, w.reports, w.reports, func() { w.step(agent.ReplaceAsked{}) },
		func() { w.step(agent.RehearseAsked{}) }, w.stageAgain, w.cancel, w.clearSlot,
	}
	actions[rapid.IntRange(0, len(actions)-1).Draw(w.T, "action")]()
}

func (w *walk) step(what any) {
	next, effects := agent.Step(w.state, agent.Event{Now: w.now, Wall: time.Unix(0, w.now).UTC(), What: what})
	w.state = next
	stopping := 0
	for _, app := range next.Apps {
		if app.Status == agent.AppStopping && !w.idle[app.Source] {
			stopping++
		}
	}
	if stopping == 2 {
		w.Fatalf("both slots are being stopped after %T", what)
	}
	for _, e := range effects {
		w.effect(e)
	}
}

// effect checks a promise where it could be broken, and starts what was asked for.
func (w *walk) effect(e agent.Effect) {
	switch e := e.(type) {
	case agent.StartApp:
		w.startApp(e)
	case agent.StopApp:
		w.stopApp(e)
	case agent.CheckSlot:
		w.checkSlot(e)
	case agent.Freeze:
		w.freeze(e.Source)
	case agent.Thaw:
		delete(w.frozen, e.Source)
		w.show()
	case agent.SendOrders:
		w.obey(e)
	case agent.AskStatus:
		w.ifConnected(func() { w.tell(agent.ForwarderStatus{Trial: w.fwd.trial, Phase: w.phase()}) })
	case agent.Hold:
		w.ifConnected(func() { w.hold(e.Trial) })
	case agent.Settle:
		w.ifConnected(func() { w.settle(e) })
	case agent.RevertTrial:
		w.ifConnected(func() {
			if w.fwd.trial == e.Trial {
				w.end(e.Reason)
				return
			}
			w.tell(agent.TrialReverted{Reverted: orders.Reverted{Trial: e.Trial, Cause: orders.CauseOrders}})
		})
	case agent.RestartForwarder:
		w.forwarderDies()
	case agent.ReplaceForwarder:
		w.replaceForwarder()
	case agent.TryBoot, agent.CancelBoot, agent.AgreeBoot, agent.Restart:
		w.bootEffect(e)
	case agent.TryRuntime:
		w.tryRuntime(e)
	case agent.ReturnForwarder:
		w.returnForwarder(e)
	case agent.Become:
		w.become(e)
	case agent.WriteRecord:
		w.writeRecord(e)
	case agent.FallBack:
		w.fallBack(e)
	case agent.StageSlot:
		w.stageSlot(e)
	case agent.CancelStage, agent.ClearSlots, agent.Distrust:
		w.spareEffect(e)
	}
}

func (w *walk) startApp(e agent.StartApp) {
	if e.Role == agent.RolePermanent && e.Slot != w.record.Slot || e.Role != agent.RolePermanent && e.Slot == w.record.Slot {
		w.Fatalf("%s app started in slot %s while %s is permanent", e.Role, e.Slot, w.record.Slot)
	}
	if w.state.Trial.Overlap == "none" {
		for source := range w.alive {
			if string(source[:1]) != e.Slot {
				w.Fatalf("%s is started beside %s, which was to make room", e.Source, source)
			}
		}
	}
	boot := w.boots
	w.later = append(w.later, func() {
		switch {
		case boot != w.boots:
		case w.stopped(e.Source) || rapid.IntRange(0, 9).Draw(w.T, "start") == 0:
			w.step(agent.AppExited{
				Source: e.Source, Detail: "not started", Unborn: true, Damaged: rapid.Bool().Draw(w.T, "damaged"),
			})
		default:
			w.alive[e.Source], w.idle[e.Source] = true, true
			w.show()
			w.step(agent.AppStarted{Source: e.Source, PID: 1, At: w.now})
		}
	})
}

// checkSlot finds the new version whole, mostly.
func (w *walk) checkSlot(e agent.CheckSlot) {
	w.later = append(w.later, func() {
		done := agent.SlotChecked{Trial: e.Trial}
		if rapid.IntRange(0, 7).Draw(w.T, "whole") == 0 {
			done.Error, done.Damaged = "it is damaged", rapid.Bool().Draw(w.T, "damaged")
		}
		w.step(done)
	})
}

// freeze is done at once. Viewers must be on the new version, or the news that they
// are not must be on its way.
func (w *walk) freeze(source orders.SourceID) {
	t := w.state.Trial
	if t.Overlap != "frozen" || t.TookOver.IsZero() || string(source[:1]) != t.From.Slot || source == t.Source {
		w.Fatalf("%s is frozen in phase %s of a trial that overlaps %s", source, w.state.Phase, t.Overlap)
	}
	switch {
	case rapid.IntRange(0, 5).Draw(w.T, "freezer") == 0:
		w.later = append(w.later, func() { w.step(agent.FreezeFailed{Source: source, Error: "no cgroup"}) })
	case w.alive[source]:
		w.frozen[source] = true
		walked["freeze"]++
	}
}

func (w *walk) stopped(source orders.SourceID) bool {
	return !slices.ContainsFunc(w.state.Apps[:], func(a agent.App) bool {
		return a.Source == source && a.Status != agent.AppStopping
	})
}

func (w *walk) stopApp(e agent.StopApp) {
	slot := string(e.Source[:1])
	delete(w.frozen, e.Source)
	if t := w.state.Trial; t.Clearing && slot == t.From.Slot {
		w.idle[e.Source] = true
		walked["make room"]++
	}
	if slot == w.record.Slot && !w.idle[e.Source] {
		w.Fatalf("the permanent version's app %s is stopped", e.Source)
	}
	again := w.told[e.Source] || w.record.Slot != "" && w.state.Apps[index(w.record.Slot)].Status == agent.AppBackOff // there is nothing else to see
	w.told[e.Source] = true
	if w.alive[e.Source] && w.fwd.follows == e.Source && w.state.Phase == agent.PhaseIdle && !w.idle[e.Source] && !again {
		w.Fatalf("%s is stopped while viewers see it", e.Source)
	}
	if slot == w.unsettled {
		w.Fatalf("the old app %s is stopped before the forwarder has settled", e.Source)
	}
	if w.fwd.alive && w.fwd.permanent == e.Source && w.fwd.trial == "" && w.alive[e.Source] && !w.idle[e.Source] {
		w.Fatalf("%s is stopped while the forwarder calls it permanent", e.Source)
	}
	w.later = append(w.later, func() {
		if w.alive[e.Source] {
			w.dead(e.Source)
		}
	})
}

// dead ends a process; the forwarder sees it first, then the agent.
func (w *walk) dead(source orders.SourceID) {
	delete(w.alive, source)
	delete(w.frozen, source)
	if w.fwd.trial != "" && w.fwd.source == source {
		w.end(orders.CauseExit)
	}
	w.step(agent.AppExited{Source: source, Detail: "exited"})
}

func (w *walk) stageSlot(e agent.StageSlot) {
	if e.Slot != "" && e.Slot == w.record.Slot || w.state.Trial.ID != "" {
		w.Fatalf("slot %s is written: permanent is %s, trial %q", e.Slot, w.record.Slot, w.state.Trial.ID)
	}
	for source := range w.alive {
		if string(source[:1]) == e.Slot {
			w.Fatalf("slot %s is written under %s", e.Slot, source)
		}
	}
	v, boot := w.state.Stage.Version, w.boots
	if e.Look && w.stillWhole(e) {
		return
	}
	if e.System != "" && !w.writesSystem(e.System) {
		w.later = append(w.later, func() { w.step(agent.StageDone{Attempt: e.Attempt, Code: agent.CodeStage, Error: "refused"}) })
		return
	}
	if e.Slot != "" {
		w.slots[index(e.Slot)] = agent.Version{}
	}
	if e.Runtime != "" {
		w.writesPrograms(e.Runtime)
	}
	w.later = append(w.later, func() {
		if boot != w.boots {
			return
		}
		if e.Slot != "" {
			w.slots[index(e.Slot)] = v
		}
		if e.System != "" {
			w.systems.content[e.System] = v.System
		}
		if e.Runtime != "" {
			w.programs.content[e.Runtime] = v.Runtime
		}
		w.step(agent.StageDone{Attempt: e.Attempt, Cost: &control.Staged{Written: 1}})
	})
}

func (w *walk) writeRecord(e agent.WriteRecord) {
	if w.state.Trial.Rehearsal {
		w.Fatalf("rehearsal %s is committed", e.Trial)
	}
	marked := w.marked[e.Trial] || e.Version.Rules.Greenlight == "auto"
	if !marked || !w.held[e.Trial] && e.Version.Slot != "" {
		w.Fatalf("trial %s is committed: marker %v, held %v", e.Trial, w.marked[e.Trial], w.held[e.Trial])
	}
	agents := w.state // the agent that writes
	w.later = append(w.later, func() {
		if w.state.Trial.ID != agents.Trial.ID || w.state.Phase != agent.PhaseCommitting {
			return // it died before the write
		}
		if rapid.IntRange(0, 4).Draw(w.T, "write") == 0 {
			w.step(agent.RecordFailed{Trial: e.Trial, Error: "disk full"})
			return
		}
		w.replaced(e.Version, e.Previous)
		if e.Version.Slot != "" {
			w.unsettled = e.Previous.Slot
		}
		if rapid.Bool().Draw(w.T, "told") {
			w.step(agent.RecordWritten{Trial: e.Trial})
		} else {
			w.agentDies()
		}
	})
}

func (w *walk) replaced(v, before agent.Version) {
	if v.Slot != "" && v.Counter < w.record.Counter {
		w.Fatalf("the floor goes down from %d to %d", w.record.Counter, v.Counter)
	}
	w.committed(v, before)
}

func (w *walk) fallBack(e agent.FallBack) {
	if e.From.Slot != w.record.Slot || e.To.Digest != w.before.Digest || e.To.Digest != w.slots[index(e.To.Slot)].Digest {
		w.Fatalf("fall back from %s to %s: the record names %s and %s", e.From.Version, e.To.Version, w.record.Version, w.before.Version)
	}
	agents := w.dialled
	w.later = append(w.later, func() {
		switch {
		case w.dialled < agents || w.state.Phase != agent.PhaseFallback: // the agent died before
		case rapid.IntRange(0, 3).Draw(w.T, "whole") == 0:
			w.step(agent.FallBackFailed{Error: "it is damaged too"})
		default:
			w.slots[index(e.From.Slot)] = agent.Version{}
			w.replaced(e.To, e.From)
			if rapid.Bool().Draw(w.T, "told") {
				w.step(agent.FellBack{})
			} else {
				w.agentDies()
			}
		}
	})
}

// lineBreaks lets the permanent version's app live on without its stream.
func (w *walk) lineBreaks() {
	if w.fwd.connected == 0 || !w.alive[w.fwd.permanent] {
		return
	}
	w.idle[w.fwd.permanent] = true
	w.step(agent.LineLost{Source: w.fwd.permanent, Lost: agent.Lost{Stream: "main", At: w.now}})
}

// reports is the forwarder's status: apps that are not ready send nothing.
func (w *walk) reports() {
	if w.fwd.connected == 0 {
		return
	}
	s := orders.StreamStatus{Name: "main", Followed: w.fwd.follows}
	for source := range w.alive {
		if !w.idle[source] && !w.frozen[source] {
			s.Lines = append(s.Lines, orders.LineStatus{Source: source, LastFrame: w.now})
		}
	}
	w.step(agent.LinesSeen{Streams: []orders.StreamStatus{s}})
}

// goesOn does what a good update needs next.
func (w *walk) goesOn() {
	switch s := w.state; {
	case len(w.later) > 0:
		w.somethingEnds()
	case s.Trial.ID == "":
		w.install()
	case w.comesDown():
		w.powerFails()
	case s.Phase == agent.PhaseReverting:
		w.appSaysReady()
		w.reports()
	case s.Phase == agent.PhaseTrial && s.Trial.To.Slot == "" && s.Trial.SoakEnds == 0:
		w.appSaysReady()
		w.reports()
		w.proves()
	case s.Phase == agent.PhaseStarting:
		w.appSaysReady()
		w.forwarderSwitches()
	case s.Phase == agent.PhaseTrial && !s.Trial.Latched:
		w.markerMade()
		w.proves()
	default:
		w.advance(3 * time.Second)
	}
}

// somethingEnds completes one thing under way, mostly the oldest.
func (w *walk) somethingEnds() {
	if len(w.later) == 0 {
		return
	}
	i := 0
	if rapid.IntRange(0, 5).Draw(w.T, "order") == 0 {
		i = rapid.IntRange(0, len(w.later)-1).Draw(w.T, "which")
	}
	do := w.later[i]
	w.later = slices.Delete(w.later, i, i+1)
	do()
}

func (w *walk) timePasses() {
	w.advance(time.Duration(rapid.SampledFrom([]int{1, 100, 500, 3000, 40_000}).Draw(w.T, "ms")) * time.Millisecond)
}

func (w *walk) advance(d time.Duration) {
	end := w.now + int64(d)
	for range 10_000 {
		at := w.state.Wake()
		if at == 0 || at > end {
			w.now = end
			return
		}
		w.now = max(w.now, at)
		w.step(agent.Tick{})
	}
	w.Fatalf("the core wants ticks without end")
}

func (w *walk) install() {
	if w.state.Phase == agent.PhaseStaged {
		w.step(agent.ActivateAsked{})
		return
	}
	w.step(agent.StageAsked{Version: w.version("")})
}

func (w *walk) appSaysReady() {
	for source := range maps.Clone(w.alive) {
		if w.frozen[source] {
			continue
		}
		if !w.ready[source] && !w.stopped(source) {
			w.ready[source] = true
			delete(w.idle, source)
		}
		w.step(agent.AppReady{Source: source})
	}
	w.show()
}

func (w *walk) forwarderSwitches() {
	if w.fwd.alive && w.fwd.trial != "" && !w.fwd.switched {
		w.fwd.switched = true
		w.show()
		w.tell(agent.TookOver{Switched: orders.Switched{Trial: w.fwd.trial, Source: w.fwd.source, Done: w.now}})
	}
}

func (w *walk) forwarderReverts() {
	if w.fwd.alive && w.fwd.trial != "" {
		w.end(orders.CauseStall)
	}
}

func (w *walk) markerMade() {
	if id := w.state.Trial.ID; id != "" {
		w.marked[id] = true
		w.step(agent.MarkerSeen{Trial: id})
	}
}

func (w *walk) appDies() {
	if sources := slices.Sorted(maps.Keys(w.alive)); len(sources) > 0 {
		w.dead(rapid.SampledFrom(sources).Draw(w.T, "app"))
	}
}

func (w *walk) forwarderDies() {
	w.fwd = walkForwarder{}
	w.programs.forwarder = w.homeOfForwarder()
	w.step(agent.ForwarderLost{Detail: "killed"})
	w.connect()
}

// connect is a new forwarder, or a new connection to the one that lives.
func (w *walk) connect() {
	if !w.fwd.alive {
		w.fwd = walkForwarder{alive: true, over: map[orders.TrialID]bool{}}
	}
	w.dialled++
	w.fwd.connected = w.dialled
	w.step(agent.ForwarderConnected{})
}

func (w *walk) connectionBreaks() {
	w.connect()
}

// start is a new life of the agent: what was under way in the old one is lost,
// but what was written stays.
func (w *walk) start() {
	raw, err := json.Marshal(w.state)
	if err != nil {
		w.Fatal(err)
	}
	w.state = agent.State{}
	if err := json.Unmarshal(raw, &w.state); err != nil {
		w.Fatal(err)
	}
	w.later, w.boot, w.programs.queue = nil, nil, nil
	w.agents++
	w.fwd.connected = 0
	if !w.fwd.alive {
		w.unsettled = "" // a new forwarder begins with the permanent version
	}
	r := agent.Recover{System: w.systems.found(), Boot: fmt.Sprint(w.boots), Permanent: w.record, Previous: w.before, Slots: w.slots, Forwarder: w.fwd.alive, Outdated: w.fwd.alive && rapid.Bool().Draw(w.T, "outdated"), Runtime: w.programs.found()}
	if w.fwd.alive && w.programs.forwarder != w.homeOfForwarder() {
		r.Outdated = true
	}
	if !w.fwd.alive {
		w.programs.forwarder = w.homeOfForwarder()
	}
	for _, source := range slices.Sorted(maps.Keys(w.alive)) {
		if w.known(source) {
			r.Alive = append(r.Alive, agent.Alive{Source: source, PID: 1})
		} else {
			delete(w.alive, source) // the runner ends strays
			delete(w.frozen, source)
		}
	}
	w.step(r)
	w.connect()
}

func (w *walk) known(source orders.SourceID) bool {
	return w.state.Apps[0].Source == source || w.state.Apps[1].Source == source
}

func (w *walk) agentDies() {
	if rapid.Bool().Draw(w.T, "forwarder dies too") {
		w.fwd = walkForwarder{}
	}
	w.starts(w.programs.runtimeDisk != nil && w.programs.become != nil && rapid.Bool().Draw(w.T, "asked"))
	w.start()
}

func (w *walk) powerFails() {
	w.boots++
	w.fwd, w.alive, w.frozen = walkForwarder{}, map[orders.SourceID]bool{}, map[orders.SourceID]bool{}
	w.now = int64(time.Minute)
	clear(w.marked) // a reboot forgets markers
	clear(w.held)
	before := w.state.Trial
	w.bootsSystem()
	w.starts(false)
	w.start()
	switch {
	case before.Reboot.Leaving:
		walked["leave the new system"]++
	case w.state.Phase == agent.PhaseStarting:
		walked["app of a new system"]++
	}
}

func (w *walk) operatorReverts() { w.step(agent.RevertAsked{}) }

// staleEvent brings news of what is long over.
func (w *walk) staleEvent() {
	before := describeState(w.state)
	for _, what := range []any{
		agent.MarkerSeen{Trial: "t0"}, agent.Held{Trial: "t0"}, agent.Settled{Trial: "t0"}, agent.RecordWritten{Trial: "t0"},
		agent.TrialReverted{Reverted: orders.Reverted{Trial: "t0"}}, agent.AppExited{Source: "b-0"}, agent.StageDone{},
		agent.LineLost{Source: "b-0"}, agent.MarkerFailed{Trial: "t0"},
		agent.RuntimeTried{Trial: "t0"}, agent.ForwarderReturned{Trial: "t0"},
	} {
		w.step(what)
	}
	if after := describeState(w.state); after != before {
		w.Fatalf("stale events changed\n%s\ninto\n%s", before, after)
	}
}

// replaceForwarder is the running forwarder's hand-over to another one, with all
// that it knows. The connection ends, whoever serves in the end.
func (w *walk) replaceForwarder() {
	if w.state.Trial.ID != "" {
		w.Fatalf("the forwarder is replaced during trial %s", w.state.Trial.ID)
	}
	agents := w.agents
	w.later = append(w.later, func() {
		if w.agents != agents {
			return
		}
		w.connect()
		e := agent.ForwarderReplaced{}
		if rapid.Bool().Draw(w.T, "too late") {
			e.Error, w.programs.stuck = "too late", true
		} else {
			w.programs.forwarder = w.homeOfForwarder()
		}
		w.step(e)
	})
}

// calm lets everything that is under way come to its end, with no marker any
// more: silence must have reverted, and the permanent version must run.
func (w *walk) calm() {
	w.calming = true
	for i := range 200 {
		asked := w.sent == w.systems.named || w.state.System.Sent == w.systems.named // and its agent may have died of something else
		if i == 100 && w.systems.running != w.systems.named && asked {
			w.powerFails() // it was tried once, so a person has to
		}
		for len(w.later) > 0 {
			do := w.later[0]
			w.later = w.later[1:]
			do()
		}
		w.appSaysReady()
		w.reports()
		w.proves()
		w.advance(30 * time.Second)
		if w.fwd.trial != "" && w.state.Trial.ID == "" {
			w.Fatalf("the forwarder is left with trial %s", w.fwd.trial)
		}
	}
	w.settledDown()
	w.programsAtHome()
	w.spareKept()
	s := w.state
	if s.Phase != agent.PhaseIdle && s.Phase != agent.PhaseStaged || s.Trial.ID != "" {
		w.Fatalf("no rest: %s", describeState(s))
	}
	if s.Permanent.Digest != w.record.Digest || s.Permanent.Slot != w.record.Slot {
		w.Fatalf("the agent calls %s permanent, the record %s", s.Permanent.Version, w.record.Version)
	}
	for i, slot := range []string{"a", "b"} {
		source := s.Apps[i].Source
		if want := slot == w.record.Slot; w.alive[source] != want && s.Apps[i].Status != agent.AppBackOff {
			w.Fatalf("slot %s runs: %v; %s", slot, w.alive[source], describeState(s))
		}
	}
	if len(w.frozen) > 0 {
		w.Fatalf("left frozen: %v; %s", w.frozen, describeState(s))
	}
	if w.record.Slot != "" && w.fwd.permanent != s.Apps[index(w.record.Slot)].Source {
		w.Fatalf("the forwarder calls %s permanent: %s", w.fwd.permanent, describeState(s))
	}
}

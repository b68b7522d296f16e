package core

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/stream/orders"
	"slipstream/verify"
)

var modelFaults = flag.Int("model.faults", 1, "how many faults the agent and the forwarder are walked through together with")

// TestAgentAndForwarderAgree walks through every state that the agent's core and
// the forwarder's standing can reach together in a trial, with so many faults at any
// moment: either may be killed before and after each thing it does, connections break
// with messages under way, the record is not written, apps end, and time passes for
// one of the two while the other's words are on their way. In every state the
// promises of both must hold, and from every state calm must lead to rest.
func TestAgentAndForwarderAgree(t *testing.T) {
	for _, overlap := range []string{verify.OverlapFull, verify.OverlapFrozen, verify.OverlapNone} {
		t.Run(overlap, func(t *testing.T) {
			t.Parallel()
			agreeWith(t, overlap)
		})
	}
}

func agreeWith(t *testing.T, overlap string) {
	m := &model{t: t, seen: map[key]bool{}, calm: map[key]bool{}}
	m.first = inTrial(t, overlap)
	m.first.faults = *modelFaults
	m.add(m.first.clone(), -1, "")
	for next := 0; next < len(m.states); next++ {
		d := m.states[next]
		m.states[next] = nil // what came of it is enough
		for _, move := range d.moves() {
			after := d.clone()
			if bad := after.try(move.do); bad != "" {
				t.Fatalf("%s\n%s", bad, m.story(next, move.name))
			}
			m.add(after, next, move.name)
		}
	}
	t.Logf("%d states, %d commits, %d reverts", len(m.states), m.commits, m.reverts)
	if m.commits == 0 || m.reverts == 0 {
		t.Error("no walk came to a commit, or none to a revert")
	}
}

// model is the search: the states that are still to be gone on from, and how each
// was come to.
type model struct {
	t                *testing.T
	first            *device
	states           []*device
	from             []int
	by               []string
	seen, calm       map[key]bool
	commits, reverts int
}

func (m *model) add(d *device, from int, by string) {
	key := d.key()
	if m.seen[key] {
		return
	}
	m.seen[key] = true
	m.states, m.from, m.by = append(m.states, d), append(m.from, from), append(m.by, by)
	bad := d.broken()
	if bad == "" {
		bad = m.rest(d)
	}
	if bad != "" {
		m.t.Fatalf("%s\n%s", bad, m.story(len(m.states)-1, "and then calm"))
	}
}

// maxCalm is more steps than calm takes to come to rest.
const maxCalm = 500

// rest lets everything go its way without a fault: silence must have reverted, or the
// commit have been completed, and all must agree on who is permanent.
func (m *model) rest(d *device) (bad string) {
	d = d.clone()
	d.faults = 0
	var steps []string
	for range maxCalm {
		key := d.key()
		if m.calm[key] {
			return "" // from here on it was seen before
		}
		m.calm[key] = true
		move, ok := d.calmMove()
		if !ok {
			if bad = d.atRest(); bad != "" {
				return fmt.Sprintf("%s: %s, after %v", bad, d, steps)
			}
			if d.record.Slot == "b" {
				m.commits++
			} else {
				m.reverts++
			}
			return ""
		}
		steps = append(steps, move.name)
		bad = d.try(move.do)
		if bad == "" {
			bad = d.broken()
		}
		if bad != "" {
			return fmt.Sprintf("%s, after %v", bad, steps)
		}
	}
	return fmt.Sprintf("no rest: %s, after %v", d, steps)
}

// story tells how a state was come to.
func (m *model) story(n int, then string) string {
	var names []string
	for ; m.from[n] >= 0; n = m.from[n] {
		names = append(names, m.by[n])
	}
	slices.Reverse(names)
	d := m.first.clone()
	lines := []string{"begin: " + d.String()}
	for _, name := range names {
		all := d.moves()
		i := slices.IndexFunc(all, func(m move) bool { return m.name == name })
		all[i].do(d)
		lines = append(lines, name+": "+d.String())
	}
	return strings.Join(append(lines, then), "\n")
}

// device is one state of all that matters for a trial.
type device struct {
	now    int64
	faults int // that may still happen
	boots  int

	agent    agent.State
	up       bool
	admitted bool           // the agent knows of its connection
	todo     []agent.Effect // of its last step, not yet begun
	local    []any          // events that need no forwarder, in any order
	record   agent.Version  // what is permanent
	writing  bool           // the record is on its way to the disk
	starting []orders.SourceID
	alive    []orders.SourceID
	frozen   orders.SourceID // by its cgroup
	overlap  string

	fwd     forwarderModel
	toFwd   []any // requests under way
	toAgent []any // what the forwarder, or the loss of it, tells the agent

	granted bool // hold was, in this trial
	over    bool // a forwarder has seen the trial end, or died with it
	settled bool // this forwarder has heard of the commit
	waited  bool // hold had to wait once, which is often enough
}

func (d *device) clone() *device {
	c := *d
	c.todo, c.local = slices.Clone(d.todo), slices.Clone(d.local)
	c.starting, c.alive = slices.Clone(d.starting), slices.Clone(d.alive)
	c.toFwd, c.toAgent = slices.Clone(d.toFwd), slices.Clone(d.toAgent)
	c.fwd.ended.list = slices.Clone(d.fwd.ended.list)
	c.fwd.sources = slices.Clone(d.fwd.sources)
	if r := d.fwd.reverting; r != nil {
		again := *r
		c.fwd.reverting = &again
	}
	return &c
}

// promise is what try recovers: one that was broken.
type promise string

func (d *device) fail(format string, args ...any) {
	panic(promise(fmt.Sprintf(format, args...)))
}

func (d *device) try(do func(*device)) (bad string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case promise:
			bad = string(r) + ": " + d.String()
		default:
			panic(r)
		}
	}()
	do(d)
	return ""
}

func (d *device) String() string {
	f := &d.fwd
	return fmt.Sprintf("agent up=%v phase=%s forgotten=%v app=%v/%v, record %s, forwarder up=%v permanent=%s trial=%s %v, to it %d, from it %d, local %d, todo %d",
		d.up, d.agent.Phase, d.agent.Trial.Forgotten, d.agent.Apps[0].Status, d.agent.Apps[1].Status, d.record.Slot,
		f.up, f.permanent, f.trial.id, f.trial.phase, len(d.toFwd), len(d.toAgent), len(d.local), len(d.todo))
}

// broken says which promise a state breaks, if it does.
func (d *device) broken() string {
	f := &d.fwd
	if f.up && f.trial.phase != steady {
		// Silence reverts: the forwarder alone, whatever the others do.
		if due := f.trial.due(); due == never || due > max(d.now, d.agent.Trial.Deadline)+int64(time.Minute) || f.trial.expired(due) == "" {
			return "the forwarder's trial has no end"
		}
	}
	if !d.quiet() {
		return ""
	}
	// One exchange after each (re)connection nobody disagrees.
	switch p := d.agent.Phase; {
	case d.agent.Permanent.Slot != d.record.Slot:
		return "the agent does not know what is permanent"
	case slotOf(f.permanent) != d.record.Slot:
		return "the forwarder does not know what is permanent"
	case d.frozen != "" && d.frozen == f.permanent && !f.trial.carries():
		return "viewers wait for a source that is frozen"
	case f.trial.phase != steady && (f.trial.id != d.agent.Trial.ID || p != agent.PhaseStarting && p != agent.PhaseTrial && p != agent.PhaseHolding):
		return "the forwarder is left with a trial"
	case !f.trial.carries() && (p == agent.PhaseTrial || p == agent.PhaseHolding):
		return "the agent believes in a trial that is over"
	}
	return ""
}

// quiet says that both are there, and nothing is under way between them.
func (d *device) quiet() bool {
	return d.up && d.fwd.up && d.admitted && d.fwd.reverting == nil && !d.writing &&
		len(d.todo)+len(d.local)+len(d.toFwd)+len(d.toAgent)+len(d.starting) == 0
}

// atRest says what is missing for the device to be as it should after a trial.
func (d *device) atRest() string {
	s := d.agent
	switch {
	case !d.quiet():
		return "something is under way for ever"
	case s.Phase != agent.PhaseIdle || s.Trial.ID != "":
		return "the trial does not end"
	case !slices.Contains(d.alive, s.Apps[slotNumber(d.record.Slot)].Source) || d.fwd.permanent != s.Apps[slotNumber(d.record.Slot)].Source:
		return "the permanent version does not run, or the forwarder does not know it"
	case d.frozen != "":
		return string(d.frozen) + " is left frozen"
	case len(d.alive) != 1:
		return fmt.Sprintf("%v run", d.alive)
	case d.record.Slot == "b" && !d.granted:
		return "permanent without a hold"
	}
	return ""
}

func slotOf(s orders.SourceID) string { return string(s[:min(1, len(s))]) }

func slotNumber(slot string) int { return strings.Index("ab", slot) }

// inTrial is a device on which version 1 runs in slot a and version 2 was just
// activated in slot b.
func inTrial(t *testing.T, overlap string) *device {
	rules := agent.Rules{
		Overlap:    overlap,
		Greenlight: verify.GreenlightAuto, StartTimeout: 2 * time.Second, Deadline: 5 * time.Second, Silent: true,
		Soak: time.Second, StopTimeout: 2 * time.Second, RestartMax: 3, RestartWindow: time.Minute,
	}
	old := agent.Version{Slot: "a", Digest: "one", Image: "one", Version: "1", Counter: 1, Rules: rules, Streams: []string{"main"}}
	fresh := agent.Version{Digest: "two", Image: "two", Version: "2", Counter: 2, Rules: rules, Streams: []string{"main"}}
	d := &device{now: modelStart, boots: 1, record: old, overlap: overlap}
	calm := func() {
		for range 100 {
			move, ok := d.calmMove()
			if !ok {
				return
			}
			move.do(d)
		}
		t.Fatalf("no rest before the trial: %s", d)
	}
	calm()
	d.step(agent.StageAsked{Version: fresh})
	d.step(agent.StageDone{Attempt: d.agent.Stage.Attempt})
	calm()
	d.step(agent.ActivateAsked{})
	if d.agent.Phase != agent.PhaseStarting {
		t.Fatalf("no trial: %s", d)
	}
	return d
}

// step lets the agent take an event. What follows from it is journaled at once, and
// begun one by one.
func (d *device) step(what any) {
	wall := time.Unix(1_800_000_000, 0)
	var effects []agent.Effect
	d.agent, effects = agent.Step(d.agent, agent.Event{Now: d.now, Wall: wall, What: what})
	for _, e := range effects {
		switch e.(type) {
		case agent.StartApp, agent.StopApp, agent.WriteRecord, agent.RestartForwarder,
			agent.CheckSlot, agent.Freeze, agent.Thaw, agent.SendOrders, agent.AskStatus, agent.Hold, agent.Settle, agent.RevertTrial:
			d.todo = append(d.todo, e)
		}
	}
}

// perform begins one effect.
func (d *device) perform() {
	e := d.todo[0]
	d.todo = d.todo[1:]
	switch e := e.(type) {
	case agent.StartApp:
		d.starting = append(d.starting, e.Source)
	case agent.StopApp:
		d.stopApp(e.Source)
	case agent.WriteRecord:
		d.writing = true
	case agent.CheckSlot:
		d.local = append(d.local, agent.SlotChecked{Trial: e.Trial})
	case agent.Freeze:
		if slices.Contains(d.alive, e.Source) {
			d.frozen = e.Source
		}
	case agent.Thaw:
		d.thaw(e.Source)
	case agent.SendOrders, agent.AskStatus, agent.Hold, agent.Settle, agent.RevertTrial:
		if d.admitted {
			d.toFwd = append(d.toFwd, e)
		}
	case agent.RestartForwarder:
		d.forwarderDies(true)
	}
}

func (d *device) thaw(source orders.SourceID) {
	if d.frozen == source {
		d.frozen = ""
	}
}

func (d *device) stopApp(source orders.SourceID) {
	makesRoom := d.overlap == verify.OverlapNone && slotOf(source) == d.record.Slot
	if !makesRoom && d.fwd.up && d.fwd.permanent == source && slices.Contains(d.alive, source) {
		d.fail("%s is stopped while the forwarder calls it permanent", source)
	}
	d.starting = slices.DeleteFunc(d.starting, func(s orders.SourceID) bool { return s == source })
	d.appDies(source)
}

// appDies ends a process: the forwarder and the agent each see it for themselves.
func (d *device) appDies(source orders.SourceID) {
	d.alive = slices.DeleteFunc(d.alive, func(s orders.SourceID) bool { return s == source })
	d.thaw(source)
	if d.fwd.up && d.fwd.trial.source == source && d.fwd.trial.phase != steady {
		d.fwd.revert(d, orders.CauseExit)
	}
	if d.up {
		d.local = append(d.local, agent.AppExited{Source: source, Detail: "exited"})
	}
}

func (d *device) replaceRecord() {
	d.writing = false
	if !d.granted {
		d.fail("permanent without a hold that was granted in this trial")
	}
	d.record = d.agent.Trial.To
}

// start is a new life of the agent, which has its journal, the record, and what runs.
func (d *device) start() {
	raw, err := json.Marshal(d.agent)
	if err != nil {
		panic(err)
	}
	d.agent = agent.State{}
	if err := json.Unmarshal(raw, &d.agent); err != nil {
		panic(err)
	}
	d.up, d.admitted, d.toFwd, d.toAgent, d.local, d.starting = true, false, nil, nil, nil, nil
	r := agent.Recover{Boot: fmt.Sprint(d.boots), Permanent: d.record, Forwarder: d.fwd.up}
	if d.agent.Boot == "" {
		r.Base = int64(d.boots) * 1000 // the journal is lost: no number may come twice
	}
	r.Slots[slotNumber(d.record.Slot)] = d.record
	if to := d.agent.Trial.To; to.Slot != "" {
		r.Slots[slotNumber(to.Slot)] = to
	}
	for _, source := range slices.Clone(d.alive) {
		if d.agent.Apps[0].Source != source && d.agent.Apps[1].Source != source {
			d.appDies(source) // strays are ended
		}
	}
	d.local = nil
	for _, source := range d.alive {
		r.Alive = append(r.Alive, agent.Alive{Source: source, PID: 1})
	}
	if !d.fwd.up {
		d.fwd, d.settled = forwarderModel{up: true}, false
	}
	d.step(r)
	d.toAgent = append(d.toAgent, agent.ForwarderConnected{})
}

func (d *device) agentDies() {
	d.up, d.admitted, d.todo, d.local, d.toAgent, d.starting, d.writing = false, false, nil, nil, nil, nil, false
}

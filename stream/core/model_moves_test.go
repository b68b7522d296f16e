package core

import (
	"fmt"
	"slices"
	"time"

	"slipstream/agent"
	"slipstream/stream/orders"
)

// modelStart is late enough for every time to be told from a number.
const modelStart = int64(1) << 52

// move is one thing that can happen next.
type move struct {
	name string
	do   func(*device)
}

// moves lists what can happen next. What commutes with everything else, such as the
// effects of one step, happens in one order only, except for a death in between.
func (d *device) moves() (all []move) {
	if d.faults > 0 {
		all = d.accidents()
	}
	if len(d.todo) > 0 {
		return append(all, move{fmt.Sprintf("begins %T", d.todo[0]), (*device).perform})
	}
	return append(all, d.happenings()...)
}

// happenings are no faults: each of them is to be expected.
func (d *device) happenings() (all []move) {
	if !d.up {
		all = append(all, move{"agent starts", (*device).start})
	}
	for n, what := range d.local {
		all = append(all, move{fmt.Sprintf("agent sees %T", what), func(d *device) {
			d.local = slices.Delete(d.local, n, n+1)
			d.step(what)
		}})
	}
	for n, source := range d.starting {
		all = append(all, move{"starts " + string(source), func(d *device) {
			d.starting = slices.Delete(d.starting, n, n+1)
			d.alive = append(d.alive, source)
			d.local = append(d.local, agent.AppStarted{Source: source, PID: 1, At: d.now})
		}})
	}
	if len(d.toAgent) > 0 {
		all = append(all, move{fmt.Sprintf("agent hears %T", d.toAgent[0]), (*device).hear})
	}
	if d.writing {
		all = append(all, move{"record written", func(d *device) {
			d.replaceRecord()
			d.local = append(d.local, agent.RecordWritten{Trial: d.agent.Trial.ID})
		}})
	}
	if d.up && d.agent.Wake() != 0 && !d.busy() {
		all = append(all, move{"agent's time has come", (*device).tick})
	}
	return append(all, d.fwd.happenings(d)...)
}

// busy says that something is under way. It takes less time than the agent waits for
// anything, but for a fault.
func (d *device) busy() bool {
	return d.writing || d.fwd.reverting != nil || len(d.local)+len(d.starting)+len(d.toFwd)+len(d.toAgent) > 0
}

func (d *device) tick() {
	d.now = max(d.now, d.agent.Wake())
	d.step(agent.Tick{})
}

// hear takes the agent's next news of the forwarder.
func (d *device) hear() {
	what := d.toAgent[0]
	d.toAgent = d.toAgent[1:]
	switch what.(type) {
	case agent.ForwarderConnected:
		d.admitted = true
	case goneAgain:
		what = agent.ForwarderConnected{}
	}
	d.step(what)
}

// goneAgain is the news of a connection that has ended before the agent took it: its
// requests are dropped.
type goneAgain struct{}

func lastWords(all []any) (last []any) {
	for _, what := range all {
		if _, ok := what.(agent.ForwarderConnected); ok {
			what = goneAgain{}
		}
		last = append(last, what)
	}
	return last
}

// accidents are faults.
func (d *device) accidents() (all []move) {
	fault := func(name string, do func(*device)) {
		all = append(all, move{name, func(d *device) { d.faults--; do(d) }})
	}
	if d.up {
		fault("agent dies", (*device).agentDies)
		fault("agent dies with its journal", func(d *device) { d.agentDies(); d.agent = agent.State{} })
		if d.writing {
			fault("agent dies, the record is written", func(d *device) { d.replaceRecord(); d.agentDies() })
			fault("record not written", func(d *device) {
				d.writing = false
				d.local = append(d.local, agent.RecordFailed{Trial: d.agent.Trial.ID, Error: "disk full"})
			})
		}
	}
	fault("power fails", (*device).powerFails)
	if len(d.todo) > 0 {
		return all // nobody else can tell whether an effect has begun
	}
	if d.up && d.admitted && d.fwd.up {
		fault("connection breaks", func(d *device) { d.reconnect(nil) })
		if len(d.toAgent) > 0 {
			fault("connection breaks, its last words are heard", func(d *device) { d.reconnect(d.toAgent) })
		}
	}
	if d.fwd.up {
		fault("forwarder dies", func(d *device) { d.forwarderDies(true) })
		if len(d.toAgent) > 0 {
			fault("forwarder dies, its last words come first", func(d *device) { d.forwarderDies(true, d.toAgent...) })
			fault("forwarder dies, its last words come last", func(d *device) { d.forwarderDies(false, d.toAgent...) })
		}
	}
	if d.up && d.agent.Wake() != 0 && d.busy() {
		fault("the agent's time has come while others are late", (*device).tick)
	}
	for _, source := range d.alive {
		fault(string(source)+" dies", func(d *device) { d.appDies(source) })
	}
	return all
}

// reconnect is a new connection: what the agent had sent and the forwarder not yet
// taken is lost, and what the forwarder had sent may come all the same.
func (d *device) reconnect(last []any) {
	d.admitted, d.toFwd = false, nil
	d.toAgent = append(lastWords(last), agent.ForwarderConnected{})
}

// forwarderDies leaves the agent with the news, its last words before or after them,
// and a new forwarder.
func (d *device) forwarderDies(lastWordsFirst bool, last ...any) {
	if d.fwd.trial.phase != steady || d.fwd.reverting != nil {
		d.over = true
	}
	if d.fwd = d.fwd.successor(d.up); d.up {
		d.thaw(d.fwd.permanent)
	}
	d.admitted, d.toFwd, d.settled = false, nil, d.settled && d.up
	lost := agent.ForwarderLost{Detail: "killed"}
	d.toAgent = append([]any{lost}, lastWords(last)...)
	if lastWordsFirst {
		d.toAgent = append(lastWords(last), lost)
	}
	d.toAgent = append(d.toAgent, agent.ForwarderConnected{})
	if !d.up {
		d.toAgent, d.fwd.up = nil, false // the next agent starts one
	}
}

func (d *device) powerFails() {
	if d.fwd.trial.phase != steady || d.fwd.reverting != nil {
		d.over = true
	}
	d.boots++
	d.agentDies()
	d.alive, d.frozen, d.fwd, d.toFwd, d.settled = nil, "", forwarderModel{}, nil, false
}

// calmMove is what happens next if nothing goes wrong, and nobody is asked for
// anything any more.
func (d *device) calmMove() (move, bool) {
	if len(d.todo) > 0 {
		return move{fmt.Sprintf("begins %T", d.todo[0]), (*device).perform}, true
	}
	ready := d.happenings()
	var late []move
	for _, m := range ready {
		switch m.name {
		case "agent's time has come", "forwarder's time has come":
			late = append(late, m)
		case "forwarder reverts", "hold has to wait":
		default:
			return m, true
		}
	}
	for _, m := range late { // the agent's first, if its time comes first
		if m.name == "forwarder's time has come" && d.agent.Wake() != 0 && d.agent.Wake() <= d.fwd.trial.due() {
			continue
		}
		return m, true
	}
	if (d.agent.Retiring != "" || d.agent.Trial.ReturnBy != 0) && d.quiet() {
		return move{"forwarder reports", (*device).report}, true
	}
	return move{}, false
}

// report is the forwarder's regular word on whom viewers see.
func (d *device) report() {
	follows := d.fwd.permanent
	if d.fwd.trial.carries() {
		follows = d.fwd.trial.source
	}
	s := orders.StreamStatus{Name: "main", Followed: follows}
	for _, source := range d.alive {
		s.Lines = append(s.Lines, orders.LineStatus{Source: source, Alive: true, LastFrame: d.now})
	}
	d.step(agent.LinesSeen{Streams: []orders.StreamStatus{s}})
}

// forwarderModel is the forwarder without pictures: its real standing, and what the
// core does around it.
type forwarderModel struct {
	up bool
	standing
	sources   []orders.SourceID
	reverting *reversionModel
	amend     orders.Reverted // told when there was no source to go back to
}

// reversionModel is a revert whose viewers still wait for a key frame.
type reversionModel struct {
	report orders.Reverted
	asked  int // answers that wait for its end
}

// successor is the forwarder after one that has died. It is given what the ledger has
// if the agent lives, which keeps that.
func (f *forwarderModel) successor(kept bool) forwarderModel {
	next := forwarderModel{up: true}
	if kept {
		next.permanent, next.sources = f.permanent, f.sources
		next.ended.list = slices.Clone(f.ended.list) // see TestTrialsEndWithTheForwarder
		if id := f.trial.id; id != "" {
			next.ended.add(ending{Reverted: orders.Reverted{Trial: id, Cause: orders.CauseForwarder}})
		}
	}
	return next
}

func (f *forwarderModel) happenings(d *device) (all []move) {
	if !f.up {
		return nil
	}
	if len(d.toFwd) > 0 {
		request := d.toFwd[0]
		take := func(may bool) func(*device) {
			return func(d *device) {
				d.toFwd, d.waited = d.toFwd[1:], d.waited || !may
				d.fwd.request(d, request, may)
			}
		}
		all = append(all, move{fmt.Sprintf("forwarder takes %T", request), take(true)})
		if h, ok := request.(agent.Hold); ok && f.trial.phase == switched && f.trial.id == h.Trial && !d.waited {
			all = append(all, move{"hold has to wait", take(false)})
		}
	}
	if f.reverting != nil {
		all = append(all, move{"viewers are back", func(d *device) { d.fwd.finish(d) }})
	}
	if d.frozen != "" && d.frozen == f.permanent && !f.trial.carries() {
		all = append(all, move{"forwarder misses the permanent version", func(d *device) { d.thaw(d.frozen) }})
	}
	if f.amend.Trial != "" && f.trial.phase == steady && slices.Contains(d.alive, f.permanent) {
		all = append(all, move{"viewers are back at last", func(d *device) { d.fwd.backAtLast(d) }})
	}
	if f.trial.phase == armed && slices.Contains(d.alive, f.trial.source) {
		all = append(all, move{"viewers come over", func(d *device) { d.fwd.come(d) }})
	}
	if f.trial.phase != steady {
		all = append(all, move{"forwarder reverts", func(d *device) { d.fwd.revert(d, orders.CauseStall) }})
		all = append(all, move{"forwarder's time has come", func(d *device) {
			d.now = max(d.now, d.fwd.trial.due())
			d.fwd.revert(d, d.fwd.trial.expired(d.now))
		}})
	}
	return all
}

func (f *forwarderModel) tell(d *device, what any) {
	if d.up { // a message to a connection that the agent does not know of yet comes later
		d.toAgent = append(d.toAgent, what)
	}
}

func (f *forwarderModel) come(d *device) {
	f.trial.phase = switched
	f.tell(d, agent.TookOver{Switched: orders.Switched{Trial: f.trial.id, Source: f.trial.source, Done: d.now}})
}

// revert is [Core.revertSeen]: viewers may have to wait for a key frame.
func (f *forwarderModel) revert(d *device, cause string) {
	if f.reverting != nil {
		f.finish(d)
	}
	t := f.trial
	d.over = true
	f.reverting = &reversionModel{report: orders.Reverted{Trial: t.id, Source: f.permanent, Cause: cause, Switched: t.carries()}}
	f.standing.revert(f.reverting.report)
	d.thaw(f.permanent)
	if there := slices.Contains(d.alive, f.permanent); !t.carries() || !there {
		if t.carries() {
			f.amend = f.reverting.report
			f.reverting.report.Source = ""
		}
		f.finish(d)
	}
}

// backAtLast is [Core.amend].
func (f *forwarderModel) backAtLast(d *device) {
	r := f.amend
	r.Source = f.permanent
	f.amend = orders.Reverted{}
	f.ended.add(ending{Reverted: r})
	f.tell(d, agent.TrialReverted{Reverted: r})
}

// finish is [Core.finishReverting].
func (f *forwarderModel) finish(d *device) {
	r := f.reverting
	f.reverting = nil
	f.ended.add(ending{Reverted: r.report})
	for range 1 + r.asked {
		f.tell(d, agent.TrialReverted{Reverted: r.report})
	}
}

// request is [Core.request]; may is what the invariants say to a hold.
func (f *forwarderModel) request(d *device, what any, may bool) {
	switch e := what.(type) {
	case agent.SendOrders:
		f.obey(d, e)
	case agent.AskStatus:
		f.tell(d, agent.ForwarderStatus{Trial: f.trial.id, Phase: f.trial.phase.String()})
	case agent.Hold:
		f.hold(d, e, may)
	case agent.Settle:
		if !slices.Contains(f.sources, e.Source) {
			return // refused
		}
		if d.record.Slot != slotOf(e.Source) {
			d.fail("settle before the commit point")
		}
		f.standing.settle(&orders.Settle{Trial: e.Trial, Source: e.Source})
		f.amend = orders.Reverted{}
		if f.trial.id == e.Trial || f.permanent != e.Source {
			d.fail("settle does not win")
		}
		d.settled, d.over = true, true
		f.tell(d, agent.Settled{Trial: e.Trial})
	case agent.RevertTrial:
		if f.trial.phase != steady && f.trial.id == e.Trial {
			f.revert(d, e.Reason)
		}
		f.answerReverted(d, e.Trial)
	}
	if d.settled && slotOf(f.permanent) != d.record.Slot {
		d.fail("a settled version is no longer permanent")
	}
}

// obey is [Core.obey].
func (f *forwarderModel) obey(d *device, e agent.SendOrders) {
	o := &orders.Orders{Permanent: e.Permanent, Trial: e.Trial}
	if e.Permanent != "" && !slices.Contains(e.Sources, e.Permanent) || e.Trial != nil && (e.Trial.Source == e.Permanent || !slices.Contains(e.Sources, e.Trial.Source)) {
		d.fail("orders that will be refused: %+v", e)
	}
	f.catchUp(o)
	if f.drop(o) {
		f.revert(d, orders.CauseOrders)
	}
	armed, over := f.arm(o, d.now)
	if over != nil && (f.reverting == nil || f.reverting.report.Trial != over.Trial) {
		f.tell(d, agent.TrialReverted{Reverted: over.Reverted})
	}
	if armed {
		f.amend = orders.Reverted{}
	}
	if armed && d.over {
		d.fail("a trial that has ended is armed again")
	}
	f.permanent, f.sources = o.Permanent, slices.Clone(e.Sources)
	if !f.trial.carries() {
		d.thaw(f.permanent)
	}
	if armed && !slices.Contains(d.alive, o.Trial.Source) {
		f.revert(d, orders.CauseExit)
	}
}

// hold is [Core.hold].
func (f *forwarderModel) hold(d *device, e agent.Hold, may bool) {
	if cause := f.trial.expired(d.now); cause != "" {
		f.revert(d, cause)
	}
	h := &orders.Hold{Trial: e.Trial, LeaseMS: (2 * time.Second).Milliseconds()}
	switch f.standing.hold(h, d.now, func() bool { return may }) {
	case orders.ResultHeld:
		if d.granted = f.trial.id == e.Trial && f.trial.phase == held; !d.granted {
			d.fail("hold of a trial that is over is granted")
		}
		f.tell(d, agent.Held{Trial: e.Trial})
	case orders.ResultWait:
		f.tell(d, agent.HoldWaits(e))
	default:
		f.answerReverted(d, e.Trial)
	}
}

// answerReverted is [Core.answerReverted].
func (f *forwarderModel) answerReverted(d *device, id orders.TrialID) {
	if r := f.reverting; r != nil && r.report.Trial == id {
		r.asked = min(r.asked+1, 2) // more of the same change nothing
		return
	}
	switch end := f.ended.find(id); {
	case end == nil:
		f.tell(d, agent.TrialReverted{Reverted: orders.Reverted{Trial: id, Source: f.permanent, Cause: orders.CauseOrders}})
	case !end.settled:
		f.tell(d, agent.TrialReverted{Reverted: end.Reverted})
	}
}

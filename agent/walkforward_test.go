package agent_test

import (
	"slices"

	"pgregory.net/rapid"

	"slipstream/agent"
	"slipstream/stream/orders"
)

// walkForwarder keeps the contract of package orders.
type walkForwarder struct {
	alive     bool // its process; orders of a dead agent stand
	connected int  // number of the connection, 0 for none
	sources   []orders.SourceID
	permanent orders.SourceID
	trial     orders.TrialID // armed or further
	source    orders.SourceID
	switched  bool
	follows   orders.SourceID // whom viewers see, alive or not
	over      map[orders.TrialID]bool
	waiting   orders.TrialID // reverted, but there was nobody to go back to
}

// obey takes orders as the forwarder does.
func (w *walk) obey(e agent.SendOrders) {
	if e.Permanent != "" && !slices.Contains(e.Sources, e.Permanent) {
		w.Fatalf("orders call %s permanent and do not name it", e.Permanent)
	}
	if t := e.Trial; t != nil && (t.Source == e.Permanent || !slices.Contains(e.Sources, t.Source)) {
		w.Fatalf("orders of trial %s: source %s, permanent %s, sources %v", t.ID, t.Source, e.Permanent, e.Sources)
	}
	if s := e.Frozen; s != "" && (!slices.Contains(e.Sources, s) || e.Trial != nil && e.Trial.Source == s) {
		w.Fatalf("orders call %s frozen, sources %v", s, e.Sources)
	}
	f := &w.fwd
	if !f.alive || f.connected == 0 {
		return
	}
	if f.trial != "" && (e.Trial == nil || e.Trial.ID != f.trial) {
		if e.Permanent == f.source {
			f.trial = ""
		} else {
			w.end(orders.CauseOrders)
		}
	}
	f.permanent, f.sources = e.Permanent, e.Sources
	w.show()
	if t := e.Trial; t != nil && f.trial != t.ID {
		if f.over[t.ID] {
			w.tell(agent.TrialReverted{Reverted: orders.Reverted{Trial: t.ID, Cause: orders.CauseLease}})
			return
		}
		f.trial, f.source, f.switched, f.waiting = t.ID, t.Source, false, ""
	}
	if !f.switched || f.trial == "" {
		delete(w.frozen, f.permanent)
		w.show()
	}
}

func (w *walk) hold(id orders.TrialID) {
	if w.fwd.trial == id && w.fwd.switched && !w.held[id] && rapid.IntRange(0, 3).Draw(w.T, "judged") == 0 {
		w.tell(agent.HoldWaits{Trial: id})
		return
	}
	if w.fwd.trial == id && w.fwd.switched {
		w.held[id] = true
		w.tell(agent.Held{Trial: id})
		return
	}
	if w.fwd.trial != id {
		w.tell(agent.TrialReverted{Reverted: orders.Reverted{Trial: id, Cause: orders.CauseStall}})
	}
}

func (w *walk) settle(e agent.Settle) {
	walked["commit"]++
	if w.record.Slot != string(e.Source[:1]) {
		w.Fatalf("settle of %s before the record says so", e.Source)
	}
	if !slices.Contains(w.fwd.sources, e.Source) {
		return // refused: the forwarder knows no such source
	}
	w.fwd.permanent = e.Source
	if w.fwd.trial == e.Trial {
		w.fwd.trial = ""
	}
	w.show()
	w.tell(agent.Settled{Trial: e.Trial})
}

// end ends the forwarder's trial and reports it.
func (w *walk) end(cause string) {
	id := w.fwd.trial
	w.fwd.over[id] = true
	w.fwd.trial = ""
	if w.frozen[w.fwd.permanent] {
		walked["thaw by the forwarder"]++
	}
	delete(w.frozen, w.fwd.permanent)
	w.show()
	r := orders.Reverted{Trial: id, Cause: cause, Switched: w.fwd.switched, Source: w.fwd.permanent}
	if !w.alive[w.fwd.permanent] {
		r.Source, w.fwd.waiting = "", id
	}
	w.tell(agent.TrialReverted{Reverted: r})
}

// show brings viewers to whom they should see, if that one sends.
func (w *walk) show() {
	want := w.fwd.permanent
	if w.fwd.trial != "" && w.fwd.switched {
		want = w.fwd.source
	}
	if !w.fwd.alive || !w.alive[want] || !w.ready[want] || w.frozen[want] {
		return
	}
	w.fwd.follows = want
	if id := w.fwd.waiting; id != "" && want == w.fwd.permanent {
		w.fwd.waiting = ""
		walked["come back"]++
		w.tell(agent.TrialReverted{Reverted: orders.Reverted{Trial: id, Source: want, First: w.now}})
	}
}

// tell sends a message that arrives later, if the connection lives so long.
func (w *walk) tell(what any) {
	connection := w.fwd.connected
	if connection == 0 {
		return
	}
	w.later = append(w.later, func() {
		if w.fwd.connected == connection {
			if e, ok := what.(agent.Settled); ok && e.Trial == w.state.Trial.ID {
				w.unsettled = ""
			}
			w.step(what)
		}
	})
}

func (w *walk) ifConnected(do func()) {
	if w.fwd.alive && w.fwd.connected != 0 {
		do()
	}
}

func (w *walk) phase() string {
	if w.fwd.switched {
		return "switched"
	}
	return "armed"
}

package agent_test

import (
	"pgregory.net/rapid"

	"slipstream/agent"
	"slipstream/stream/orders"
)

// walkPrograms is what a walk knows of Slipstream's own programs beside the disk.
type walkPrograms struct {
	*runtimeDisk
	forwarder string                 // slot of the programs that the forwarder is of
	asked     int                    // number of the boot in which a try was asked for
	tried     map[orders.TrialID]int // how often an agent on trial was started
	life      int                    // of the agent that was reached
	stuck     bool                   // the forwarder could not be replaced, which is left to a person
	queue     []func()               // asked for the forwarder: one after the other
}

// withPrograms puts a start program behind the agents of a walk, mostly.
func (w *walk) withPrograms() {
	w.programs = walkPrograms{tried: map[orders.TrialID]int{}}
	if rapid.IntRange(0, 3).Draw(w.T, "programs") > 0 {
		w.programs.runtimeDisk = &runtimeDisk{content: map[string]agent.Part{}}
	}
}

// bringPrograms lets a package bring programs, alone or with what it has.
func (w *walk) bringPrograms(v *agent.Version) {
	if w.programs.runtimeDisk == nil || rapid.IntRange(0, 3).Draw(w.T, "brings programs") > 0 {
		return
	}
	if v.Runtime = w.part(v.Version); rapid.Bool().Draw(w.T, "with the others") {
		return
	}
	v.System = agent.Part{}
	v.Image, v.Streams, v.Rules.Overlap = "", nil, ""
	v.Rules.Greenlight = rapid.SampledFrom([]string{"operator", "auto"}).Draw(w.T, "greenlight")
}

// starts is what the start program does when an agent has ended, or becomes another one.
func (w *walk) starts(becomes bool) {
	p := &w.programs
	if p.runtimeDisk == nil {
		return
	}
	e := p.become
	tries := becomes && e != nil && e.Trial != "" && p.asked == w.boots && p.content[e.Runtime.Slot].Digest == e.Runtime.Digest
	p.start(tries)
	if tries {
		if p.tried[e.Trial]++; p.tried[e.Trial] > 1 {
			w.Fatalf("trial %s is tried again", e.Trial)
		}
		walked["agent on trial"]++
		if !w.calming && rapid.IntRange(0, 3).Draw(w.T, "comes up") == 0 { // it ends before it has begun
			p.start(false)
		}
	}
}

// homeOfForwarder is where the agent that runs takes a new one from.
func (w *walk) homeOfForwarder() string {
	if w.programs.runtimeDisk == nil {
		return ""
	}
	return w.programs.permanent.Slot
}

// become is done as soon as it is asked for, unless the agent dies before.
func (w *walk) become(e agent.Become) {
	p, agents := &w.programs, w.agents
	if e.Trial == "" && p.running == p.permanent.Slot {
		w.Fatalf("the agent of slot %s is to become the permanent one, which it is", p.running)
	}
	p.become, p.asked = &e, w.boots
	w.later = append(w.later, func() {
		if w.agents == agents {
			w.starts(true)
			w.start()
		}
	})
}

// inTurn does what is asked for the forwarder, one after the other.
func (w *walk) inTurn(do func()) {
	agents := w.agents
	w.programs.queue = append(w.programs.queue, func() {
		if w.agents == agents {
			do()
		}
	})
	w.later = append(w.later, func() {
		if q := w.programs.queue; len(q) > 0 {
			w.programs.queue = q[1:]
			q[0]()
		}
	})
}

func (w *walk) tryRuntime(e agent.TryRuntime) {
	w.inTurn(func() {
		switch {
		case w.programs.content[e.Runtime.Slot].Digest != e.Runtime.Digest:
			if w.state.Trial.ID == e.Trial {
				w.Fatalf("programs %s are tried, and slot %s does not hold them", e.Runtime.Version, e.Runtime.Slot)
			}
		case rapid.IntRange(0, 4).Draw(w.T, "takes over") == 0:
			w.step(agent.RuntimeTried{Trial: e.Trial, Error: "it never sends"})
		default:
			w.programs.forwarder = e.Runtime.Slot
			w.connect()
			w.step(agent.RuntimeTried{Trial: e.Trial})
		}
	})
}

func (w *walk) returnForwarder(e agent.ReturnForwarder) {
	w.inTurn(func() {
		if w.programs.forwarder != w.homeOfForwarder() {
			walked["forwarder returned"]++
			w.programs.forwarder = w.homeOfForwarder()
			w.connect()
		}
		w.step(agent.ForwarderReturned(e))
	})
}

// proves is what an agent hears of itself.
func (w *walk) proves() {
	w.programs.life = w.agents
	w.step(agent.Reached{})
	w.step(agent.GatewaySeen{})
}

// writesPrograms: neither what runs nor what is permanent is written.
func (w *walk) writesPrograms(slot string) {
	if p := w.programs; slot == p.running || slot == p.permanent.Slot {
		w.Fatalf("slot %s of programs is written: %q runs, %q is permanent", slot, p.running, p.permanent.Slot)
	}
	delete(w.programs.content, slot)
}

// programsCommitted: only programs that run, whose agent was reached, become permanent.
func (w *walk) programsCommitted(v agent.Version) {
	p := &w.programs
	switch {
	case v.Runtime.Slot != p.running || v.Runtime.Digest != p.content[p.running].Digest:
		w.Fatalf("programs of slot %s become permanent while those of %q run", v.Runtime.Slot, p.running)
	case p.life != w.agents:
		w.Fatalf("programs %s become permanent, and their agent was not reached", v.Version)
	case v.Runtime.Counter <= p.permanent.Counter:
		w.Fatalf("the floor of programs goes down from %d to %d", p.permanent.Counter, v.Runtime.Counter)
	}
	p.permanent = v.Runtime
	walked["programs commit"]++
}

// programsAtHome is what must be true of programs in the end.
func (w *walk) programsAtHome() {
	p := w.programs
	if p.runtimeDisk == nil {
		return
	}
	if p.running != p.permanent.Slot || w.state.Runtime.Permanent.Digest != p.permanent.Digest {
		w.Fatalf("programs of %q run, permanent are %q: %s", p.running, p.permanent.Slot, describeState(w.state))
	}
	if w.fwd.alive && !p.stuck && p.forwarder != p.permanent.Slot {
		w.Fatalf("the forwarder is of %q, permanent is %q: %s", p.forwarder, p.permanent.Slot, describeState(w.state))
	}
}

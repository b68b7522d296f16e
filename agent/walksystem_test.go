package agent_test

import (
	"pgregory.net/rapid"

	"slipstream/agent"
)

// withSystems gives the device of a walk system slots, mostly.
func (w *walk) withSystems() {
	w.systems, w.loader = newSystemDisk(""), newLoader("a")
	if rapid.IntRange(0, 3).Draw(w.T, "systems") == 0 {
		return
	}
	w.systems.running, w.systems.named = "a", "a"
	w.next++
	w.systems.is["a"] = w.part("factory")
	w.systems.content["a"] = w.systems.is["a"]
	w.systems.live["a"] = w.record
}

func (w *walk) part(version string) agent.Part {
	return agent.Part{Digest: "d" + version, Image: "s" + version, Version: version, Counter: w.next}
}

// bring lets a package bring a system, with its app or without.
func (w *walk) bring(v *agent.Version) {
	if w.systems.running == "" || v.Slot != "" {
		return
	}
	switch rapid.IntRange(0, 3).Draw(w.T, "brings") {
	case 0:
		v.System = w.part(v.Version)
	case 1:
		v.System = w.part(v.Version)
		v.Image, v.Streams, v.Rules.Overlap = "", nil, ""
		v.Rules.Greenlight = rapid.SampledFrom([]string{"operator", "auto"}).Draw(w.T, "greenlight")
	}
}

// writesSystem begins to write a slot, if the boot loader agrees not to start it.
func (w *walk) writesSystem(slot string) bool {
	if slot == w.systems.running || slot == w.systems.named {
		w.Fatalf("system slot %s is written: %s runs, the record names %s", slot, w.systems.running, w.systems.named)
	}
	if slot == w.loader.good {
		return false // it was not yet told of the commit
	}
	w.loader.ok[slot] = false
	delete(w.systems.content, slot)
	return true
}

// bootEffect is what is asked of the boot loader. One thing is done after the other.
func (w *walk) bootEffect(e agent.Effect) {
	agents, outside := w.agents, w.state.Trial.ID == ""
	w.boot = append(w.boot, func() {
		if w.agents != agents {
			return
		}
		switch e := e.(type) {
		case agent.TryBoot:
			w.tryBoot(e)
		case agent.CancelBoot:
			if rapid.IntRange(0, 9).Draw(w.T, "cancel") > 0 { // else its storage fails
				w.loader.cancel()
			}
		case agent.AgreeBoot:
			w.agreeBoot(e)
		case agent.Restart:
			w.restart(outside)
		}
	})
	w.later = append(w.later, func() {
		if len(w.boot) > 0 {
			do := w.boot[0]
			w.boot = w.boot[1:]
			do()
		}
	})
}

func (w *walk) tryBoot(e agent.TryBoot) {
	if e.System.Slot == w.systems.named {
		w.Fatalf("the permanent system %s is tried", e.System.Slot)
	}
	done := agent.BootTried{Trial: e.Trial}
	if w.systems.content[e.System.Slot].Digest != e.System.Digest {
		if w.state.Trial.ID == e.Trial {
			w.Fatalf("system %s is tried, and slot %s does not hold it", e.System.Version, e.System.Slot)
		}
		return // it is over, and the slot is being written again
	}
	switch rapid.IntRange(0, 7).Draw(w.T, "told") {
	case 0:
		done.Error = "its storage fails"
	case 1:
		w.loader.tryOnce(e.System.Slot)
		w.agentDies()
		return
	default:
		w.loader.tryOnce(e.System.Slot)
	}
	w.step(done)
}

func (w *walk) agreeBoot(e agent.AgreeBoot) {
	if w.state.Phase == agent.PhaseRebooting {
		w.Fatalf("the boot loader's trial is ended in phase %s of trial %s", w.state.Phase, w.state.Trial.ID)
	}
	if e.Slot != w.systems.named {
		w.Fatalf("the boot loader is to agree on %s, the record names %s", e.Slot, w.systems.named)
	}
	w.loader.agree(e.Slot)
	w.step(agent.BootAgrees(e))
}

// restart is asked for, and mostly comes. Outside of trials that is once.
func (w *walk) restart(outside bool) {
	if outside {
		if w.sent == w.systems.named && w.sentIn != w.boots {
			w.Fatalf("the device is started anew for system %s again", w.sent)
		}
		w.sent, w.sentIn = w.systems.named, w.boots
	}
	if w.calming || rapid.IntRange(0, 4).Draw(w.T, "restarts") > 0 {
		w.powerFails()
	}
}

// bootsSystem lets the boot loader choose. What it chooses may fail to come up, if it is not
// the only one that is left.
func (w *walk) bootsSystem() {
	s := w.systems
	if s.running == "" {
		return
	}
	s.running = w.loader.boot()
	tried := s.running != w.loader.good
	if tried && !w.calming && rapid.IntRange(0, 5).Draw(w.T, "comes up") == 0 {
		s.running = w.loader.boot()
		walked["boot the old system"]++
	}
	if s.running == w.loader.good && !w.calming && rapid.IntRange(0, 15).Draw(w.T, "loads") == 0 {
		if other := otherSlot(s.running); w.loader.ok[other] {
			s.running = other
		}
	}
	if is, holds := s.is[w.loader.good], s.content[w.loader.good]; is.Digest != holds.Digest {
		w.Fatalf("the boot loader's permanent slot %s holds %q, permanent was %q", w.loader.good, holds.Version, is.Version)
	}
	if s.running == s.named {
		w.sent = ""
	}
	w.record, w.before = s.live[s.with()], s.before[s.with()]
}

func otherSlot(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// committed replaces the record. A system must have run to become permanent.
func (w *walk) committed(v, before agent.Version) {
	s := w.systems
	if v.Runtime.Slot != "" {
		w.programsCommitted(v)
		if v.Slot+v.System.Slot == "" {
			return
		}
		walked["combined commit"]++
	}
	if v.System.Slot != "" {
		if v.System.Slot != s.running || v.System.Digest != s.content[s.running].Digest {
			w.Fatalf("system %s of slot %s becomes permanent while slot %s runs", v.System.Version, v.System.Slot, s.running)
		}
		if v.System.Counter <= s.is[s.named].Counter {
			w.Fatalf("the system's floor goes down from %d to %d", s.is[s.named].Counter, v.System.Counter)
		}
		walked["system commit"]++
	}
	s.commit(v, before)
	if s.running != "" {
		w.record, w.before = s.live[s.with()], s.before[s.with()]
	} else {
		w.record, w.before = v, before
	}
}

// settledDown is what must be true of the systems in the end.
func (w *walk) settledDown() {
	s := w.systems
	switch {
	case s.running == "":
	case s.running != s.named:
		w.Fatalf("system %s runs, the record names %s: %s", s.running, s.named, describeState(w.state))
	case w.loader.good != s.named || w.loader.try != "":
		w.Fatalf("the boot loader has %+v, the record names %s", *w.loader, s.named)
	case w.state.System.Permanent.Digest != s.is[s.named].Digest:
		w.Fatalf("the agent calls system %s permanent, the record %s", w.state.System.Permanent.Version, s.is[s.named].Version)
	}
}

// comesDown is a device that is about to be started anew.
func (w *walk) comesDown() bool {
	return w.state.Phase == agent.PhaseRebooting || w.state.Trial.Reboot.Leaving
}

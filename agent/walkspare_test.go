package agent_test

import (
	"slices"
	"strings"

	"pgregory.net/rapid"

	"slipstream/agent"
	"slipstream/agent/control"
)

// stageAgain asks by force for what is staged already.
func (w *walk) stageAgain() {
	s := w.state
	if s.Phase != agent.PhaseStaged {
		return
	}
	v := s.Spare
	if s.Package.Digest != "" {
		v = s.Package
	}
	v.Slot, v.System.Slot, v.Runtime.Slot = "", "", ""
	w.step(agent.StageAsked{Version: v, Force: true})
}

func (w *walk) cancel() {
	w.step(agent.CancelAsked{Left: uint64(rapid.IntRange(0, 1).Draw(w.T, "left"))})
}

func (w *walk) clearSlot() {
	w.step(agent.ClearAsked{Slot: rapid.SampledFrom([]string{"a", "b", "system-a", "system-b", "runtime-a", "runtime-b"}).Draw(w.T, "slot")})
}

// spareEffect does what is done to slots that are not in use, and checks that they are
// not.
func (w *walk) spareEffect(e agent.Effect) {
	switch e := e.(type) {
	case agent.CancelStage:
		walked["cancel"]++
		w.later = append([]func(){func() {
			w.step(agent.StageDone{Attempt: e.Attempt, Code: agent.CodeCancelled, Error: "cancelled"})
		}}, w.later...)
	case agent.Distrust:
		walked["distrust"]++
		for _, name := range e.Slots {
			w.unused(name)
			w.empty(name)
		}
	case agent.ClearSlots:
		walked["clear"]++
		if w.state.Trial.ID != "" {
			w.Fatalf("slots %v are cleared in phase %s", e.Slots, w.state.Phase)
		}
		w.clears(e)
	}
}

func (w *walk) clears(e agent.ClearSlots) {
	agents := w.agents
	if slices.ContainsFunc(e.Slots, func(name string) bool { return name == "system-"+w.loader.good }) {
		w.later = append(w.later, func() { // the boot loader was not yet told of the commit
			if w.agents == agents {
				w.step(agent.SlotsCleared{Error: "refused"})
			}
		})
		return
	}
	for i, name := range e.Slots {
		w.unused(name)
		if i == 0 && rapid.Bool().Draw(w.T, "soon") { // before the agent could die
			w.empty(name)
		}
	}
	w.later = append(w.later, func() {
		if w.agents != agents {
			return
		}
		var done agent.SlotsCleared
		for _, name := range e.Slots {
			w.unused(name)
			if w.holdsVersion(name) && rapid.IntRange(0, 4).Draw(w.T, "clears") == 0 {
				done.Error = "the disk fails"
				break
			}
			w.empty(name)
			done.Empty = append(done.Empty, name)
		}
		w.step(done)
	})
}

// unused: nothing that is permanent, runs or is tried loses its slot.
func (w *walk) unused(name string) {
	t, class, slot := w.state.Trial, "live", name
	if before, after, found := strings.Cut(name, "-"); found {
		class, slot = before, after
	}
	if t.Rehearsal {
		return // it runs from another slot than it says
	}
	kept := map[string][]string{
		"live":   {w.record.Slot, t.To.Slot, t.From.Slot},
		"system": {w.systems.running, w.systems.named, t.To.System.Slot},
	}
	if p := w.programs.runtimeDisk; p != nil {
		kept["runtime"] = []string{p.running, p.permanent.Slot, t.To.Runtime.Slot}
	}
	if slices.Contains(kept[class], slot) {
		w.Fatalf("slot %s is emptied in phase %s, and %v are in use", name, w.state.Phase, kept)
	}
	for source := range w.alive {
		if class == "live" && string(source[:1]) == slot {
			w.Fatalf("slot %s is emptied under %s", slot, source)
		}
	}
}

func (w *walk) holdsVersion(name string) bool {
	switch class, slot, found := strings.Cut(name, "-"); {
	case !found:
		return w.slots[index(name)].Digest != ""
	case class == "system":
		return w.systems.content[slot].Digest != ""
	default:
		return w.programs.content[slot].Digest != ""
	}
}

func (w *walk) empty(name string) {
	switch class, slot, found := strings.Cut(name, "-"); {
	case !found:
		w.slots[index(name)] = agent.Version{}
	case class == "system":
		w.loader.ok[slot] = false
		delete(w.systems.content, slot)
	default:
		delete(w.programs.content, slot)
	}
}

// stillWhole lets a look at what is staged find it whole, or be cancelled before it knows.
func (w *walk) stillWhole(e agent.StageSlot) bool {
	walked["look"]++
	done := agent.StageDone{Attempt: e.Attempt, Cost: &control.Staged{}}
	switch rapid.IntRange(0, 2).Draw(w.T, "look") {
	case 0:
		return false // it is damaged, and written
	case 1:
		done = agent.StageDone{Attempt: e.Attempt, Code: agent.CodeCancelled, Error: "cancelled", Still: true}
	}
	boot := w.boots
	w.later = append(w.later, func() {
		if boot == w.boots {
			w.step(done)
		}
	})
	return true
}

// spareKept: the core speaks of no version in the spare slot that is not there.
func (w *walk) spareKept() {
	s := w.state
	if s.Phase != agent.PhaseStaged && s.Phase != agent.PhaseIdle || s.Spare.Slot == "" {
		return
	}
	if s.Spare.Slot == w.record.Slot || w.slots[index(s.Spare.Slot)].Digest != s.Spare.Digest {
		w.Fatalf("slot %s is said to hold %s, and holds %q: %s", s.Spare.Slot, s.Spare.Version, w.slots[index(s.Spare.Slot)].Version, describeState(s))
	}
}

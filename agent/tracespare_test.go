package agent_test

import (
	"slices"
	"strings"

	"slipstream/agent"
	"slipstream/agent/control"
)

// spareCommand performs a line of a trace that is about the slots that are not in use.
func (w *world) spareCommand(word string, plain []string, args map[string]string) error {
	switch word {
	case "cancel": // cancel req=7 left=3
		e := agent.CancelAsked{}
		if args["left"] != "" {
			e.Left = 3
		}
		w.step(e)
	case "cancelled": // the writer has stopped; with "still" the slot holds what was staged before
		w.step(agent.StageDone{
			Attempt: w.staging.Attempt, Code: agent.CodeCancelled, Error: "context canceled", Still: slices.Contains(plain, "still"),
		})
	case "looked": // with "whole" nothing of it was written
		cost := &control.Staged{Written: 4096}
		if slices.Contains(plain, "whole") {
			cost.Written = 0
		}
		w.written()
		w.step(agent.StageDone{Attempt: w.staging.Attempt, Cost: cost})
	case "clear":
		w.step(agent.ClearAsked{Slot: plain[0]})
	case "cleared": // cleared b held=1.4, or with words: it failed
		e := agent.SlotsCleared{Error: strings.ReplaceAll(args["error"], "-", " ")}
		for _, slot := range plain {
			e.Empty = append(e.Empty, slot)
			switch class, name, found := strings.Cut(slot, "-"); {
			case !found:
				w.slots[index(slot)] = agent.Version{}
			case class == "system":
				w.systems.content[name] = agent.Part{}
			default:
				w.programs.content[name] = agent.Part{}
			}
		}
		if held := args["held"]; held != "" {
			e.Held = []string{"version " + held}
		}
		w.step(e)
	}
	return nil
}

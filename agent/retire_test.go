package agent_test

import (
	"slices"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/stream/orders"
)

// The old app has fed viewers since the new one's crashed in the midst of its commit.
// It declares a stream that the new version does not have, and that nobody watches.
func TestOldAppEndsThoughOneStreamIsItsAlone(t *testing.T) {
	w := newWorld()
	old, now := w.version("1.4", "a"), w.version("2.0", "b")
	old.Streams = []string{"main", "gone"}
	state := agent.State{Phase: agent.PhaseIdle, Permanent: now, Previous: old, Spare: old, Retiring: "a"}
	state.Apps[0] = agent.App{Source: "a-1", Status: agent.AppRunning}
	state.Apps[1] = agent.App{Source: "b-3", Status: agent.AppRunning}
	seen := func(main orders.SourceID) []agent.Effect {
		var effects []agent.Effect
		state, effects = agent.Step(state, agent.Event{Now: int64(time.Minute), What: agent.LinesSeen{Streams: []orders.StreamStatus{
			{Name: "gone", Followed: "a-1"},
			{Name: "main", Followed: main},
		}}})
		return effects
	}
	ends := func(effects []agent.Effect) bool {
		return slices.ContainsFunc(effects, func(e agent.Effect) bool {
			stop, ok := e.(agent.StopApp)
			return ok && stop.Source == "a-1"
		})
	}
	if ends(seen("a-1")) {
		t.Error("the old app was ended while viewers see it")
	}
	if !ends(seen("b-3")) {
		t.Error("the old app goes on although viewers see the new one")
	}
}

package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/slots"
)

// The record keeps what was permanent in each slot class with each system.
func TestWhatTheRecordSaysOfPrograms(t *testing.T) {
	a := &Agent{}
	part := func(slot, v string, n int64) Part { return Part{Slot: slot, Digest: "d" + v, Version: v, Counter: n} }
	r := a.recorded(slots.Record{}, Version{Slot: "a", Digest: "d1", Version: "1", Counter: 1}, Version{})
	r = a.recorded(r, Version{Version: "2", Counter: 2, Runtime: part("a", "2", 2)}, Version{Version: builtIn, Runtime: Part{Version: builtIn}})
	first := slots.Runtime{Slot: "a", Digest: "d2", Version: "2", Counter: 2}
	if diff := cmp.Diff(map[string]slots.Runtime{"a": first}, r.Runtime); diff != "" || r.Live["a"].Version != "1" {
		t.Errorf("programs beside an app (-want +got):\n%s%+v", diff, r)
	}
	r = a.recorded(r, Version{Slot: "b", Digest: "d3", Version: "3", Counter: 3}, Version{Slot: "a", Digest: "d1", Version: "1", Counter: 1})
	if diff := cmp.Diff(map[string]slots.Runtime{"a": first}, r.Runtime); diff != "" || r.Live["a"].Version != "3" {
		t.Errorf("an app beside programs (-want +got):\n%s%+v", diff, r)
	}
	r = a.recorded(r, Version{Version: "4", Counter: 4, System: part("b", "4", 4)}, Version{})
	if diff := cmp.Diff(map[string]slots.Runtime{"a": first, "b": first}, r.Runtime); diff != "" || r.System != "b" || r.Live["b"].Version != "3" {
		t.Errorf("another system (-want +got):\n%s%+v", diff, r)
	}
	r = a.recorded(r, Version{Version: "5", Counter: 5, Runtime: part("b", "5", 5)}, Version{Version: "2", Runtime: part("a", "2", 2)})
	second := slots.Runtime{Slot: "b", Digest: "d5", Version: "5", Counter: 5, Previous: &slots.Previous{Slot: "a", Digest: "d2", Version: "2", Counter: 2}}
	if diff := cmp.Diff(map[string]slots.Runtime{"a": first, "b": second}, r.Runtime); diff != "" {
		t.Errorf("newer programs with the new system alone (-want +got):\n%s", diff)
	}
}

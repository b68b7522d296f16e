package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/config"
	"slipstream/verify"
)

// What is signed can be made stricter on a device, never looser, and nothing is added.
func TestTheDeviceTightensAndNeverLoosens(t *testing.T) {
	list := []config.Tighten{
		{Stream: "main", Name: "rate", Min: new(0.97), Max: new(1.5)},
		{Stream: "main", Name: "gap", Max: new(500.0)}, // looser than declared
		{Stream: "main", Name: "jitter", Max: new(1.0), Required: true},
		{Stream: "main", Name: "none", Max: new(1.0)},
		{Stream: "sub", Name: "rate", Min: new(0.5)},
		{Name: "memory", Max: new(100.0), Failures: 9, Required: true},
		{Name: "selftest", Failures: 1, Max: new(1.0)},
		{Name: "rate", Max: new(0.1)}, // of a stream, not a check
	}
	stream := verify.Stream{Name: "main", Invariants: []verify.Invariant{
		{Name: "rate", Min: new(0.9)}, {Name: "gap", Max: new(80.0)}, {Name: "jitter", Severity: verify.SeverityWanted},
	}}
	want := []verify.Invariant{
		{Name: "rate", Min: new(0.97), Max: new(1.5)}, {Name: "gap", Max: new(80.0)}, {Name: "jitter", Max: new(1.0), Severity: verify.SeverityRequired},
	}
	if diff := cmp.Diff(want, tightenStream(list, stream)); diff != "" {
		t.Error(diff)
	}
	if stream.Invariants[0].Max != nil || *stream.Invariants[0].Min != 0.9 {
		t.Error("the manifest itself was changed")
	}
	checks := []verify.Check{
		{Name: "memory", Max: new(200.0), Severity: verify.SeverityWanted}, {Name: "selftest", Kind: verify.CheckExec}, {Name: "page", Failures: 5},
	}
	wantChecks := []verify.Check{
		{Name: "memory", Max: new(100.0), Failures: 3, Severity: verify.SeverityRequired}, {Name: "selftest", Kind: verify.CheckExec, Failures: 1}, {Name: "page", Failures: 5},
	}
	if diff := cmp.Diff(wantChecks, tightenChecks(list, checks)); diff != "" {
		t.Error(diff)
	}
}

package agent

import (
	"cmp"
	"slices"

	"slipstream/agent/config"
	"slipstream/agent/invariant"
	"slipstream/verify"
)

// tightenStream are a stream's invariants with the device's own bounds: of each the
// stricter word holds.
func tightenStream(list []config.Tighten, s verify.Stream) []verify.Invariant {
	out := slices.Clone(s.Invariants)
	for i := range out {
		for _, t := range list {
			if t.Stream != s.Name || t.Name != out[i].Name {
				continue
			}
			out[i].Min, out[i].Max = higher(out[i].Min, t.Min), lower(out[i].Max, t.Max)
			if t.Required {
				out[i].Severity = verify.SeverityRequired
			}
		}
	}
	return out
}

// tightenChecks are an app's checks with the device's own bounds.
func tightenChecks(list []config.Tighten, checks []verify.Check) []verify.Check {
	out := slices.Clone(checks)
	for i := range out {
		for _, t := range list {
			if t.Stream != "" || t.Name != out[i].Name {
				continue
			}
			if out[i].Max != nil { // what has no values has no bound
				out[i].Max = lower(out[i].Max, t.Max)
			}
			if t.Failures > 0 {
				out[i].Failures = min(cmp.Or(out[i].Failures, invariant.DefaultFailures), t.Failures)
			}
			if t.Required {
				out[i].Severity = verify.SeverityRequired
			}
		}
	}
	return out
}

func higher(declared, own *float64) *float64 {
	if own == nil || declared != nil && *declared >= *own {
		return declared
	}
	return own
}

func lower(declared, own *float64) *float64 {
	if own == nil || declared != nil && *declared <= *own {
		return declared
	}
	return own
}

package bench

import "slipstream/testrig/viewer"

// measure is one figure of a load.
type measure struct {
	name, unit string
	of         func(cost) float64
	overFloor  bool // also what a server adds to the floor
}

var measures = []measure{
	{"CPU per packet", "µs", func(c cost) float64 { return c.perPacket }, false},
	{"memory", "MB", func(c cost) float64 { return c.memory }, false},
	{"latency p50, first packet", "ms", func(c cost) float64 { return c.FirstP50 }, true},
	{"latency p99, first packet", "ms", func(c cost) float64 { return c.FirstP99 }, true},
	{"latency p50, whole frame", "ms", func(c cost) float64 { return c.WholeP50 }, true},
	{"latency p99, whole frame", "ms", func(c cost) float64 { return c.WholeP99 }, true},
	{"packets lost", "", func(c cost) float64 { return float64(c.Lost) }, false},
}

// added is the name of what a server adds to the floor of a measure.
const added = "added "

// compare makes the figures of one load of what every run has cost each server; nil
// is a run that failed.
func compare(l load, costs map[string][]*cost) (figures []Figure) {
	for _, m := range measures {
		for _, name := range []string{ours, oursIngest} {
			if len(costs[name]) == 0 {
				continue
			}
			figures = append(figures, beside(l, m.name, name, m.unit, costs, m.of))
			if !m.overFloor {
				continue
			}
			all := &figures[len(figures)-1]
			all.FloorSamples = samples(costs[floor], m.of)
			least := median(all.FloorSamples)
			all.Floor = &least
			figures = append(figures, beside(l, added+m.name, name, m.unit, overFloor(costs, m.of), func(over float64) float64 { return over }))
		}
	}
	return figures
}

// beside is a figure of ours beside the peer's.
func beside[T any](l load, what, name, unit string, runs map[string][]*T, of func(T) float64) Figure {
	f := Figure{Name: l.String() + ": " + what, Unit: unit, Samples: samples(runs[name], of), Targets: targetsOf(l, name, what)}
	f.Value = median(f.Samples)
	if name == oursIngest {
		f.Name += ", published by RTSP"
	}
	if theirs := samples(runs[peer], of); len(theirs) > 0 {
		f.Reference, f.ReferenceValue, f.ReferenceSamples = peer, median(theirs), theirs
	}
	return f
}

// overFloor is by how much each run was over the floor that was measured just before
// it: what else this machine was doing is in both.
func overFloor(costs map[string][]*cost, of func(cost) float64) map[string][]*float64 {
	over := map[string][]*float64{}
	for name, runs := range costs {
		for i, c := range runs {
			if c == nil {
				over[name] = append(over[name], nil)
				continue
			}
			more := of(*c) - of(*costs[floor][i])
			over[name] = append(over[name], &more)
		}
	}
	return over
}

// samples are those of the runs that did not fail.
func samples[T any](runs []*T, of func(T) float64) (values []float64) {
	for _, r := range runs {
		if r != nil {
			values = append(values, of(*r))
		}
	}
	return values
}

// targetsOf is what design §15 and the research ask of a cell.
func targetsOf(l load, name, measure string) []Target {
	whep := l.kind == viewer.WHEP
	switch {
	case measure == "packets lost":
		return []Target{atMost(0)}
	case whep && l.viewers == 100 && measure == "CPU per packet":
		return []Target{shareOf(1. / 4), atMost(2.7)}
	case !whep && l.viewers == 100 && measure == "CPU per packet":
		return []Target{shareOf(1 / 2.5)}
	case whep && l.viewers == 100 && measure == "memory":
		return []Target{shareOf(1. / 10), atMost(45)}
	case !whep || name != ours || measure != added+"latency p50, first packet" && measure != added+"latency p50, whole frame":
		return nil
	case l.viewers == 1:
		return []Target{atMost(0.25)}
	case l.viewers == 100:
		return []Target{atMost(3)}
	}
	return nil
}

package core

import (
	"slices"

	"slipstream/stream/orders"
)

// ignores says that a way of seeing a death is switched off, which tests and
// benchmarks do.
func (c *Core) ignores(by string) bool { return slices.Contains(c.config.Ignore, by) }

// withoutStalls is a source whose streams have no stall limits.
func withoutStalls(spec orders.Source) orders.Source {
	spec.Streams = slices.Clone(spec.Streams)
	for i := range spec.Streams {
		spec.Streams[i].StallMS = 0
	}
	return spec
}

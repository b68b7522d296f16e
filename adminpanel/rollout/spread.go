package rollout

import (
	"math"
	"slices"
	"strings"

	"slipstream/adminpanel/view"
)

// spread counts values by size, 16 sizes to a power of two, so that quantiles of any
// number of them are known to some 4 %.
type spread struct {
	n     int
	most  float64
	sizes [16 * 32]int
}

const sizesPerDouble = 16

func (s *spread) add(v float64) {
	s.n++
	s.most = max(s.most, v)
	at := int(math.Log2(max(v, 0.001)*1000) * sizesPerDouble)
	s.sizes[min(max(at, 0), len(s.sizes)-1)]++
}

// quantile is the value that a share q of all are not above; 0 without any.
func (s *spread) quantile(q float64) float64 {
	seen := 0
	for at, n := range s.sizes {
		seen += n
		if n > 0 && float64(seen) >= q*float64(s.n) {
			return min(s.most, math.Exp2((float64(at)+1)/sizesPerDouble)/1000)
		}
	}
	return 0
}

// cause counts the devices that failed in one way, and names a few.
type cause struct {
	devices int
	sample  []string
}

const maxSample = 5

// blame adds or takes away (n = -1) a device that failed.
func (r *Rollout) blame(d *device, n int) {
	c := r.causes[d.Cause]
	if c == nil {
		c = &cause{}
		r.causes[d.Cause] = c
	}
	c.devices += n
	switch {
	case c.devices == 0:
		delete(r.causes, d.Cause)
	case n < 0:
		c.sample = slices.DeleteFunc(c.sample, func(id string) bool { return id == d.Device })
	case len(c.sample) < maxSample:
		c.sample = append(c.sample, d.Device)
	}
}

func isWindow(name string) bool { return strings.HasPrefix(name, "window ") }

// failureCauses lists them, the most frequent first.
func (r *Rollout) failureCauses() []view.Cause {
	list := make([]view.Cause, 0, len(r.causes))
	for name, c := range r.causes {
		list = append(list, view.Cause{Cause: name, Devices: c.devices, Sample: slices.Clone(c.sample)})
	}
	slices.SortFunc(list, func(a, b view.Cause) int {
		if a.Devices != b.Devices {
			return b.Devices - a.Devices
		}
		return strings.Compare(a.Cause, b.Cause)
	})
	return list
}

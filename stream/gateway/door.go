package gateway

import (
	"net/netip"
	"sync"
)

// door bounds the connections of viewers who do not watch yet, all and by address,
// so that whoever only holds connections open shuts nobody else out.
type door struct {
	most, mostEach int

	mu   sync.Mutex // guards what follows
	all  int
	from map[netip.Addr]int
}

func newDoor(most, mostEach int) *door {
	return &door{most: most, mostEach: mostEach, from: map[netip.Addr]int{}}
}

// enter reports false if there are too many already. A leave belongs to each
// enter that was granted.
func (d *door) enter(a netip.Addr) bool {
	a = household(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.most || d.from[a] >= d.mostEach {
		return false
	}
	d.all++
	d.from[a]++
	return true
}

func (d *door) leave(a netip.Addr) {
	a = household(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.from[a]--; d.from[a] == 0 {
		delete(d.from, a)
	}
}

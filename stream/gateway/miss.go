package gateway

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxMisses is how often an address may be wrong within missTime; then it has
	// to wait for as long.
	maxMisses = 10
	missTime  = time.Minute

	// maxMissing bounds the addresses that are remembered; beyond it the one that
	// was wrong longest ago is forgotten.
	maxMissing = 1024
)

// nobodys is the secret of viewers who do not exist.
var nobodys = rand.Text()

// missTable counts wrong credentials by address; its zero value is ready.
type missTable struct {
	mu sync.Mutex // guards all
	of map[netip.Addr]misses
}

type misses struct {
	n     int
	since time.Time // the first of n, or when the last allowed one came
}

// add counts a miss; it reports true for the one that is one too many.
func (t *missTable) add(from netip.Addr, now time.Time) bool {
	from = household(from)
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.of[from]
	if !ok || now.Sub(m.since) >= missTime {
		m = misses{since: now}
		t.room()
	}
	m.n++
	last := m.n == maxMisses
	if last {
		m.since = now
	}
	t.of[from] = m
	return last
}

// room makes place for one more address.
func (t *missTable) room() {
	if t.of == nil {
		t.of = map[netip.Addr]misses{}
	}
	if len(t.of) < maxMissing {
		return
	}
	var oldest netip.Addr
	for from, m := range t.of {
		if o, ok := t.of[oldest]; !ok || m.since.Before(o.since) {
			oldest = from
		}
	}
	delete(t.of, oldest)
}

func (t *missTable) full(from netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.of[household(from)]
	return ok && m.n >= maxMisses && now.Sub(m.since) < missTime
}

// household is what limits by address count as one: a network of IPv6 gives each
// of its machines as many addresses as it likes.
func household(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

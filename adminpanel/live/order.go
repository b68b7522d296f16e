package live

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxWaiting bounds what waits for a packet before it.
	maxWaiting = 1024
	// giveUp is how long a packet may be late before all is left out up to the next key
	// frame: a round trip or two, and less than a viewer's own patience.
	giveUp = 400 * time.Millisecond
	// askEvery is the pause between two requests for what is missing.
	askEvery = 60 * time.Millisecond
	// maxMissing bounds what is asked for at a time.
	maxMissing = 128
)

// order puts packets in order, by their numbers.
type order struct {
	started bool
	next    uint16
	waiting map[uint16][]byte
	since   time.Time // since when something is missing; zero: nothing is
	asked   time.Time
}

// take takes a packet and gives out what is next, in order. It reports false for one
// that says that much is lost: then what came before it is forgotten.
func (o *order) take(seq uint16, pkt []byte, now time.Time, give func([]byte)) (follows bool) {
	if !o.started {
		o.started, o.next, o.waiting = true, seq, map[uint16][]byte{}
	}
	ahead := int16(seq - o.next)
	switch {
	case ahead < 0: // it was sent again, or comes too late
		return true
	case ahead >= maxWaiting:
		clear(o.waiting)
		o.next, o.since = seq+1, time.Time{}
		give(pkt)
		return false
	}
	o.waiting[seq] = pkt
	o.release(now, give)
	return true
}

func (o *order) release(now time.Time, give func([]byte)) {
	for pkt, ok := o.waiting[o.next]; ok; pkt, ok = o.waiting[o.next] {
		delete(o.waiting, o.next)
		o.next++
		o.since = time.Time{}
		give(pkt)
	}
	if len(o.waiting) > 0 && o.since.IsZero() {
		o.since = now
	}
}

// late says whether something has been missing for too long.
func (o *order) late(now time.Time) bool { return !o.since.IsZero() && now.Sub(o.since) > giveUp }

// skip goes on behind what is missing.
func (o *order) skip(now time.Time, give func([]byte)) {
	ahead := func(seq uint16) uint16 { return seq - o.next }
	first, found := uint16(0), false
	for seq := range o.waiting {
		if !found || ahead(seq) < ahead(first) {
			first, found = seq, true
		}
	}
	o.since = time.Time{}
	if found {
		o.next = first
		o.release(now, give)
	}
}

// missing is what is to be asked for now.
func (o *order) missing(now time.Time) (seqs []uint16) {
	if o.since.IsZero() || now.Sub(o.asked) < askEvery {
		return nil
	}
	o.asked = now
	var last uint16
	for seq := range o.waiting {
		last = max(last, seq-o.next)
	}
	for n := range min(last, maxMissing) {
		if _, came := o.waiting[o.next+n]; !came {
			seqs = append(seqs, o.next+n)
		}
	}
	slices.SortFunc(seqs, func(a, b uint16) int { return cmp.Compare(a-o.next, b-o.next) })
	return seqs
}

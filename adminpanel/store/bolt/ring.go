package bolt

import (
	"context"
	"strings"
	"sync"

	"slipstream/adminpanel/store"
)

// How far a watcher may be behind. Who is further behind scans again, which takes less than to
// hold for all time what happened while a fleet was enrolled.
const (
	ringSize  = 16384   // changes
	ringBytes = 4 << 20 // of their values
)

// ring holds the newest changes for those who watch.
type ring struct {
	mu     sync.Mutex
	events []store.Event // the newest, oldest first
	bytes  int           // of their values
	base   int64         // number of the first of them since the ring was made
	since  int64         // all changes after this revision are in it, or were
	lost   int64         // newest revision that is no more in it
	wake   chan struct{} // closed when something is added
}

func newRing(rev int64) *ring {
	return &ring{since: rev, lost: rev, wake: make(chan struct{})}
}

func (r *ring) add(events []store.Event, rev int64) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	for _, e := range events {
		r.bytes += len(e.Value)
	}
	if len(r.events) >= 2*ringSize || r.bytes >= 2*ringBytes { // seldom, for it copies
		r.drop()
	}
	r.since = rev
	close(r.wake)
	r.wake = make(chan struct{})
}

// drop forgets the oldest, of which there are too many.
func (r *ring) drop() {
	over := 0
	for ; len(r.events)-over > ringSize || r.bytes > ringBytes; over++ {
		r.bytes -= len(r.events[over].Value)
	}
	r.lost = r.events[over-1].Rev
	r.events = append([]store.Event(nil), r.events[over:]...)
	r.base += int64(over)
}

// after finds the number of the first change after a revision; false if it is gone.
func (r *ring) after(rev int64) (int64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rev < r.lost {
		return 0, false
	}
	for i, e := range r.events {
		if e.Rev > rev {
			return r.base + int64(i), true
		}
	}
	return r.base + int64(len(r.events)), true
}

// from returns the changes since a number, or a channel that tells of the next one.
func (r *ring) from(number int64) (events []store.Event, wake <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number < r.base {
		return nil, nil, false
	}
	return r.events[number-r.base:], r.wake, true
}

// Watch implements [store.Store].
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (<-chan store.Event, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	out := make(chan store.Event)
	number, ok := s.ring.after(after)
	if !ok {
		close(out)
		return out, nil
	}
	s.work.Go(func() {
		defer close(out)
		s.feed(ctx, out, prefix, number)
	})
	return out, nil
}

func (s *Store) feed(ctx context.Context, out chan<- store.Event, prefix string, number int64) {
	for {
		events, wake, ok := s.ring.from(number)
		if !ok {
			return
		}
		for _, e := range events {
			number++
			if !strings.HasPrefix(e.Key, prefix) {
				continue
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			case <-s.ctx.Done():
				return
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

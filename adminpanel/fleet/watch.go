package fleet

import (
	"maps"
	"slices"
)

// Watch gathers the ids of devices that changed. However slow its reader is, it holds
// each id once and delays nobody.
type Watch struct {
	fleet *Fleet
	dirty map[string]struct{} // guarded by fleet.mu
	wake  chan struct{}       // holds one token while dirty is not empty
}

// Watch begins to gather. Whoever watches calls Close.
func (f *Fleet) Watch() *Watch {
	w := &Watch{fleet: f, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w] = struct{}{}
	return w
}

// Changed is readable when Take would return something.
func (w *Watch) Changed() <-chan struct{} { return w.wake }

// Take returns the ids that changed since the last Take, sorted. One that is not in the
// table any more was removed.
func (w *Watch) Take() []string {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	ids := slices.Sorted(maps.Keys(w.dirty))
	clear(w.dirty)
	return ids
}

// Close ends the gathering.
func (w *Watch) Close() {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	delete(w.fleet.watchers, w)
}

// touch needs the lock.
func (f *Fleet) touch(id string) {
	for w := range f.watchers {
		w.dirty[id] = struct{}{}
		wake(w.wake)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

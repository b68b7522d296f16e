package hub

import (
	"maps"
	"slices"
)

// Watch gathers the names of devices that changed. However slow its reader is,
// it holds each name once and delays nobody.
type Watch struct {
	hub   *Hub
	dirty map[string]struct{} // guarded by hub.mu
	wake  chan struct{}       // holds one token while dirty is not empty
}

// Watch begins to gather. Whoever watches calls Close.
func (h *Hub) Watch() *Watch {
	w := &Watch{hub: h, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return w
}

// Changed is readable when Take would return something.
func (w *Watch) Changed() <-chan struct{} { return w.wake }

// Take returns the names that changed since the last Take, sorted.
func (w *Watch) Take() []string {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	names := slices.Sorted(maps.Keys(w.dirty))
	clear(w.dirty)
	return names
}

// Close ends the gathering.
func (w *Watch) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}

// touch marks a device as changed. The caller holds h.mu.
func (h *Hub) touch(id string) {
	for w := range h.watchers {
		w.dirty[id] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

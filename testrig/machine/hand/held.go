package hand

import (
	"net"
	"sync"
)

// Held are the connections that somebody has open, so that his end is theirs, too. The zero
// value holds none.
type Held struct {
	mu    sync.Mutex // guards what follows
	ended bool
	open  map[net.Conn]bool
}

// Hold takes a connection, or closes it and says false if all has ended.
func (h *Held) Hold(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		c.Close()
		return false
	}
	if h.open == nil {
		h.open = map[net.Conn]bool{}
	}
	h.open[c] = true
	return true
}

// Drop closes a connection that is held no more.
func (h *Held) Drop(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c)
	c.Close()
}

// End closes all, and whatever is still to come.
func (h *Held) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for c := range h.open {
		c.Close()
	}
}

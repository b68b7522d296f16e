package core

import (
	"slices"

	"slipstream/stream/orders"
)

// handOver times what a stream's viewers are given, where it leaves for the sockets.
type handOver struct {
	line uint64 // number of the line of the newest frame that a viewer was given …
	unit uint64 // … and its own
	at   int64  // when the first viewer had all of it; 0: there was none
	from int64  // the same of the last frame before a switch whose first is not yet out
	gap  int64  // of the last switch
}

// handed notes that a viewer was given a whole frame.
func (s *stream) handed(c *Core, l *line, unit uint64) {
	h := &s.out
	if l != s.followed || h.from == 0 && h.line == l.number && unit <= h.unit {
		return // a laggard's, or one that others had before
	}
	now := c.now()
	if h.from != 0 {
		h.gap, h.from = now-h.from, 0
	}
	h.line, h.unit, h.at = l.number, unit, now
}

// begin begins to time a switch.
func (h *handOver) begin() { h.gap, h.from = 0, h.at }

// gapMS is how long a stream's viewers were given no frame at its last switch; so
// far, if they still wait for one.
func (s *stream) gapMS(now int64) float64 {
	switch h := &s.out; {
	case len(s.tracks) == 0:
		return 0
	case h.from != 0:
		return milliseconds(now - h.from)
	default:
		return milliseconds(h.gap)
	}
}

// held is the report on a stream that has no source now: its sessions are held, and
// its source's next key frame continues them.
func (s *stream) held(now int64) orders.StreamSwitch {
	r := orders.StreamSwitch{Name: s.name, Viewers: len(s.tracks)}
	if s.out.at != 0 && len(s.tracks) > 0 {
		r.GapMS = milliseconds(now - s.out.at)
	}
	return r
}

// amendment is a revert that was reported while viewers had no source to go back to.
// It is reported again when they have one.
type amendment struct {
	report orders.Reverted
	left   []*stream
}

// amend completes the last revert's report by what a stream's viewers got when they
// were back at last.
func (c *Core) amend(s *stream, report orders.StreamSwitch) {
	a := c.amendment
	if a == nil || c.trial.phase != steady {
		return
	}
	for n := range a.report.Streams {
		if a.report.Streams[n].Name == s.name {
			a.report.Streams[n] = report
		}
	}
	if a.left = slices.DeleteFunc(a.left, func(o *stream) bool { return o == s }); len(a.left) > 0 {
		return
	}
	c.amendment = nil
	a.report.Source, a.report.First, a.report.Done = c.permanent, max(c.firstOut, 0), c.now()
	c.firstOut = -1
	c.ended.add(ending{Reverted: a.report})
	c.tell(orders.Message{Revert: &a.report})
}

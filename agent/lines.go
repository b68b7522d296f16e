package agent

import (
	"fmt"
	"slices"
	"time"

	"slipstream/stream/orders"
)

// lostGrace is how long an app that lives, and whose stream is lost, may take to
// publish it again before it is ended and started anew. It is longer than the
// second between two of the forwarder's reports.
const lostGrace = 5 * time.Second

// Lost is a stream that the forwarder no longer gets from an app that may live.
type Lost struct {
	Stream string `json:"stream"` // "" for all of the app's
	At     int64  `json:"at"`
	Detail string `json:"detail"`
}

// lineLost notes a lost line. A trial is the forwarder's to judge; what is
// permanent by the time the grace is over is judged by judgeLines.
func (m *machine) lineLost(e LineLost) {
	i := m.slotOf(e.Source)
	if i < 0 {
		return
	}
	app := &m.Apps[i]
	app.Lost = slices.DeleteFunc(slices.Clone(app.Lost), func(l Lost) bool { return l.Stream == e.Stream })
	app.Lost = append(app.Lost, e.Lost)
}

// linesSeen compares the forwarder's report with what is waited for.
func (m *machine) linesSeen(e LinesSeen) {
	for i := range m.Apps {
		m.judgeLines(i, e.Streams)
	}
	if m.onScreen(e.Streams) {
		m.retire()
	}
}

// judgeLines ends a permanent app that lives and does not publish. A frame that
// came after the loss says that it publishes again.
func (m *machine) judgeLines(i int, streams []orders.StreamStatus) {
	app, slot := &m.Apps[i], slotNames[i]
	if len(app.Lost) == 0 {
		return
	}
	declared := m.version(slot).Streams
	app.Lost = slices.DeleteFunc(slices.Clone(app.Lost), func(l Lost) bool {
		names := []string{l.Stream}
		if l.Stream == "" {
			names = declared
		}
		return !slices.ContainsFunc(names, func(name string) bool { return !sends(streams, name, app.Source, l.At) })
	})
	over := slices.IndexFunc(app.Lost, func(l Lost) bool { return m.now-l.At >= int64(lostGrace) })
	if over < 0 || app.Status != AppRunning || !m.restarts(slot) {
		return
	}
	what, l := "a stream", app.Lost[over]
	if l.Stream != "" {
		what = "stream " + l.Stream
	}
	m.endPermanent(slot, revertGrace, fmt.Sprintf("ended because it did not publish %s again, which was lost: %s", what, l.Detail))
}

// sends says whether a frame of a stream came from a source after a time.
func sends(streams []orders.StreamStatus, name string, source orders.SourceID, after int64) bool {
	return slices.ContainsFunc(streams, func(s orders.StreamStatus) bool {
		return s.Name == name && slices.ContainsFunc(s.Lines, func(l orders.LineStatus) bool {
			return l.Source == source && l.LastFrame > after
		})
	})
}

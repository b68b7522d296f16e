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
	m.Trial.seen = ""
	if m.onScreen(e.Streams) {
		m.Trial.seen = m.followed()
		m.retire()
		m.returned()
	}
}

// judgeLines ends a permanent app that lives and does not publish. A frame that
// came after the loss says that it publishes again; of a stream that has frames on
// events only, a publisher that is connected says so.
func (m *machine) judgeLines(i int, streams []orders.StreamStatus) {
	app, slot := &m.Apps[i], slotNames[i]
	m.noticeLines(i, streams)
	if len(app.Lost) == 0 || m.frozen(*app) {
		return
	}
	v := m.version(slot)
	app.Lost = slices.DeleteFunc(slices.Clone(app.Lost), func(l Lost) bool {
		names := []string{l.Stream}
		if l.Stream == "" {
			names = v.Streams
		}
		return !slices.ContainsFunc(names, func(name string) bool {
			line := lineOf(streams, name, app.Source)
			return line.LastFrame <= l.At && !(line.Alive && slices.Contains(v.Events, name))
		})
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

// noticeLines notes streams of the permanent app that nobody publishes and of
// which no loss was heard: a forwarder that was started anew has none to report.
// Until its start timeout is over an app may still be about to publish.
func (m *machine) noticeLines(i int, streams []orders.StreamStatus) {
	app, slot := &m.Apps[i], slotNames[i]
	if slot != m.Permanent.Slot || app.Status != AppRunning || m.now < app.StartBy || m.Trial.under() {
		return
	}
	for _, name := range m.version(slot).Streams {
		line := lineOf(streams, name, app.Source)
		known := slices.ContainsFunc(app.Lost, func(l Lost) bool { return l.Stream == "" || l.Stream == name })
		if !known && !line.Alive && line.LastFrame <= m.now-int64(lostGrace) {
			app.Lost = append(slices.Clone(app.Lost), Lost{Stream: name, At: m.now, Detail: "nobody publishes it"})
		}
	}
}

// lineOf is a source's line of a stream; zero if there is none.
func lineOf(streams []orders.StreamStatus, name string, source orders.SourceID) orders.LineStatus {
	for _, s := range streams {
		for _, l := range s.Lines {
			if s.Name == name && l.Source == source {
				return l
			}
		}
	}
	return orders.LineStatus{}
}

package agent

import (
	"fmt"
	"slices"

	"slipstream/agent/control"
)

// await keeps the request of an operator whose greenlight is being made: it is
// done when the marker was seen, and not before.
func (m *machine) await(req uint64) {
	t := &m.Trial
	t.waiting = append(slices.Clone(t.waiting), req)
	m.do(MakeMarker{t.ID})
}

// answerWaiting answers those who wait for a trial's greenlight.
func (m *machine) answerWaiting(t *Trial, exit int, sentence string) {
	for _, req := range t.waiting {
		m.answer(req, exit, "", "%s", sentence)
	}
	t.waiting = nil
}

func (m *machine) markerSeen(e MarkerSeen) {
	t := &m.Trial
	if e.Trial != t.ID || !m.open() {
		return
	}
	t.Latched = true
	then := "it becomes permanent after its soak time"
	if t.SoakEnds > 0 && m.now >= t.SoakEnds {
		then = "it becomes permanent now"
	}
	m.answerWaiting(t, control.ExitDone, fmt.Sprintf("version %s has its greenlight; %s", t.To.Version, then))
}

func (m *machine) markerFailed(e MarkerFailed) {
	if e.Trial == m.Trial.ID {
		m.answerWaiting(&m.Trial, control.ExitError, e.Error)
	}
}

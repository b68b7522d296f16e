package demo

import (
	"fmt"
	"slices"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
)

// The targets of the design.
const (
	frameMS     = 1000.0 / camera.FrameRate
	gapSlackMS  = frameMS + 2 // beyond the control stream's longest gap
	maxJumpMS   = 500.0
	maxRevertMS = 1000.0 // beyond any target: a figure that is no measurement
)

// problems compares an update with what has to become of it. Each is a plain sentence.
func (st step) problems(u Update) (list []string) {
	complain := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if u.Outcome != st.outcome {
		complain("the outcome is %s (%s), not %s", u.Outcome, u.Reason, st.outcome)
	}
	if len(st.reasons) > 0 && u.Outcome == st.outcome && !slices.Contains(st.reasons, u.Reason) {
		complain("the reason is %q, not %q", u.Reason, st.reasons[0])
	}
	if u.ViewersLost > 0 {
		complain("%d viewers were lost", u.ViewersLost)
	}
	limit := u.ControlGapMS + gapSlackMS
	if st.hangs {
		limit += u.stallMS
	}
	for _, s := range u.Streams {
		if s.LongestGapMS > limit {
			complain("stream %s: the longest gap is %.1f ms, allowed are %.1f ms (control %.1f ms)", s.Name, s.LongestGapMS, limit, u.ControlGapMS)
		}
		if s.FramesLost != 0 {
			complain("stream %s: %d frames lost", s.Name, s.FramesLost)
		}
		if s.SeqBreaks != 0 || s.TimestampBreaks != 0 {
			complain("stream %s: %d sequence and %d timestamp breaks", s.Name, s.SeqBreaks, s.TimestampBreaks)
		}
		if s.ContentJumpMS > maxJumpMS {
			complain("stream %s: the picture went back by %.0f ms", s.Name, s.ContentJumpMS)
		}
	}
	list = append(list, st.seen(u)...)
	if u.Outcome == control.OutcomeReverted {
		list = append(list, st.timed(u)...)
	}
	return list
}

// seen checks that viewers saw what the outcome says.
func (st step) seen(u Update) (list []string) {
	want := []string{u.From}
	switch st.outcome {
	case control.OutcomePermanent:
		want = []string{u.From, u.To}
	case control.OutcomeReverted:
		want = []string{u.From, u.To, u.From}
	}
	for _, v := range u.Viewers {
		if v.Duplicates > 0 {
			list = append(list, fmt.Sprintf("%d packets came twice to a %s viewer of %s", v.Duplicates, v.Kind, v.Stream))
		}
		if !slices.Equal(v.Versions, want) {
			list = append(list, fmt.Sprintf("a %s viewer of %s saw the versions %v, not %v", v.Kind, v.Stream, v.Versions, want))
		}
	}
	return list
}

// timed checks that a revert's times were measured at all.
func (st step) timed(u Update) (list []string) {
	check := func(what string, ms *float64, needed bool) {
		switch {
		case ms == nil && needed:
			list = append(list, what+" was not measured")
		case ms != nil && (*ms < 0 || *ms > maxRevertMS):
			list = append(list, fmt.Sprintf("%s of %.1f ms is no measurement", what, *ms))
		}
	}
	check("the time to detect", u.DetectMS, st.fault.Kind != "")
	check("the time to switch", u.SwitchMS, true)
	check("the time to the first packet", u.FirstPacketMS, true)
	return list
}

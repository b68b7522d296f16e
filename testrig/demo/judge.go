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

// problem is one thing that is not as it has to be, in a plain sentence.
type problem struct {
	text string
	gap  bool // a gap alone: the machine may have made it, see [Run]
}

type problems []problem

func (p *problems) add(format string, args ...any) {
	*p = append(*p, problem{text: fmt.Sprintf(format, args...)})
}

// onlyGaps says that all counts and outcomes are right.
func (p problems) onlyGaps() bool {
	return !slices.ContainsFunc(p, func(p problem) bool { return !p.gap })
}

// judge compares an update with what has to become of it.
func (st step) judge(u Update) problems {
	var p problems
	if u.Outcome != st.outcome {
		p.add("the outcome is %s (%s), not %s", u.Outcome, u.Reason, st.outcome)
	}
	if len(st.reasons) > 0 && u.Outcome == st.outcome && !slices.Contains(st.reasons, u.Reason) {
		p.add("the reason is %q, not %q", u.Reason, st.reasons[0])
	}
	if !st.hangs {
		st.judgeScenes(&p, u)
	}
	if u.ViewersLost > 0 {
		p.add("%d viewers were lost", u.ViewersLost)
	}
	st.judgeStreams(&p, u)
	st.judgeViewers(&p, u)
	st.judgeCarried(&p, u)
	if u.Outcome == control.OutcomeReverted {
		st.judgeTimes(&p, u)
	}
	return p
}

func (st step) judgeStreams(p *problems, u Update) {
	limit := u.ControlGapMS + gapSlackMS
	if st.hangs {
		limit += u.stallMS
	}
	for _, s := range u.Streams {
		if s.LongestGapMS > limit {
			p.add("stream %s: the longest gap is %.1f ms, allowed are %.1f ms (control %.1f ms)", s.Name, s.LongestGapMS, limit, u.ControlGapMS)
			(*p)[len(*p)-1].gap = true
		}
		if s.FramesLost != 0 {
			p.add("stream %s: %d frames lost", s.Name, s.FramesLost)
		}
		if s.SeqBreaks != 0 || s.TimestampBreaks != 0 {
			p.add("stream %s: %d sequence and %d timestamp breaks", s.Name, s.SeqBreaks, s.TimestampBreaks)
		}
		if s.ContentJumpMS > maxJumpMS {
			p.add("stream %s: the picture went back by %.0f ms", s.Name, s.ContentJumpMS)
		}
	}
}

// judgeScenes checks that some version showed every scene. Only a version that
// hangs may leave some out: nobody shows them until that is noticed.
func (st step) judgeScenes(p *problems, u Update) {
	for _, v := range u.Viewers {
		if v.SkippedFrames > 0 {
			p.add("%d scenes were shown by no version to a %s viewer of %s", v.SkippedFrames, v.Kind, v.Stream)
		}
	}
}

// judgeViewers checks that each saw what the outcome says.
func (st step) judgeViewers(p *problems, u Update) {
	want := []string{u.From}
	switch st.outcome {
	case control.OutcomePermanent:
		want = []string{u.From, u.To}
	case control.OutcomeReverted:
		want = []string{u.From, u.To, u.From}
	}
	for _, v := range u.Viewers {
		if v.Duplicates > 0 {
			p.add("%d packets came twice to a %s viewer of %s", v.Duplicates, v.Kind, v.Stream)
		}
		if !slices.Equal(v.Versions, want) {
			p.add("a %s viewer of %s saw the versions %v, not %v", v.Kind, v.Stream, v.Versions, want)
		}
	}
}

// judgeTimes checks that a revert's times were measured at all.
func (st step) judgeTimes(p *problems, u Update) {
	most := maxRevertMS
	if st.hangs {
		most += u.stallMS
	}
	check := func(what string, ms *float64, needed bool) {
		switch {
		case ms == nil && needed:
			p.add("%s was not measured", what)
		case ms != nil && (*ms < 0 || *ms > most):
			p.add("%s of %.1f ms is no measurement", what, *ms)
		}
	}
	check("the time to detect", u.DetectMS, st.fault.Kind != "")
	check("the time to switch", u.SwitchMS, true)
	check("the time to the first packet", u.FirstPacketMS, true)
}

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"slipstream/agent/control"
)

type (
	// CancelAsked asks for the end of the staging under way. It is answered when
	// nothing is written any more.
	CancelAsked struct {
		Req  uint64
		Left uint64 // request whose caller has left, and that alone is ended; 0: an operator asks
	}
	// CancelStage ends an attempt. Answered by [StageDone].
	CancelStage struct {
		Attempt int64
		Req     uint64 // of [StageSlot]
	}
)

// CodeCancelled is that of a staging that was cancelled.
const CodeCancelled = "cancelled"

// calledOff is who wants a staging to end.
type calledOff struct {
	why     string // "": nobody
	waiting []uint64
}

const noWait = "whoever asked for it did not wait for its end"

func (m *machine) cancelAsked(e CancelAsked) {
	st := &m.Stage
	switch {
	case m.Phase != PhaseStaging || e.Left != 0 && e.Left != st.req:
		m.answer(e.Req, control.ExitNothing, "", "%s", m.nothingToCancel())
		return
	case e.Left != 0:
		st.off.why = noWait
	default:
		st.off.why = "an operator cancelled it"
	}
	st.off.waiting = append(slices.Clip(st.off.waiting), e.Req)
	if st.Begun {
		m.do(CancelStage{Attempt: st.Attempt, Req: st.req})
		return
	}
	m.Spare = st.was // not a byte was written
	m.stageDone(StageDone{Attempt: st.Attempt, Code: CodeCancelled, Error: CodeCancelled, Still: st.Again})
}

func (m *machine) nothingToCancel() string {
	if m.open() || m.Phase == PhaseArming || m.Phase == PhaseRebooting {
		return "nothing is being staged; slipstream revert ends the trial"
	}
	return "nothing is being staged"
}

// cancelled tells everybody of a staging that ended because somebody wanted it.
func (m *machine) cancelled(st Stage) {
	v := st.Version
	left := fmt.Sprintf("what was written of it is kept for the next time; to free its space: slipstream clear %s", v.places()[0])
	switch {
	case m.Phase == PhaseStaged:
		left = "it is staged as before"
	case !st.Begun:
		left = "nothing of it was written"
	}
	m.do(Remember{control.Record{
		Time: m.wall, From: m.Permanent.Version, To: v.Version, Digest: v.Digest,
		Outcome: control.OutcomeCancelled, Reason: CodeCancelled, Detail: cmp.Or(st.off.why, noWait),
	}})
	m.answer(st.req, control.ExitError, CodeCancelled, "staging version %s was cancelled; %s", v.Version, left)
	for _, req := range st.off.waiting {
		m.answer(req, control.ExitDone, "", "staging version %s is cancelled; %s", v.Version, left)
	}
}

// tooLate answers those who wanted a staging to end that ended otherwise.
func (m *machine) tooLate(st Stage, how string) {
	for _, req := range st.off.waiting {
		m.answer(req, control.ExitNothing, "", "too late: version %s %s", st.Version.Version, how)
	}
}

// cancelStage is the runner's part.
func (a *Agent) cancelStage(e CancelStage) {
	if a.staging.attempt == e.Attempt {
		a.staging.stop()
	}
}

// staging is the attempt whose slot is being written.
type staging struct {
	attempt int64
	stop    context.CancelFunc
}

// Cancel implements [control.Technician].
func (a *Agent) Cancel(ctx context.Context) control.Result {
	if err := a.ready(ctx); err != nil {
		return unanswered("", err)
	}
	return a.request(ctx, func(req uint64) any { return CancelAsked{Req: req} })
}

// left ends the staging of a caller who does not wait for it any more, and returns when
// nothing reads the package.
func (a *Agent) left(req uint64) {
	_, err := a.ask(context.Background(), func(cancel uint64) any { return CancelAsked{Req: cancel, Left: req} })
	if err != nil && !errors.Is(err, errStopping) {
		a.log.Error("staging not cancelled", "reason", err)
	}
}

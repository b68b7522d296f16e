package agent

import (
	"context"
	"fmt"
	"slices"

	"slipstream/agent/control"
)

// replacing is the forwarder's own update. It is not in the journal: an agent that
// is started anew sees for itself whether the running program is the installed one.
type replacing struct {
	wanted  bool            // as soon as no trial is under way
	under   bool            // the successor is taking over
	waiting []uint64        // requests for it
	later   []ActivateAsked // requests for a trial that wait for its end
}

// replaceAsked is the operator's word.
func (m *machine) replaceAsked(e ReplaceAsked) {
	if m.Trial.under() || m.Phase == PhaseFallback {
		m.busy(e.Req)
		return
	}
	m.replace.wanted = !m.replace.under // the one under way answers this request too
	m.replace.waiting = append(slices.Clip(m.replace.waiting), e.Req)
}

// judgeForwarder has the forwarder replaced outside of trials, so that a trial and
// a take-over never disturb each other.
func (m *machine) judgeForwarder() {
	if m.replace.wanted && !m.replace.under && !m.Trial.under() {
		m.replace.wanted, m.replace.under = false, true
		m.do(ReplaceForwarder{})
	}
}

func (m *machine) forwarderReplaced(e ForwarderReplaced) {
	done := m.replace
	m.replace = replacing{wanted: done.wanted}
	for _, req := range done.waiting {
		if e.Error == "" {
			m.answer(req, control.ExitDone, "", "the forwarder is replaced; viewers noticed nothing")
		} else {
			m.answer(req, control.ExitError, "", "the forwarder was not replaced and goes on: %s", e.Error)
		}
	}
	for _, asked := range done.later {
		m.activateAsked(asked)
	}
}

// replaceForwarder is the runner's part.
func (a *Agent) replaceForwarder(ctx context.Context) {
	err := a.forwarding.replace(ctx)
	if ctx.Err() != nil {
		return // the next agent looks for itself
	}
	e := ForwarderReplaced{}
	if err != nil {
		e.Error = sentence(err)
		a.log.Error("forwarder not replaced; the running one goes on", "reason", err)
	}
	a.setDown(replaceProblem, replacementProblem(e.Error))
	a.post(e)
}

// replaceProblem names, among the daemons, the forwarder that is not the installed one.
const replaceProblem = "replace"

func replacementProblem(why string) string {
	if why == "" {
		return ""
	}
	return fmt.Sprintf("the forwarder could not be replaced by the installed one (%s), and the old one goes on; "+
		"to try it again: slipstream forwarder replace", why)
}

// ReplaceForwarder implements [control.Backend].
func (a *Agent) ReplaceForwarder(ctx context.Context) control.Result {
	if err := a.ready(ctx); err != nil {
		return unanswered("", err)
	}
	return a.request(ctx, func(req uint64) any { return ReplaceAsked{Req: req} })
}

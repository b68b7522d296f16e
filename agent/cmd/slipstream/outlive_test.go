package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"slipstream/agent/control"
)

// successor is the next agent: it answers after a few attempts, shows the trial
// for a while, and then only its history.
type successor struct {
	control.Backend
	asked, silent, shown int
	trial                control.Trial
	past                 []control.Record
}

func (s *successor) Status(context.Context) (control.Status, error) {
	s.asked++
	switch {
	case s.asked <= s.silent:
		return control.Status{}, errors.New("nobody there")
	case s.asked <= s.silent+s.shown:
		return control.Status{Trial: &s.trial}, nil
	}
	return control.Status{}, nil
}

func (s *successor) WaitStatus(ctx context.Context, _ uint64) (control.Status, error) {
	return s.Status(ctx)
}

func (s *successor) History(context.Context, int) ([]control.Record, error) { return s.past, nil }

func TestATrialOutlivesItsAgent(t *testing.T) {
	begun := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	lost := control.Result{Exit: control.ExitError, Code: control.CodeLost, Message: "the agent is stopping"}
	record := func(trial, outcome string, at time.Duration) control.Record {
		return control.Record{Trial: trial, To: "2.0.0", Outcome: outcome, Time: begun.Add(at)}
	}
	later := record("t4", control.OutcomeReverted, time.Hour)
	for _, test := range []struct {
		name   string
		next   *successor
		answer control.Result
		want   int
	}{
		{"it goes on and becomes permanent", &successor{silent: 2, shown: 3, trial: control.Trial{ID: "t3"},
			past: []control.Record{later, record("t3", control.OutcomePermanent, time.Minute)}}, lost, control.ExitDone},
		{"it was over when the agent came", &successor{silent: 2,
			past: []control.Record{record("t3", control.OutcomeReverted, time.Minute)}}, lost, control.ExitReverted},
		{"it never began", &successor{past: []control.Record{record("t2", control.OutcomePermanent, -time.Minute)}}, lost, control.ExitError},
		{"the agent has answered", &successor{}, control.Result{Exit: control.ExitRefused}, control.ExitRefused},
	} {
		if got := outlive(t.Context(), test.next, control.Status{Time: begun}, test.answer); got.Exit != test.want {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

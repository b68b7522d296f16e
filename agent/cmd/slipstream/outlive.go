package main

import (
	"context"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
)

const (
	reconnectLimit = 10 * time.Second // for the next agent to answer
	reconnectEvery = 100 * time.Millisecond
	endingsSeen    = 20 // newest records among which a trial's end is looked for
)

// outlive goes on waiting for a trial whose agent ended before it could answer.
// The trial goes on meanwhile, and the next agent knows how it ended. Any other
// answer stays as it is, and so does this one if no agent comes or none knows.
func outlive(ctx context.Context, b control.Backend, start control.Status, answer control.Result) control.Result {
	if answer.Code != control.CodeLost {
		return answer
	}
	trial := ""
	for {
		s, err := reached(ctx, b)
		if err != nil {
			return answer
		}
		if s.Trial == nil || trial != "" && s.Trial.ID != trial {
			break
		}
		trial = s.Trial.ID
		_, _ = b.WaitStatus(ctx, s.Seq) // an error ends in reached
	}
	records, err := b.History(ctx, endingsSeen)
	if err != nil {
		return answer
	}
	for _, r := range records {
		if r.Trial != "" && (r.Trial == trial || trial == "" && r.Time.After(start.Time)) {
			return ended(r)
		}
	}
	return answer
}

// reached is the status of whoever answers first.
func reached(ctx context.Context, b control.Backend) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, reconnectLimit)
	defer cancel()
	for {
		s, err := b.Status(ctx)
		if err == nil || !agent.Wait(ctx, reconnectEvery) {
			return s, err
		}
	}
}

func ended(r control.Record) control.Result {
	exit := control.ExitReverted
	if r.Outcome == control.OutcomePermanent || r.Outcome == control.OutcomeRehearsed {
		exit = control.ExitDone
	}
	return control.Result{Exit: exit, Record: &r, Message: verdict(r)}
}

package stand

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// trialTime is longer than any use of a stand.
const trialTime = time.Hour

// leaseMS is long enough for the answer to a hold to come back.
const leaseMS = 10_000

// Part is a source as the agent would know it.
type Part struct {
	Source orders.Source
	Pidfd  int // −1: none
}

// NewPart declares a source with the stream, without a pidfd.
func NewPart(id, version string, stall time.Duration) Part {
	return Part{Pidfd: -1, Source: orders.Source{
		ID: orders.SourceID(id), Version: version, UID: -1,
		Streams: []orders.Stream{{Name: Stream, Codec: orders.H264, StallMS: stall.Milliseconds()}},
	}}
}

// Order gives the forwarder its full orders: the first part is the permanent
// source, and any may publish.
func (s *Stand) Order(ctx context.Context, trial *orders.Trial, parts ...Part) error {
	o := orders.Orders{Trial: trial}
	var fds []int
	for i, p := range parts {
		if i == 0 {
			o.Permanent = p.Source.ID
		}
		if p.Pidfd >= 0 {
			fds = append(fds, p.Pidfd)
			p.Source.Pidfd = len(fds)
		}
		o.Sources = append(o.Sources, p.Source)
	}
	if _, err := s.Ask(ctx, orders.Request{Orders: &o}, fds...); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	return nil
}

// Try orders a trial of the second part beside the permanent first one.
func (s *Stand) Try(ctx context.Context, permanent, trial Part) (orders.TrialID, error) {
	s.trials++
	id := orders.TrialID("t-" + strconv.Itoa(s.trials))
	return id, s.Order(ctx, &orders.Trial{ID: id, Source: trial.Source.ID, Deadline: int64(publish.Monotonic() + trialTime)}, permanent, trial)
}

// Switched waits until the trial's source carries the stream.
func (s *Stand) Switched(ctx context.Context, id orders.TrialID) (orders.Switched, error) {
	m, err := s.Event(ctx, "switch of trial "+string(id), func(m orders.Message) bool {
		return m.Switch != nil && m.Switch.Trial == id || m.Revert != nil && m.Revert.Trial == id
	})
	switch {
	case err != nil:
		return orders.Switched{}, err
	case m.Switch == nil:
		return orders.Switched{}, fmt.Errorf("trial %s was reverted before its switch: %s %s", id, m.Revert.Cause, m.Revert.Detail)
	}
	return *m.Switch, nil
}

// Reverted waits until the forwarder has ended the trial by itself.
func (s *Stand) Reverted(ctx context.Context, id orders.TrialID) (orders.Reverted, error) {
	m, err := s.Event(ctx, "revert of trial "+string(id), func(m orders.Message) bool {
		return m.Revert != nil && m.Revert.Trial == id
	})
	if err != nil {
		return orders.Reverted{}, err
	}
	return *m.Revert, nil
}

// Revert ends the trial as an operator would.
func (s *Stand) Revert(ctx context.Context, id orders.TrialID) (orders.Reverted, error) {
	m, err := s.Ask(ctx, orders.Request{Revert: &orders.Revert{Trial: id, Reason: "operator"}})
	switch {
	case err != nil:
		return orders.Reverted{}, fmt.Errorf("revert trial %s: %w", id, err)
	case m.Result != orders.ResultReverted || m.Revert == nil:
		return orders.Reverted{}, fmt.Errorf("revert trial %s: answer %+v", id, m)
	}
	return *m.Revert, nil
}

// Commit makes the trial's source the permanent one.
func (s *Stand) Commit(ctx context.Context, id orders.TrialID, source orders.SourceID) error {
	m, err := s.Ask(ctx, orders.Request{Hold: &orders.Hold{Trial: id, LeaseMS: leaseMS}})
	if err == nil && m.Result != orders.ResultHeld {
		err = fmt.Errorf("hold is answered %+v", m)
	}
	if err == nil {
		m, err = s.Ask(ctx, orders.Request{Settle: &orders.Settle{Trial: id, Source: source}})
	}
	if err == nil && m.Result != orders.ResultSettled {
		err = fmt.Errorf("settle is answered %+v", m)
	}
	if err != nil {
		return fmt.Errorf("commit trial %s: %w", id, err)
	}
	return nil
}

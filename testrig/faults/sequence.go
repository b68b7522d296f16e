package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/stand"
)

// maxFaults is how many faults one sequence has at most, beside its version on trial.
const maxFaults = 4

// sequence is one under way.
type sequence struct {
	*World
	*rand.Rand
	id     string
	trial  orders.TrialID
	part   stand.Part
	misled bool // somebody else has talked to the forwarder as its agent
	closes []func()
}

// note writes down what is done, for the report of a failure.
func (s *sequence) note(format string, args ...any) {
	s.did = append(s.did, fmt.Sprintf(format, args...))
}

// later keeps something until the sequence's end.
func (s *sequence) later(f func()) { s.closes = append(s.closes, f) }

// dice is true in one of n cases.
func (s *sequence) dice(n int) bool { return s.IntN(n) == 0 }

// noise is up to max random bytes, at least one.
func (s *sequence) noise(most int) []byte {
	b := make([]byte, 1+s.IntN(most))
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return b
}

// rest is a short pause, or none.
func (s *sequence) rest(ctx context.Context, most time.Duration) {
	if s.dice(2) {
		return
	}
	select {
	case <-time.After(time.Duration(s.Int64N(int64(most)))):
	case <-ctx.Done():
	}
}

// run tries a version on trial, usually, and other faults meanwhile.
func (s *sequence) run(ctx context.Context) (err error) {
	defer func() {
		for _, end := range slices.Backward(s.closes) {
			end()
		}
	}()
	if !s.dice(4) {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	for range s.IntN(maxFaults + 1) {
		f := faults[s.IntN(len(faults))]
		if s.dice(oneIn) {
			f = lives[s.IntN(len(lives))]
		}
		s.note("%s", f.name)
		if err := f.do(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		s.rest(ctx, 10*time.Millisecond)
	}
	return s.end(ctx)
}

// begin orders a trial, whose version is one of the bad ones.
func (s *sequence) begin(ctx context.Context) error {
	s.part = stand.NewPart("b-"+s.id, "2.0", stallLimit)
	if err := s.Order(ctx, nil, s.old, s.part); err != nil {
		return err
	}
	v := versions[s.IntN(len(versions))]
	s.note("trial of a version that %s", v.name)
	v.play(s, ctx)
	limit := time.Hour
	if s.dice(4) {
		limit = time.Duration(s.Int64N(int64(100 * time.Millisecond)))
		s.note("deadline in %v", limit.Round(time.Millisecond))
	}
	s.trial = orders.TrialID("t-" + s.id)
	trial := &orders.Trial{ID: s.trial, Source: s.part.Source.ID, Deadline: int64(publish.Monotonic() + limit)}
	if err := s.Order(ctx, trial, s.old, s.part); err != nil {
		return err
	}
	if s.dice(2) {
		return s.switched(ctx)
	}
	return nil
}

// switched waits until viewers are on the trial's version, or the trial is over, or
// the version shows nothing.
func (s *sequence) switched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	_, err := s.Event(ctx, "switch", func(m orders.Message) bool {
		return m.Switch != nil && m.Switch.Trial == s.trial || m.Revert != nil && m.Revert.Trial == s.trial
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// end brings the forwarder back to its permanent version, as an agent would that
// knows nothing of what others did.
func (s *sequence) end(ctx context.Context) error {
	if s.misled {
		if err := s.Connect(ctx); err != nil {
			return err
		}
	}
	if s.trial != "" && s.dice(2) {
		s.note("revert")
		if s.misled { // it may have heard of other orders meanwhile
			if err := s.Order(ctx, nil, s.old); err != nil {
				return err
			}
		} else if _, err := s.Revert(ctx, s.trial); err != nil {
			return err
		}
	}
	return s.Order(ctx, nil, s.old)
}

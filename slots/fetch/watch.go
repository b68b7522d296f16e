package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// attempt is one request for the rest of a range. It ends by itself when the server
// gives nothing, or too little. Only time spent waiting for the server counts: the
// reader may be as slow as it likes.
type attempt struct {
	limits Limits
	ctx    context.Context // of this attempt alone
	cancel context.CancelCauseFunc
	stall  *time.Timer
	body   io.ReadCloser

	waited time.Duration // in the window under way
	came   int64         // in it
}

type stalledError struct{ after time.Duration }

func (s stalledError) Error() string { return fmt.Sprintf("the server sent nothing for %v", s.after) }

type slowError struct {
	rate int64
	over time.Duration
}

func (s slowError) Error() string {
	return fmt.Sprintf("the server sent less than %d bytes a second for %v", s.rate, s.over)
}

func begin(ctx context.Context, l Limits, ask func(context.Context) (io.ReadCloser, error)) (*attempt, error) {
	a := &attempt{limits: l}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.stall = time.AfterFunc(l.Stall, func() { a.cancel(stalledError{l.Stall}) })
	body, err := ask(a.ctx)
	a.stall.Stop()
	if err != nil {
		err = a.why(err)
		a.cancel(nil)
		return nil, err
	}
	a.body = body
	return a, nil
}

func (a *attempt) Read(p []byte) (int, error) {
	start := time.Now()
	a.stall.Reset(a.limits.Stall)
	n, err := a.body.Read(p)
	a.stall.Stop()
	a.waited += time.Since(start)
	a.came += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, a.why(err)
	}
	if err == nil && a.waited >= a.limits.Window {
		if a.came < int64(a.waited.Seconds()*float64(a.limits.MinRate)) {
			err = slowError{a.limits.MinRate, a.limits.Window}
		}
		a.waited, a.came = 0, 0
	}
	return n, err
}

// why prefers the reason for which the attempt was ended to how that showed.
func (a *attempt) why(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return err
}

func (a *attempt) Close() error {
	a.stall.Stop()
	a.cancel(nil)
	return a.body.Close()
}

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Download reads a file in spite of a bad line. Its methods may be called at once.
type Download struct {
	file   *File
	limits Limits
	pace   pace
	end    time.Time

	// Paused, if not nil, is told of each pause, and why there is one.
	Paused func(why error, pause time.Duration)
}

// Begin starts the time that the download may take in all.
func Begin(file *File, l Limits) *Download {
	l = l.whole()
	return &Download{file: file, limits: l, pace: newPace(l.MaxRate), end: time.Now().Add(l.Total)}
}

// Size is the file's, 0 before the first range.
func (d *Download) Size() int64 { return d.file.Size() }

// Close closes connections that nobody reads from.
func (d *Download) Close() { d.file.Close() }

type lateError struct{ after time.Duration }

func (l lateError) Error() string { return fmt.Sprintf("the download was not done after %v", l.after) }

// Range returns a reader of n bytes from off on, or fewer at the end of the file.
// It asks again where it stopped, within the limits, for what a connection did not
// bring, and then fails by an [Error]. The context ends it at any time.
func (d *Download) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if err := checkRange(off, n); err != nil {
		return nil, err
	}
	r := &reader{Download: d, off: off, left: n}
	r.outer = ctx
	r.ctx, r.cancel = context.WithDeadlineCause(ctx, d.end, lateError{d.limits.Total})
	if err := r.open(); err != nil {
		r.cancel()
		return nil, err
	}
	r.left = min(n, d.Size()-off)
	return r, nil
}

// reader is one range of a download, in as many attempts as it takes.
type reader struct {
	*Download
	outer  context.Context // the caller's
	ctx    context.Context // ends with the download's time as well
	cancel context.CancelFunc

	off, left int64
	from      *attempt // nil between two
	brought   int64    // by this attempt
	vain      int      // attempts in a row
	err       error    // once failed, it stays so
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 || r.err != nil {
		return 0, r.err
	}
	for {
		if r.from == nil {
			if r.err = r.open(); r.err != nil {
				return 0, r.err
			}
		}
		n, err := r.from.Read(p[:min(len(p), r.pace.step)])
		if waited := r.pace.wait(r.ctx, n); waited != nil {
			r.err = r.ended(r.ctx.Err() == nil)
			return 0, r.err
		}
		r.off, r.left, r.brought = r.off+int64(n), r.left-int64(n), r.brought+int64(n)
		switch {
		case r.left == 0:
			r.err = io.EOF
		case err != nil:
			r.err = r.lost(err)
		}
		if n > 0 || r.err != nil {
			return n, r.err
		}
	}
}

// open asks for what is left until there is an answer to read from.
func (r *reader) open() error {
	for {
		from, err := begin(r.ctx, r.limits, func(ctx context.Context) (io.ReadCloser, error) {
			return r.file.Range(ctx, r.off, r.left)
		})
		if err == nil {
			r.from, r.brought = from, 0
			return nil
		}
		if err := r.again(err); err != nil {
			return err
		}
	}
}

// lost ends an attempt that broke off, and waits until there may be another.
func (r *reader) lost(err error) error {
	r.from.Close()
	r.from = nil
	if _, slow := errors.AsType[slowError](err); !slow && r.brought >= Progress {
		r.vain = 0
	}
	return r.again(err)
}

// again waits until the server may be asked once more, if that can help.
func (r *reader) again(err error) error {
	if r.ctx.Err() != nil {
		return r.ended(false)
	}
	if h, ok := errors.AsType[hopeless](err); ok {
		return &Error{what: h.Error(), todo: h.todo, cause: err}
	}
	r.vain++
	if attempts, todo := r.attempts(err); r.vain >= attempts {
		return &Error{what: r.timesIn(err), todo: todo, cause: err}
	}
	pause := r.pause(err)
	if r.Paused != nil {
		r.Paused(err, pause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return r.ended(false)
	}
}

func (r *reader) timesIn(err error) string {
	if r.vain == 1 {
		return err.Error()
	}
	return fmt.Sprintf("%v, the last of %d attempts in a row", err, r.vain)
}

// attempts is how many may be in vain, and what to do then.
func (r *reader) attempts(err error) (attempts int, todo string) {
	_, silent := errors.AsType[*unreachableError](err)
	if silent && r.file.Size() == 0 {
		return min(FirstAttempts, r.limits.Attempts), nowhere
	}
	return r.limits.Attempts, goesOn
}

// pause grows from attempt to attempt. Many devices that lost the same server come
// back at different times.
func (r *reader) pause(err error) time.Duration {
	pause := min(FirstPause<<min(r.vain-1, 16), MaxPause)
	pause -= rand.N(pause / 2)
	if answer, ok := errors.AsType[*statusError](err); ok {
		pause = max(pause, answer.after)
	}
	return pause
}

// ended tells a caller who has enough from a download that takes too long.
func (r *reader) ended(late bool) error {
	if err := r.outer.Err(); err != nil && !late {
		return err
	}
	err := lateError{r.limits.Total}
	return &Error{what: err.Error(), todo: goesOn, cause: err}
}

// Close may be called before the end of the range.
func (r *reader) Close() error {
	defer r.cancel()
	if r.err == nil {
		r.err = errors.New("the range is closed")
	}
	if r.from == nil {
		return nil
	}
	from := r.from
	r.from = nil
	return from.Close()
}

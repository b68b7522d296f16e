package link

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	backoffFirst = 500 * time.Millisecond
	backoffLast  = 5 * time.Minute
	// backoffLeast keeps a device whose dice fall badly from hammering.
	backoffLeast = 50 * time.Millisecond
	// steadyAfter is how long a link must last for the next pause to be short again.
	steadyAfter = 10 * time.Second
)

// backoff spreads the devices of a fleet that lost their panel together: each
// pause is any part of a limit that doubles.
type backoff struct {
	limit time.Duration // of the next pause; 0 before the first
}

// next is the pause after a link or an attempt that ended so. A panel that says when
// it wants to be called again is not called earlier.
func (b *backoff) next(why error) time.Duration {
	if b.limit == 0 {
		b.limit = backoffFirst
	}
	pause := backoffLeast + rand.N(b.limit)
	b.limit = min(2*b.limit, backoffLast)
	if w, ok := errors.AsType[*waitError](why); ok {
		if w.spread { // it has counted its devices
			return backoffLeast + rand.N(w.after+1)
		}
		return max(pause, w.after+rand.N(w.after/2+1))
	}
	return pause
}

// lasted says how long a link was up; not at all if it never came to one.
func (b *backoff) lasted(d time.Duration) {
	if d > steadyAfter {
		b.limit = 0
	}
}

// waitError is a panel that wants to be left alone for a time; or to have its devices
// come back spread over it.
type waitError struct {
	after  time.Duration
	spread bool
	status string
}

func (w *waitError) Error() string {
	if w.spread {
		return fmt.Sprintf("the panel ends the link, and wants its devices back within %v", w.after)
	}
	return fmt.Sprintf("the panel answers %q, and wants to be left alone for %v", w.status, w.after)
}

// bounded keeps a panel from sending its devices away for ever.
func bounded(d time.Duration) time.Duration { return min(max(d, 0), backoffLast) }

// refused is an answer that opens no link.
func refused(resp *http.Response) error {
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		return &waitError{after: bounded(time.Duration(seconds) * time.Second), status: resp.Status}
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return errors.New("the panel does not know this device any more: slipstream enroll, with a new token")
	}
	return fmt.Errorf("the panel answers %s", resp.Status)
}

package link

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 500 * time.Millisecond
	backoffLast  = 30 * time.Second
	// steadyAfter is how long a link must last for the next pause to be short again.
	steadyAfter = 10 * time.Second
)

// backoff spreads the devices of a fleet that lost their panel together: each
// pause is a random part of a limit that doubles.
type backoff struct {
	limit time.Duration // of the next pause; 0 before the first
}

func (b *backoff) next() time.Duration {
	if b.limit == 0 {
		b.limit = backoffFirst
	}
	pause := b.limit/10 + rand.N(b.limit*9/10)
	b.limit = min(2*b.limit, backoffLast)
	return pause
}

// lasted says how long a link was up; not at all if it never came to one.
func (b *backoff) lasted(d time.Duration) {
	if d > steadyAfter {
		b.limit = 0
	}
}

package fetch

import "time"

// Limits of one download. What is zero has the default below.
type Limits struct {
	Stall    time.Duration // in which not one byte comes
	MinRate  int64         // bytes a second, over Window
	Window   time.Duration
	Attempts int           // in a row that bring nothing worth mentioning: see [Progress]
	Total    time.Duration // from [Begin] to the last byte

	// MaxRate is in bytes a second; zero is as fast as the line. It is the one
	// limit that ends nothing.
	MaxRate int64
}

// Defaults of [Limits].
const (
	DefaultStall    = 30 * time.Second
	DefaultMinRate  = 64_000 / 8
	DefaultWindow   = 30 * time.Second
	DefaultAttempts = 8
	DefaultTotal    = 12 * time.Hour
)

// How often and how soon it is tried again.
const (
	Progress      = 64 << 10        // bytes, or all that was left: an attempt that brings fewer was in vain
	FirstAttempts = 3               // to reach a server that has never answered: its name may be misspelt
	FirstPause    = time.Second     // doubled after each attempt in vain; a random part of up to a half is taken off
	MaxPause      = time.Minute     // without Retry-After
	MaxRetryAfter = 5 * time.Minute // a server that wants more is asked again then
)

func (l Limits) whole() Limits {
	preset(&l.Stall, DefaultStall)
	preset(&l.MinRate, DefaultMinRate)
	preset(&l.Window, DefaultWindow)
	preset(&l.Attempts, DefaultAttempts)
	preset(&l.Total, DefaultTotal)
	if l.MaxRate > 0 { // a server that we ourselves hold back is not too slow
		l.MinRate = min(l.MinRate, l.MaxRate/2)
	}
	return l
}

func preset[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

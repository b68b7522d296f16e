package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is how often something may happen: Burst times at once, then once in Every.
type Limit struct {
	Every time.Duration
	Burst int
}

// Limits of a panel.
type Limits struct {
	LoginName    Limit // logins to one account, or to a name that is none
	LoginAddress Limit // logins from one address
	Token        Limit // requests with one API token
	Stranger     Limit // requests from one address with tokens that are not good
}

// DefaultLimits let people mistype and programs work, and make guessing hopeless.
var DefaultLimits = Limits{
	LoginName:    Limit{Every: 10 * time.Second, Burst: 10},
	LoginAddress: Limit{Every: 3 * time.Second, Burst: 20},
	Token:        Limit{Every: 20 * time.Millisecond, Burst: 200},
	Stranger:     Limit{Every: time.Second, Burst: 30},
}

const (
	maxBuckets = 10_000
	// tidyEvery bounds the work of looking for buckets that can go.
	tidyEvery = time.Second
)

// buckets holds a token bucket for each key. Buckets that have filled up again are as good
// as none and go when there is no room. While there is none, all new keys share one: an
// attacker with many addresses makes strangers wait for each other and takes nobody's
// count away.
type buckets struct {
	limit Limit
	most  int

	mu     sync.Mutex
	keys   map[string]*rate.Limiter
	rest   *rate.Limiter
	tidied time.Time
}

func newBuckets(limit Limit, most int) *buckets {
	b := &buckets{limit: limit, most: most, keys: map[string]*rate.Limiter{}}
	b.rest = b.bucket()
	return b
}

func (b *buckets) bucket() *rate.Limiter {
	return rate.NewLimiter(rate.Every(b.limit.Every), b.limit.Burst)
}

// take takes one from a key's bucket, or tells when there will be one.
func (b *buckets) take(key string, now time.Time) error {
	r := b.of(key, now).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return limited(wait)
	}
	return nil
}

func (b *buckets) of(key string, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, ok := b.keys[key]; ok {
		return l
	}
	if len(b.keys) >= b.most {
		b.tidy(now)
	}
	if len(b.keys) >= b.most {
		return b.rest
	}
	l := b.bucket()
	b.keys[key] = l
	return l
}

// tidy forgets full buckets.
func (b *buckets) tidy(now time.Time) {
	if now.Sub(b.tidied) < tidyEvery {
		return
	}
	b.tidied = now
	for key, l := range b.keys {
		if l.TokensAt(now) >= float64(b.limit.Burst) {
			delete(b.keys, key)
		}
	}
}

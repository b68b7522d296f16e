package invariant

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"slipstream/verify"
)

// DefaultFailures is how many failures in a row break a check that names no number.
const DefaultFailures = 3

const (
	defaultEvery   = time.Second
	defaultTimeout = time.Second
	// maxSamples bounds the values kept of each check. When there are as many,
	// every other one is dropped, so that they always span the whole trial.
	maxSamples = 60
)

// Subject is the app on trial, as it can be looked at. A nil function means that
// this device cannot tell, and the check fails, saying so.
type Subject struct {
	PIDs     func() ([]int, error)                          // all processes of the app
	Restarts func() int                                     // since the trial began
	Exec     func(ctx context.Context, argv []string) error // runs a program of the slot as the app would; nil if it ended with 0
	Data     string                                         // the app's data directory
	Link     func(ctx context.Context) error                // reaches the panel
}

// Verdict is what has become of one check so far.
type Verdict struct {
	Name     string
	Kind     string
	Measure  string // of a process
	Value    float64
	Max      *float64
	Required bool
	Judged   bool
	Holds    bool
	Since    time.Time // when it became what it is; has a monotonic reading
	Detail   string    // of the newest failure, one sentence
	Samples  []Sample
}

// Broken says that the check was judged and does not hold.
func (v Verdict) Broken() bool { return v.Judged && !v.Holds }

// Sample is one value, or for checks without a measure 1 for a success and 0 for a
// failure.
type Sample struct {
	After time.Duration // since the watch began
	Value float64
}

// Watch samples checks until its context ends. Its methods may be called from any
// goroutine.
type Watch struct {
	began   time.Time
	changed func()
	done    sync.WaitGroup

	mu       sync.Mutex // guards what follows
	verdicts []Verdict
	keep     []int // of each check every keep-th sample
	seen     []int // samples taken
	failed   []int // in a row
}

// Start begins to sample checks, which have been validated. Changed is called when a
// check was judged for the first time, breaks, or holds again; it may be called by
// several goroutines at once.
func Start(ctx context.Context, checks []verify.Check, s Subject, changed func()) *Watch {
	n := len(checks)
	w := &Watch{
		began: time.Now(), changed: changed,
		verdicts: make([]Verdict, n), keep: make([]int, n), seen: make([]int, n), failed: make([]int, n),
	}
	for i, c := range checks {
		w.verdicts[i] = Verdict{Name: c.Name, Kind: c.Kind, Measure: c.Measure, Max: c.Max, Required: c.Severity != verify.SeverityWanted, Since: w.began}
		w.keep[i] = 1
		probe := newProbe(c, s)
		w.done.Go(func() { w.sample(ctx, i, c, probe) })
	}
	return w
}

// Wait returns when nothing is sampled any more, which is soon after the context's
// end.
func (w *Watch) Wait() { w.done.Wait() }

// Verdicts are those of now, in the order of the checks.
func (w *Watch) Verdicts() []Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.verdicts)
	for i := range out {
		out[i].Samples = slices.Clone(out[i].Samples)
	}
	return out
}

func (w *Watch) sample(ctx context.Context, i int, c verify.Check, p probe) {
	every := orDefault(c.EveryMS, defaultEvery)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(every)
		limited, cancel := context.WithTimeout(ctx, orDefault(c.TimeoutMS, defaultTimeout))
		r := p.take(limited)
		cancel()
		if ctx.Err() != nil {
			return // it was cut off, which says nothing about the app
		}
		if w.note(i, c, r) {
			w.changed()
		}
	}
}

// reading is what one sample gave.
type reading struct {
	value float64
	fault string // why it is a failure; "" if it is none
	mute  bool   // it says nothing yet
}

// note adds a reading to its check's verdict, and says whether that became another.
func (w *Watch) note(i int, c verify.Check, r reading) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := &w.verdicts[i]
	v.Value = r.value
	w.remember(i, r.value)
	if r.mute {
		return false
	}
	before := *v
	if r.fault == "" {
		w.failed[i] = 0
		v.Judged, v.Holds = true, true
	} else {
		w.failed[i]++
		v.Detail = r.fault
		if w.failed[i] >= cmp.Or(c.Failures, DefaultFailures) {
			v.Judged, v.Holds = true, false
		}
	}
	if before.Judged == v.Judged && before.Holds == v.Holds {
		return false
	}
	v.Since = time.Now()
	return true
}

func (w *Watch) remember(i int, value float64) {
	v := &w.verdicts[i]
	w.seen[i]++
	if (w.seen[i]-1)%w.keep[i] != 0 {
		return
	}
	if len(v.Samples) == maxSamples {
		for k := range maxSamples / 2 {
			v.Samples[k] = v.Samples[2*k]
		}
		v.Samples, w.keep[i] = v.Samples[:maxSamples/2], 2*w.keep[i]
		if (w.seen[i]-1)%w.keep[i] != 0 {
			return
		}
	}
	v.Samples = append(v.Samples, Sample{time.Since(w.began), value})
}

func orDefault(ms int64, d time.Duration) time.Duration {
	if ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return d
}

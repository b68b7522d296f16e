package agent

import (
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
)

// Since when an invariant of the forwarder stands is counted from its last turn, not from the
// newest status, and anew with each trial.
func TestHowLongVerdictsStand(t *testing.T) {
	var s standings
	began := time.Now()
	at := func(sec int) time.Time { return began.Add(time.Duration(sec) * time.Second) }
	says := func(trial orders.TrialID, sec int, judged, holds bool) {
		s.see(&orders.Status{Trial: trial, Verdicts: []orders.Verdict{
			{Stream: "main", Invariant: "rate", Judged: judged, Holds: holds, Value: float64(sec)}, {Stream: "sub", Invariant: "rate", Judged: true, Holds: true},
		}}, at(sec))
	}
	stands := func(trial orders.TrialID, sec int) [3]int64 {
		list := []control.Verdict{{Stream: "main", Invariant: "rate"}, {Stream: "sub", Invariant: "rate"}, {Stream: "main", Invariant: "drift"}}
		s.tell(trial, list, at(sec))
		return [3]int64{list[0].SinceMS, list[1].SinceMS, list[2].SinceMS}
	}
	says("t1", 0, false, false)
	says("t1", 3, true, true)
	says("t1", 4, true, true)
	if got, want := stands("t1", 10), [3]int64{7000, 10_000, 0}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	says("t1", 10, true, false)
	if got, want := stands("t1", 10), [3]int64{1, 10_000, 0}; got != want { // just now is not never
		t.Errorf("%v, want %v", got, want)
	}
	says("t2", 20, true, false)
	if got, want := stands("t2", 25), [3]int64{5000, 5000, 0}; got != want {
		t.Errorf("of the next trial %v, want %v", got, want)
	}
	if got := stands("t1", 25); got != [3]int64{} {
		t.Errorf("of a trial that is over: %v", got)
	}
}

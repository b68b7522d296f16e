package core

import (
	"fmt"
	"testing"

	"slipstream/stream/orders"
)

// What a forwarder knows of trials goes over to the next one, for which the trial
// under way has ended.
func TestTrialsEndWithTheForwarder(t *testing.T) {
	kept := &keptEndings{}
	var s standing
	s.ended.restore(kept)
	arm := func(s *standing, n int) bool {
		armed, _ := s.arm(&orders.Orders{Trial: &orders.Trial{ID: orders.TrialID(fmt.Sprint("t", n)), Source: "b-2"}}, 0)
		return armed
	}
	for n := range 2 * maxEnded {
		if !arm(&s, n) {
			t.Fatalf("trial %d is not armed", n)
		}
		if n%2 == 0 {
			s.revert(orders.Reverted{Trial: s.trial.id, Source: "a-1", Cause: orders.CauseStall})
		} else {
			s.settle(&orders.Settle{Trial: s.trial.id, Source: "b-2"})
		}
	}
	if !arm(&s, 1000) {
		t.Fatal("the last trial is not armed")
	}

	var next standing
	next.ended.restore(kept)
	for n := maxEnded + 1; n < 2*maxEnded; n++ {
		end := next.ended.find(orders.TrialID(fmt.Sprint("t", n)))
		switch {
		case end == nil:
			t.Errorf("trial %d is forgotten", n)
		case end.settled != (n%2 == 1) || !end.settled && (end.Cause != orders.CauseStall || end.Source != "a-1"):
			t.Errorf("trial %d: %+v", n, end)
		}
	}
	if end := next.ended.find("t1000"); arm(&next, 1000) || end == nil || end.settled || end.Cause != orders.CauseForwarder {
		t.Errorf("the trial under way: %+v", end)
	}
	if next.ended.find("") != nil || len(next.ended.list) != maxEnded {
		t.Errorf("%d trials are known", len(next.ended.list))
	}
	next.settle(&orders.Settle{Trial: "t1000", Source: "b-2"})
	var third standing
	if third.ended.restore(kept); !third.ended.find("t1000").settled {
		t.Error("a settlement was not kept")
	}
}

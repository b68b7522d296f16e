package agent

import (
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
)

// standings remembers since when the invariants of the forwarder stand as they do, which its
// status does not say. The agent asks each second, so it is right to about that.
type standings struct {
	trial orders.TrialID
	of    map[[2]string]stand // by stream and name
}

type stand struct {
	judged, holds bool
	since         time.Time
}

// see takes the newest status of the forwarder, at the time now.
func (s *standings) see(st *orders.Status, now time.Time) {
	if s.of == nil || s.trial != st.Trial {
		s.trial, s.of = st.Trial, map[[2]string]stand{}
	}
	for _, v := range st.Verdicts {
		key := [2]string{v.Stream, v.Invariant}
		if old, known := s.of[key]; !known || old.judged != v.Judged || old.holds != v.Holds {
			s.of[key] = stand{v.Judged, v.Holds, now}
		}
	}
}

// tell adds to verdicts of a trial how long they have stood.
func (s *standings) tell(trial orders.TrialID, list []control.Verdict, now time.Time) {
	if s.trial != trial {
		return
	}
	for i, v := range list {
		if old, known := s.of[[2]string{v.Stream, v.Invariant}]; known {
			list[i].SinceMS = stood(old.since, now)
		}
	}
}

// stood is how long something has stood: at least a millisecond, for 0 says nothing.
func stood(since, now time.Time) int64 { return max(1, now.Sub(since).Milliseconds()) }

package core

import "slipstream/stream/orders"

// standing is what the agent's orders and the course of the trials come to. All that
// the forwarder decides about trials is decided here, without sockets, pictures and
// a clock, so that it can be walked through together with the agent's own core.
type standing struct {
	permanent orders.SourceID
	trial     trial
	ended     endings
}

// catchUp changes the orders of an agent that has not heard that its trial is
// settled into those that it would give if it had.
func (s *standing) catchUp(o *orders.Orders) {
	if t := o.Trial; t != nil {
		if end := s.ended.find(t.ID); end != nil && end.settled {
			o.Permanent, o.Trial = t.Source, nil
		}
	}
}

// drop ends a trial that orders no longer name and whose source they call permanent:
// it was committed meanwhile. It reports true if one that they do not name is to be
// reverted.
func (s *standing) drop(o *orders.Orders) (revert bool) {
	if s.trial.phase == steady || o.Trial != nil && o.Trial.ID == s.trial.id {
		return false
	}
	if o.Permanent != s.trial.source {
		return true
	}
	s.ended.add(ending{Reverted: orders.Reverted{Trial: s.trial.id, Source: s.trial.source}, settled: true})
	s.trial.end()
	return false
}

// arm begins the trial that orders name. One that goes on goes on; one that has
// ended is never armed again, and over says how it did.
func (s *standing) arm(o *orders.Orders, now int64) (armed bool, over *ending) {
	if o.Trial == nil || s.trial.id == o.Trial.ID {
		return false, nil
	}
	if over := s.ended.find(o.Trial.ID); over != nil {
		return false, over
	}
	s.trial.arm(*o.Trial, now)
	s.ended.armed(o.Trial.ID)
	return true, nil
}

// hold is the compare-and-set before a commit. What mayCommit says counts for the
// first lease only; to find it out may end the trial.
func (s *standing) hold(h *orders.Hold, now int64, mayCommit func() bool) (result string) {
	switch {
	case s.trial.phase == steady || s.trial.id != h.Trial:
		return orders.ResultReverted
	case s.trial.phase == armed:
		return orders.ResultWait
	}
	may := s.trial.phase == held || mayCommit()
	switch {
	case s.trial.id != h.Trial:
		return orders.ResultReverted
	case !may:
		return orders.ResultWait
	}
	s.trial.hold(h.Trial, now+h.LeaseMS*1e6)
	return orders.ResultHeld
}

// revert ends the trial under way. It is over from now on, although viewers may have
// to wait for a key frame until they are back and the report is whole.
func (s *standing) revert(report orders.Reverted) {
	s.trial.end()
	s.ended.add(ending{Reverted: report})
}

// settle makes the trial's source the permanent one, whatever has happened since
// hold: the commit point is behind us.
func (s *standing) settle(o *orders.Settle) {
	s.permanent = o.Source
	s.ended.add(ending{Reverted: orders.Reverted{Trial: o.Trial, Source: o.Source}, settled: true})
	if s.trial.id == o.Trial {
		s.trial.end()
	}
}

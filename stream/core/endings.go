package core

import (
	"cmp"

	"slipstream/stream/orders"
)

// maxEnded is how many ended trials are remembered, for an agent that missed how.
const maxEnded = 16

// endings remembers how the last trials ended: an agent that was away is told
// again, and an ended trial is never armed a second time, not by the forwarder after
// this one either.
type endings struct {
	list []ending
	kept *keptEndings // in memory that outlives the process; nil: nothing is kept
}

// ending is a revert, or the settlement that made Source permanent.
type ending struct {
	orders.Reverted
	settled bool
}

// keptEndings are the last trials as plain data. One that is under way is among
// them: with the forwarder it ends.
type keptEndings struct {
	next   uint64
	trials [maxEnded]keptEnding
}

type keptEnding struct {
	id, source, cause text
	settled           bool
}

// armed notes a trial that has begun, and ends at the latest when this process does.
func (e *endings) armed(id orders.TrialID) {
	e.keep(ending{Reverted: orders.Reverted{Trial: id, Cause: orders.CauseForwarder}})
}

// add takes the word on how a trial ended. A later one takes the place of one before,
// but nothing undoes a settlement.
func (e *endings) add(end ending) {
	old := e.find(end.Trial)
	switch {
	case old != nil && old.settled:
		return
	case old != nil:
		*old = end
	case len(e.list) == maxEnded:
		e.list = append(append(e.list[:0], e.list[1:]...), end)
	default:
		e.list = append(e.list, end)
	}
	e.keep(end)
}

func (e *endings) keep(end ending) {
	k := e.kept
	if k == nil {
		return
	}
	at, isNew := &k.trials[k.next%maxEnded], true
	for i := range k.trials {
		if k.trials[i].id.String() == string(end.Trial) {
			at, isNew = &k.trials[i], false
		}
	}
	at.source.set(string(end.Source))
	at.cause.set(end.Cause)
	at.settled = end.settled
	if isNew {
		at.id.set(string(end.Trial))
		k.next++
	}
}

// restore takes over what an earlier forwarder knew.
func (e *endings) restore(k *keptEndings) {
	e.kept = k
	for n := range uint64(maxEnded) {
		kept := &k.trials[(k.next+n)%maxEnded]
		if id := orders.TrialID(kept.id.String()); id != "" && e.find(id) == nil {
			e.add(ending{settled: kept.settled, Reverted: orders.Reverted{
				Trial: id, Source: orders.SourceID(kept.source.String()), Cause: cmp.Or(kept.cause.String(), orders.CauseForwarder),
				Detail: "the forwarder was started anew since, and no longer knows more",
			}})
		}
	}
}

// find returns the word on a trial, nil if it has not ended.
func (e *endings) find(id orders.TrialID) *ending {
	for i := range e.list {
		if e.list[i].Trial == id {
			return &e.list[i]
		}
	}
	return nil
}

package fleet

import (
	"context"
	"errors"
	"time"

	"slipstream/adminpanel/store"
)

const (
	maxBatch     = 50 // records in one commit
	maxBatchSize = store.MaxValue / 2
	sweepEvery   = 10 * time.Second
	lastWrite    = 3 * time.Second
)

// wanted is the record as it should be now, and whether that is worth a write: only that
// a device came after long, went for long, called another panel, or has other versions. It
// needs the lock.
func (f *Fleet) wanted(e *entry, now time.Time) (Record, bool) {
	r := e.rec
	mine := e.link.Online || r.Home == f.cfg.Panel
	if !r.Revoked.IsZero() || !e.known && e.link.Seen.IsZero() {
		return r, false
	}
	if e.link.Online {
		r.Home, r.Away = f.cfg.Panel, false
	}
	if mine && e.link.Status != nil {
		r.settle(e.link.Status)
	}
	if !e.link.Online && !r.Away && f.gone(e, mine, now) {
		r.Away = true
	}
	same := r.Home == e.rec.Home && r.Away == e.rec.Away && r.Product == e.rec.Product && r.Hardware == e.rec.Hardware && r.Settled.equal(e.rec.Settled)
	if same && e.known {
		return r, false
	}
	r.LastSeen = f.lastSeen(e)
	return r, true
}

// gone says whether a device has been away for so long that it is written down, and by
// this panel: that which had its link, or that which leads when there is no such panel any more.
func (f *Fleet) gone(e *entry, mine bool, now time.Time) bool {
	after := f.cfg.OfflineAfter()
	if mine {
		return now.Sub(e.left) >= after
	}
	p := f.panels[e.rec.Home]
	return f.leading && e.rec.Home != "" && !f.lives(e.rec.Home, now) && now.Sub(p.heard) >= after && now.Sub(f.began) >= after
}

// judge has a record written if it has to be. It needs the lock.
func (f *Fleet) judge(e *entry, now time.Time) {
	if _, worth := f.wanted(e, now); worth {
		f.dirty[e.rec.ID] = struct{}{}
		wake(f.wake)
	}
}

// Sweep looks for devices that have been away for long, and panels that are gone. Run
// does it now and then.
func (f *Fleet) Sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookAtPanels(now)
	for _, e := range f.devices {
		if e.known && !e.link.Online && !e.rec.Away {
			f.judge(e, now)
		}
	}
}

// write brings what is dirty to the store.
func (f *Fleet) write(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.wake:
			pause(ctx, soon) // more of a kind may be on their way
			f.Flush(ctx)
		case now := <-tick.C:
			f.Sweep(now)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			f.Flush(last)
			return
		}
	}
}

// Flush writes all that is to be remembered now, or gives up when ctx ends.
func (f *Fleet) Flush(ctx context.Context) {
	for ctx.Err() == nil {
		batch := f.batch(maxBatch)
		if len(batch) == 0 {
			return
		}
		f.save(ctx, batch)
	}
}

// batch takes some of what is dirty.
func (f *Fleet) batch(most int) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.dirty {
		if len(ids) == most {
			break
		}
		delete(f.dirty, id)
		ids = append(ids, id)
	}
	return ids
}

func (f *Fleet) mark(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.dirty[id] = struct{}{}
	}
	wake(f.wake)
}

// save writes the records of some devices, all together or, if one of them was changed
// by somebody else, each alone.
func (f *Fleet) save(ctx context.Context, ids []string) {
	records, ifs, ops := f.compose(ids)
	if len(ops) == 0 {
		return
	}
	rev, err := f.cfg.Store.Commit(ctx, ifs, ops)
	switch {
	case err == nil:
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range records {
			f.put(r, rev)
		}
	case errors.Is(err, store.ErrConflict) && len(records) > 1:
		for _, r := range records {
			f.save(ctx, []string{r.ID})
		}
	case errors.Is(err, store.ErrConflict):
		f.refresh(ctx, records[0].ID)
		f.mark(records[0].ID)
	default:
		f.mark(ids...)
		f.failed(ctx, "what devices do is not remembered; trying again", err)
	}
}

// compose leaves what does not fit into one commit for the next.
func (f *Fleet) compose(ids []string) (records []Record, ifs []store.Cond, ops []store.Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := 0
	for i, id := range ids {
		e := f.devices[id]
		if e == nil {
			continue
		}
		r, worth := f.wanted(e, time.Now())
		if !worth {
			continue
		}
		value, err := r.encode()
		if err != nil {
			f.cfg.Log.Error("a device cannot be remembered", "device", id, "cause", err)
			continue
		}
		if size += len(value); size > maxBatchSize && len(ops) > 0 {
			for _, later := range ids[i:] {
				f.dirty[later] = struct{}{}
			}
			break
		}
		records = append(records, r)
		ifs = append(ifs, store.Cond{Key: prefixDevice + id, Rev: e.rev})
		ops = append(ops, store.Op{Key: prefixDevice + id, Value: value})
	}
	return records, ifs, ops
}

// refresh reads a record that somebody else has changed.
func (f *Fleet) refresh(ctx context.Context, id string) {
	item, err := f.cfg.Store.Get(ctx, prefixDevice+id)
	switch {
	case err == nil:
		f.deviceChanged(id, item.Value, item.Rev)
	case errors.Is(err, store.ErrNotFound):
		f.mu.Lock()
		defer f.mu.Unlock()
		if e := f.devices[id]; e != nil && e.known {
			f.drop(id, e.rev+1)
		}
	default:
		f.failed(ctx, "a device's record cannot be read", err)
	}
}

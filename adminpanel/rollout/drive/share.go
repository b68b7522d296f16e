package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/agent/control"
)

const (
	prefixShared = "dw/"
	// reachEvery is how soon it is noticed that a device came to another panel, or left it.
	reachEvery = time.Second
)

// shared is what a panel tells the others of a device that is linked to it: where it stands to
// the newest ask of it, and the mark of its history's newest line.
type shared struct {
	Mark    string  `json:"mark,omitempty"`
	Epoch   int64   `json:"epoch,omitempty"`
	What    string  `json:"what,omitempty"`
	Release string  `json:"release,omitempty"`
	Cause   string  `json:"cause,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	GapMS   float64 `json:"gapMs,omitempty"`
	Said    bool    `json:"said,omitempty"` // it has answered with what follows
	Exit    int     `json:"exit,omitempty"`
	Message string  `json:"message,omitempty"`
	Staged  string  `json:"staged,omitempty"` // digest of what was staged without being asked for
}

func (s shared) seen(device string, now time.Time) rollout.Seen {
	return rollout.Seen{At: now, Device: device, Epoch: s.Epoch, What: s.What, Release: s.Release, Cause: s.Cause, Detail: s.Detail, GapMS: s.GapMS}
}

// here tells whether a word is of a device that is linked to this panel, and has spoken.
func (w Word) here() bool { return w.Online && w.Status != nil }

// shareOf is what there is to tell of a device, and when that changes by itself. The caller
// holds mu.
func (d *Driver) shareOf(w Word, now time.Time) (s shared, again time.Time) {
	s.Mark = markOf(w.Status.Last)
	a, ok := d.asks[w.Device]
	if staged := stagedBy(w.Status); !ok || staged != a.Live.Digest {
		s.Staged = staged
	}
	if !ok {
		return s, again
	}
	seen, again := translate(a, w, d.answerOf(w.Device), now)
	if seen.What != "" {
		s.Epoch, s.What, s.Release, s.Cause, s.Detail, s.GapMS = a.Epoch, seen.What, seen.Release, seen.Cause, seen.Detail, seen.GapMS
	}
	if said, ok := d.saidHere(a); ok {
		s.Epoch, s.Said, s.Exit, s.Message = a.Epoch, true, said.Exit, cut(said.Message, maxDetail)
	}
	return s, again
}

// stagedBy is the digest in the slot that waits to be tried.
func stagedBy(s *control.Status) (digest string) {
	for _, slot := range s.Slots {
		if slot.State == control.StateStaged {
			digest = slot.Digest
		}
	}
	return digest
}

// concerns tells whether other panels need to be told of a device by the one that leads: people
// may have asked there. The caller holds mu.
func (d *Driver) concerns(device string, s shared) bool {
	a, ok := d.asks[device]
	return ok && a.Rollout() == "" || s.Staged != d.shares[device].Staged
}

// share tells the leader, as long as that is another panel, and the others what they need.
func (d *Driver) share(ctx context.Context) {
	var later looks
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.sharing:
		case <-timer.C:
		}
		wait := forever
		if ops := d.unshared(&later, time.Now()); len(ops) > 0 {
			if err := d.tellOthers(ctx, ops); err != nil && ctx.Err() == nil {
				d.log.Warn("other panels were not told of devices", "cause", err, "again_in", pauseLead)
				wait = pauseLead
			}
		}
		if next := later.next(); !next.IsZero() {
			wait = min(wait, max(0, time.Until(next)))
		}
		timer.Reset(wait)
	}
}

// unshared are the changes that other panels do not know.
func (d *Driver) unshared(later *looks, now time.Time) (ops []store.Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, device := range later.due(now) {
		d.untold[device] = struct{}{}
	}
	if d.cfg.Alone {
		clear(d.untold)
		return nil
	}
	for _, device := range slices.Sorted(maps.Keys(d.untold)) {
		w := d.words[device]
		if !w.here() {
			delete(d.untold, device)
			continue
		}
		s, again := d.shareOf(w, now)
		if !again.IsZero() {
			later.add(again, device)
		}
		if s == d.shares[device] || d.term != nil && !d.concerns(device, s) {
			delete(d.untold, device)
			continue
		}
		text, err := json.Marshal(s)
		if err != nil {
			d.log.Error("a device's standing cannot be written", "device", device, "cause", err)
			continue
		}
		ops = append(ops, store.Op{Key: prefixShared + device, Value: text})
	}
	return ops
}

// tellOthers writes; what was written comes back by the watch.
func (d *Driver) tellOthers(ctx context.Context, ops []store.Op) error {
	for part := range slices.Chunk(ops, store.MaxOps) {
		if _, err := d.cfg.Store.Commit(ctx, nil, part); err != nil {
			return err
		}
	}
	return nil
}

// hearShares keeps up with what panels tell of their devices.
func (d *Driver) hearShares(ctx context.Context) {
	store.Follow(ctx, d.cfg.Store, prefixShared, store.Follower{
		Failed: func(err error) { d.log.Warn("other panels' devices are not followed; trying again", "cause", err) },
		Changed: func(device string, value []byte, _ int64) {
			var s shared
			if value != nil {
				if err := json.Unmarshal(value, &s); err != nil {
					d.log.Error("another panel's word is not understood", "cause", fmt.Errorf("read %s%s: %w", prefixShared, device, err))
					return
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.shares[device] = s
			if d.term != nil {
				d.tell(device)
			}
			d.toShare(device) // it may be an older word than this panel's
		},
	})
}

// toShare marks a device to be told of. The caller holds mu.
func (d *Driver) toShare(device string) {
	if !d.words[device].here() {
		return
	}
	d.untold[device] = struct{}{}
	select {
	case d.sharing <- struct{}{}:
	default:
	}
}

// elsewhere tells whether a device is linked to another panel.
func (l *leader) elsewhere(w Word) bool {
	if w.Online {
		return false
	}
	dev, ok := l.d.cfg.Fleet.Get(w.Device)
	return ok && dev.Online
}

// reach looks now and then which devices of rollouts came to other panels, or left them.
func (l *leader) reach(ctx context.Context, now time.Time) {
	if now.Before(l.reached) {
		return
	}
	l.reached, l.apart = now.Add(reachEvery), false
	for device := range l.holders {
		if l.holder(device, "") != nil {
			l.reachOne(ctx, device, now)
		}
	}
	for _, r := range l.sorted() {
		if !r.takesIn() {
			continue
		}
		l.apart = true
		for _, dev := range l.d.cfg.Fleet.Select(r.selector, now) {
			if _, in := r.engine.Course(dev.ID); !in && dev.Online {
				l.reachOne(ctx, dev.ID, now)
			}
		}
	}
}

func (l *leader) reachOne(ctx context.Context, device string, now time.Time) {
	l.d.mu.Lock()
	w := l.d.words[device]
	l.d.mu.Unlock()
	if w.here() {
		return
	}
	l.apart = true
	w.Device = device
	l.link(ctx, w, now)
}

// lookElsewhere tells the rollout that has asked a device of another panel where that stands.
func (l *leader) lookElsewhere(device string, s shared, now time.Time) {
	a, ok := l.asks[device]
	if ok && a.Rollout() == "" && s.Epoch == a.Epoch {
		l.come(a, s.What)
		return
	}
	r := l.runs[a.Rollout()]
	if ok && r != nil && r.engine != nil && s.What != "" {
		l.step(r, s.seen(device, now))
	}
}

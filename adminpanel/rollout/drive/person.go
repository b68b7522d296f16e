package drive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

// Wish is what a person asks of one device.
type Wish struct {
	Device   string
	Want     string // as in package rollout
	Release  string // for WantStage and WantActivate; "" of an activation: what is staged by the newest ask
	Force    bool
	Activate bool // with WantStage: try it as soon as it is staged
	By, From string
}

// Ask asks a device for something in a person's name. It returns when that is journaled;
// where it stands then is in what the device says. A device that is in a rollout which has
// not ended is not asked by anybody else.
func (d *Driver) Ask(ctx context.Context, w Wish) (Ask, error) {
	r, err := d.decide(ctx, request{Wish: &w})
	if r.Ask == nil {
		return Ask{}, err
	}
	r.Ask.Device = w.Device
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.learn(*r.Ask) // the store tells of it later, if another panel leads
	}
	return *r.Ask, err
}

func (d *Driver) wish(ctx context.Context, w Wish) (a *Ask, err error) {
	dev, ok := d.cfg.Fleet.Get(w.Device)
	if !ok {
		return nil, fmt.Errorf("%w: device %s", store.ErrNotFound, w.Device)
	}
	err = d.do(ctx, func(ctx context.Context, l *leader) error {
		made, err := l.wish(ctx, w, &dev)
		a = &made
		return err
	})
	return a, err
}

func (l *leader) wish(ctx context.Context, w Wish, dev *view.Device) (Ask, error) {
	before := l.asks[w.Device]
	if r := l.holder(w.Device, ""); r != nil {
		if c, _ := r.engine.Course(w.Device); !endedPhase(c.Phase) {
			return before, refuse("%s is in rollout %s: abort that first, or wait for its end", w.Device, orElse(r.Plan.Name, r.ID))
		}
	}
	now := time.Now()
	a := Ask{
		Device: w.Device, Epoch: before.Epoch + 1, Want: w.Want, Owner: w.By, At: now.UTC(),
		Release: before.Release, Live: before.Live, Before: before.Before, Force: w.Force,
	}
	switch w.Want {
	case rollout.WantStage, rollout.WantActivate:
		if w.Release != "" || w.Want == rollout.WantStage {
			rel, err := l.d.cfg.Release(ctx, w.Release)
			if errors.Is(err, store.ErrNotFound) {
				return before, refuse("the panel has no release %s", w.Release)
			}
			if err != nil {
				return before, err
			}
			if rel.Withdrawn {
				return before, refuse("release %s (%s) is withdrawn", rel.ID, rel.Version)
			}
			if why := unfit(rel, dev); why != "" {
				return before, refuse("%s: %s", w.Device, why)
			}
			if l.d.cfg.Orders != nil && !l.d.cfg.Orders.Covers(rel.ID, []string{w.Device}, now) {
				return before, refuse("version %s is not ordered for %s: somebody who may sign orders has to do that first", rel.Version, w.Device)
			}
			a.Release, a.Live = rel.ID, targetOf(rel)
		}
		if a.Live.Digest == "" {
			return before, refuse("name the release: nothing was staged on %s by this panel", w.Device)
		}
		a.Activate, a.Before = w.Activate || w.Want == rollout.WantActivate, l.last(w.Device)
	case rollout.WantConfirm, rollout.WantRevert, rollout.WantNothing:
		a.Force = false
	default:
		return before, refuse("a device cannot be asked to %q", w.Want)
	}
	op, err := a.op()
	if err != nil {
		return before, err
	}
	action := "device." + w.Want
	if w.Want == rollout.WantNothing {
		action = "device.cancel"
	}
	line := view.AuditLine{At: now, Actor: w.By, From: w.From, Action: action, Object: "device " + w.Device, Detail: a.Live.Version,
		After: audit.Value(map[string]any{"want": a.Want, "activate": a.Activate, "force": a.Force, "digest": a.Live.Digest})}
	if _, err := l.d.cfg.Audit.Commit(ctx, []store.Cond{l.cond}, []store.Op{op}, line); err != nil {
		return before, err
	}
	l.asks[w.Device] = a
	for _, r := range l.holders[w.Device] {
		l.step(r, rollout.Taken{At: now, Device: w.Device, Epoch: a.Epoch})
	}
	l.d.mu.Lock()
	l.d.asks[w.Device] = a
	l.d.mu.Unlock()
	l.d.outbox.put(a, true)
	return a, nil
}

func endedPhase(phase string) bool {
	switch phase {
	case view.PhaseDone, view.PhaseFailed, view.PhaseReverted, view.PhaseSkipped:
		return true
	}
	return false
}

// Standing is where a device stands to the newest ask of it, by what it said here or to the
// panel that it is linked to; false if it was never asked, or nothing follows from that.
func (d *Driver) Standing(device string) (rollout.Seen, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.asks[device]
	if !ok {
		return rollout.Seen{}, false
	}
	seen, _ := translate(a, d.words[device], d.answerOf(device), time.Now())
	if s, told := d.toldElsewhere(a); told {
		seen = s.seen(device, time.Now())
	}
	return seen, seen.What != ""
}

// toldElsewhere is what another panel told of a device that is not linked to this one. The
// caller holds mu.
func (d *Driver) toldElsewhere(a Ask) (shared, bool) {
	s, ok := d.shares[a.Device]
	return s, ok && s.Epoch == a.Epoch && !d.words[a.Device].here()
}

// Said is what a device answered to being asked to confirm, to revert, or for nothing any more.
type Said struct {
	Exit    int // as of the device's commands
	Message string
}

// Said is the answer to the newest ask of a device; false if there is none.
func (d *Driver) Said(device string) (Said, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.asks[device]
	if !ok {
		return Said{}, false
	}
	if s, told := d.toldElsewhere(a); told && s.Said {
		return Said{s.Exit, s.Message}, true
	}
	return d.saidHere(a)
}

// saidHere is what a device has answered to this panel. The caller holds mu.
func (d *Driver) saidHere(a Ask) (Said, bool) {
	if a.Want == rollout.WantNothing {
		r := d.words[a.Device].Report
		taken := r != nil && r.Epoch == uint64(a.Epoch) && r.State == wire.ReportNothing //nolint:gosec // epochs count up from 0
		return Said{Message: "nothing is asked of it any more"}, taken
	}
	s := d.answerOf(a.Device)
	if s == nil || s.epoch != a.Epoch {
		return Said{}, false
	}
	return Said{s.exit, s.message}, true
}

// answerOf is nil if there is none. The caller holds mu.
func (d *Driver) answerOf(device string) *answer {
	if s, ok := d.answers[device]; ok {
		return &s
	}
	return nil
}

// Staged is the digest of what waits on a device to be tried and was not asked for, by the
// device's own word; "" if there is none.
func (d *Driver) Staged(device string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.words[device]
	if s, ok := d.shares[device]; ok && !w.here() {
		return s.Staged
	}
	if w.Status == nil || stagedBy(w.Status) == d.asks[device].Live.Digest {
		return ""
	}
	return stagedBy(w.Status)
}

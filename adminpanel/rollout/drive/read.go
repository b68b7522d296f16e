package drive

import (
	"context"
	"errors"
	"slices"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// maxDevices is how many devices are on a page at most.
const maxDevices = 1000

// Show returns a rollout as its page shows it.
func (d *Driver) Show(ctx context.Context, id string) (v view.Rollout, err error) {
	err = d.read(ctx, id, func(r *run, now time.Time) { v = r.show(now) })
	return v, err
}

// Devices returns those of a wave (from 1; 0: all) and a phase ("": all) whose ids come
// after one, in their order.
func (d *Driver) Devices(ctx context.Context, id string, wave int, phase, after string, most int) (page view.RolloutDevices, err error) {
	if most <= 0 || most > maxDevices {
		most = maxDevices
	}
	err = d.read(ctx, id, func(r *run, _ time.Time) {
		page.Devices, page.Total = r.engine.Devices(wave-1, phase, after, most)
		if len(page.Devices) == most {
			page.After = page.Devices[most-1].ID
		}
	})
	return page, err
}

// List returns all rollouts, the newest first, without what only their devices tell of
// those that have ended long ago.
func (d *Driver) List(ctx context.Context) (list []view.Rollout, err error) {
	list = []view.Rollout{}
	err = d.do(ctx, func(_ context.Context, l *leader) error {
		now := time.Now()
		for _, r := range l.sorted() {
			if r.engine != nil {
				list = append(list, r.show(now))
				continue
			}
			list = append(list, r.bare(now))
		}
		return nil
	})
	if errors.Is(err, ErrNotLeading) {
		list, err = d.listStored(ctx)
	}
	slices.SortStableFunc(list, func(a, b view.Rollout) int { return b.Created.Compare(a.Created) })
	return list, err
}

func (d *Driver) listStored(ctx context.Context) ([]view.Rollout, error) {
	list := []view.Rollout{}
	now := time.Now()
	_, err := store.All(ctx, d.cfg.Store, prefixRollouts, func(item store.Item) error {
		rec, err := readRecord(item)
		if err != nil {
			return err
		}
		r := run{record: rec, rev: item.Rev}
		list = append(list, r.bare(now))
		return nil
	})
	return list, err
}

// read looks at a rollout: in the leader's hands, or as it is in the store.
func (d *Driver) read(ctx context.Context, id string, look func(r *run, now time.Time)) error {
	ended := false
	err := d.do(ctx, func(_ context.Context, l *leader) error {
		r, ok := l.runs[id]
		switch {
		case !ok:
			return store.ErrNotFound
		case r.engine == nil:
			ended = true
		default:
			look(r, time.Now())
		}
		return nil
	})
	if !ended && !errors.Is(err, ErrNotLeading) {
		return err
	}
	now := time.Now()
	item, err := d.cfg.Store.Get(ctx, prefixRollouts+id)
	if err != nil {
		return err
	}
	rec, err := readRecord(item)
	if err != nil {
		return err
	}
	r := &run{record: rec, rev: item.Rev}
	var courses []rollout.Course
	if !r.waits() {
		if courses, err = readCourses(ctx, d.cfg.Store, id); err != nil {
			return err
		}
	}
	if r.engine, err = rollout.Look(r.Plan, r.Head, courses, now, func(device string) bool {
		dev, ok := d.cfg.Fleet.Get(device)
		return ok && dev.Online
	}); err != nil {
		return err
	}
	look(r, now)
	return nil
}

// show adds what the engine does not know.
func (r *run) show(now time.Time) view.Rollout { return r.complete(r.engine.Show(now)) }

// bare is a rollout without its devices.
func (r *run) bare(now time.Time) view.Rollout {
	engine, err := rollout.Restore(r.Plan, r.Head, nil, now)
	if err != nil { // it was written by another version of the panel
		return r.complete(view.Rollout{
			Plan: r.Plan, State: r.Head.State, Why: err.Error(),
			Waves: []view.WaveState{}, Failures: []view.Cause{}, Actions: []view.Step{},
		})
	}
	return r.complete(engine.Show(now))
}

func (r *run) complete(v view.Rollout) view.Rollout {
	v.ID, v.Version, v.By, v.Created, v.Approvals, v.Needed, v.Rev = r.ID, r.Version, r.By, r.Created, r.Approvals, r.Needed, r.rev
	if now := time.Now(); r.Head.State == view.RolloutApproved && r.Plan.NotBefore.After(now) {
		v.NextEvent = &view.Next{What: "start", InMS: r.Plan.NotBefore.Sub(now).Milliseconds()}
	}
	return v
}

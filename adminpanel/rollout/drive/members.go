package drive

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/store"
)

// prefixBoth is that of rollouts and of courses, so that one watch has both in their order.
const prefixBoth = "r"

// Members tells which devices are in a rollout that has started and not ended, whoever
// leads, and again with "" when it has ended, until ctx ends.
func Members(ctx context.Context, s store.Store, in func(rollout string, devices ...string), failed func(error)) {
	m := members{store: s, in: in, active: map[string]map[string]struct{}{}}
	for ctx.Err() == nil {
		if err := m.follow(ctx); err != nil && ctx.Err() == nil {
			failed(err)
			select {
			case <-time.After(pauseLead):
			case <-ctx.Done():
			}
		}
	}
}

type members struct {
	store  store.Store
	in     func(rollout string, devices ...string)
	active map[string]map[string]struct{} // devices, by rollout
}

// follow returns without an error when the watch was left behind.
func (m *members) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := map[string]bool{}
	rev, err := store.All(ctx, m.store, prefixRollouts, func(item store.Item) error {
		found[strings.TrimPrefix(item.Key, prefixRollouts)] = true
		return m.head(ctx, item)
	})
	if err != nil {
		return err
	}
	for id := range m.active {
		if !found[id] {
			m.over(id)
		}
	}
	events, err := m.store.Watch(ctx, prefixBoth, rev)
	if err != nil {
		return err
	}
	for e := range events {
		if err := m.take(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (m *members) take(ctx context.Context, e store.Event) error {
	if id, ok := strings.CutPrefix(e.Key, prefixRollouts); ok {
		if e.Deleted {
			m.over(id)
			return nil
		}
		return m.head(ctx, store.Item{Key: e.Key, Value: e.Value, Rev: e.Rev})
	}
	if name, ok := strings.CutPrefix(e.Key, prefixCourses); ok && !e.Deleted {
		id, device, _ := strings.Cut(name, "/")
		m.add(id, device)
	}
	return nil
}

// head takes a rollout's record. Devices of one that is seen to have started are those
// whose courses are there; others come as they are written.
func (m *members) head(ctx context.Context, item store.Item) error {
	r, err := readRecord(item)
	if err != nil {
		return err
	}
	if r.Head.Started.IsZero() || !r.Head.Ended.IsZero() {
		m.over(r.ID)
		return nil
	}
	if m.active[r.ID] != nil {
		return nil
	}
	m.active[r.ID] = map[string]struct{}{}
	begin := courseKey(r.ID, "")
	_, err = store.All(ctx, m.store, begin, func(item store.Item) error {
		m.add(r.ID, strings.TrimPrefix(item.Key, begin))
		return nil
	})
	if err != nil {
		delete(m.active, r.ID) // to be read again
	}
	return err
}

func (m *members) add(id, device string) {
	devices := m.active[id]
	if _, there := devices[device]; devices == nil || there {
		return
	}
	devices[device] = struct{}{}
	m.in(id, device)
}

func (m *members) over(id string) {
	if devices := m.active[id]; len(devices) > 0 {
		m.in("", slices.Collect(maps.Keys(devices))...)
	}
	delete(m.active, id)
}

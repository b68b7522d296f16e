package fleet

import (
	"context"
	"strings"
	"time"

	"slipstream/adminpanel/store"
)

// again is how long to wait after the store failed.
const again = time.Second

// soon is how long to wait before what is expected to go well the next time.
const soon = 20 * time.Millisecond

// follow tells of everything below a prefix: first what is there, then each change. A
// value of nil is a key that was deleted. When a watch ends it begins anew, and swept is told what is
// there, so that what was deleted meanwhile can be found.
func (f *Fleet) follow(ctx context.Context, prefix string, changed func(name string, value []byte, rev int64), swept func(found map[string]bool, rev int64), ready func()) {
	for ctx.Err() == nil {
		rev, err := f.scan(ctx, prefix, changed, swept)
		if err != nil {
			f.failed(ctx, "the store cannot be read; trying again", err)
			continue
		}
		if ready != nil {
			ready()
		}
		watching, cancel := context.WithCancel(ctx)
		events, err := f.cfg.Store.Watch(watching, prefix, rev)
		if err != nil {
			cancel()
			f.failed(ctx, "the store cannot be watched; trying again", err)
			continue
		}
		for e := range events {
			value := e.Value
			if e.Deleted {
				value = nil
			} else if value == nil {
				value = []byte{}
			}
			changed(strings.TrimPrefix(e.Key, prefix), value, e.Rev)
		}
		cancel()
		pause(ctx, soon)
	}
}

func (f *Fleet) scan(ctx context.Context, prefix string, changed func(string, []byte, int64), swept func(map[string]bool, int64)) (int64, error) {
	found := map[string]bool{}
	rev, err := store.All(ctx, f.cfg.Store, prefix, func(item store.Item) error {
		name := strings.TrimPrefix(item.Key, prefix)
		found[name] = true
		changed(name, append([]byte{}, item.Value...), item.Rev)
		return nil
	})
	if err != nil {
		return 0, err
	}
	swept(found, rev)
	return rev, nil
}

func (f *Fleet) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	f.cfg.Log.Warn(what, "cause", err)
	pause(ctx, again)
}

// pause says whether the time has passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

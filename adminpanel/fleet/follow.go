package fleet

import (
	"context"
	"time"

	"slipstream/adminpanel/store"
)

// again is how long to wait after the store failed.
const again = time.Second

// soon is how long to wait before what is expected to go well the next time.
const soon = 20 * time.Millisecond

// follow is [store.Follow] that logs what is tried again.
func (f *Fleet) follow(ctx context.Context, prefix string, changed func(string, []byte, int64), swept func(map[string]bool, int64)) {
	store.Follow(ctx, f.cfg.Store, prefix, store.Follower{Changed: changed, Swept: swept, Failed: func(err error) {
		f.cfg.Log.Warn("the store cannot be followed; trying again", "cause", err)
	}})
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

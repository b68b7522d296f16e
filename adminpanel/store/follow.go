package store

import (
	"context"
	"strings"
	"time"
)

// Follower is told what is in a store.
type Follower struct {
	// Changed has a key's name without the prefix, and its new value; nil: it was
	// deleted. The same may be told twice, and an older value after a newer one: compare revisions.
	Changed func(name string, value []byte, rev int64)
	// Swept, if set, follows each scan: what was not found was not there at that
	// revision. After the first one all is known.
	Swept func(found map[string]bool, rev int64)
	// Failed, if set, is told what is tried again.
	Failed func(error)
}

const (
	followAgain = time.Second           // after the store failed
	followSoon  = 20 * time.Millisecond // after a watch has ended
)

// Follow tells of everything with a prefix, first what is there and then each change, until ctx
// ends. When a watch is lost it scans again.
func Follow(ctx context.Context, s Store, prefix string, f Follower) {
	for ctx.Err() == nil {
		pause := followSoon
		if err := followOnce(ctx, s, prefix, f); err != nil && ctx.Err() == nil {
			pause = followAgain
			if f.Failed != nil {
				f.Failed(err)
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// followOnce returns when its watch has ended.
func followOnce(ctx context.Context, s Store, prefix string, f Follower) error {
	found := map[string]bool{}
	rev, err := All(ctx, s, prefix, func(item Item) error {
		name := strings.TrimPrefix(item.Key, prefix)
		found[name] = true
		f.Changed(name, append([]byte{}, item.Value...), item.Rev)
		return nil
	})
	if err != nil {
		return err
	}
	if f.Swept != nil {
		f.Swept(found, rev)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.Watch(ctx, prefix, rev)
	if err != nil {
		return err
	}
	for e := range events {
		value := append([]byte{}, e.Value...)
		if e.Deleted {
			value = nil
		}
		f.Changed(strings.TrimPrefix(e.Key, prefix), value, e.Rev)
	}
	return nil
}

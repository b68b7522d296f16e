package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	prefixTrend = "v/"
	trendForm   = "2006-01-02T15:04Z" // orders as time does
	trendEvery  = 15 * time.Minute
	trendKept   = 8 * 24 * time.Hour
	maxVersions = 200 // in one point; those on most devices
	maxPoints   = 1000
)

// lead does, while this panel leads, what one panel of all has to do.
func (f *Fleet) lead(ctx context.Context) {
	for ctx.Err() == nil {
		term, err := f.cfg.Store.Lead(ctx, "fleet")
		if err != nil {
			f.failed(ctx, "no panel can lead", err)
			continue
		}
		f.setLeading(true)
		f.trend(ctx, term)
		f.setLeading(false)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
		if err := term.Resign(last); err != nil {
			f.cfg.Log.Debug("the lead was lost before", "cause", err)
		}
		cancel()
	}
}

func (f *Fleet) setLeading(leading bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leading = leading
}

// trend writes a point each quarter of an hour until the term ends.
func (f *Fleet) trend(ctx context.Context, term store.Term) {
	select {
	case <-f.loaded:
	case <-ctx.Done():
		return
	case <-term.Lost():
		return
	}
	for {
		now := time.Now()
		if err := f.Remember(ctx, now, term.Cond()); err != nil && ctx.Err() == nil {
			f.cfg.Log.Warn("the trend of versions has a gap", "cause", err)
		}
		next := time.NewTimer(now.Truncate(trendEvery).Add(trendEvery).Sub(now))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		case <-term.Lost():
			next.Stop()
			return
		}
	}
}

// Remember writes how many devices run which version, once in each quarter of an hour,
// and drops what is too old.
func (f *Fleet) Remember(ctx context.Context, now time.Time, ifs ...store.Cond) error {
	at := now.UTC().Truncate(trendEvery)
	value, err := json.Marshal(view.VersionPoint{At: at, Running: f.running(now)})
	if err != nil {
		return err
	}
	key := prefixTrend + at.Format(trendForm)
	ops := []store.Op{{Key: key, Value: value}}
	old, err := f.cfg.Store.Scan(ctx, prefixTrend, prefixTrend+at.Add(-trendKept).Format(trendForm), store.MaxOps-1)
	if err != nil {
		return fmt.Errorf("read the trend of versions: %w", err)
	}
	for _, item := range old.Items {
		ops = append(ops, store.Op{Key: item.Key, Delete: true})
	}
	_, err = f.cfg.Store.Commit(ctx, append(ifs, store.Cond{Key: key}), ops)
	if errors.Is(err, store.ErrConflict) {
		return nil // it is there, or another panel leads
	}
	return err
}

// running counts the devices by the version that they run.
func (f *Fleet) running(now time.Time) map[string]int {
	counts := f.table.Versions(Selector{}, now).Versions
	slices.SortStableFunc(counts, func(a, b view.VersionCount) int { return b.Running - a.Running })
	most := map[string]int{}
	for _, c := range counts[:min(len(counts), maxVersions)] {
		if c.Running > 0 {
			most[c.Version] = c.Running
		}
	}
	return most
}

// History is the trend since a time, oldest first.
func (f *Fleet) History(ctx context.Context, since time.Time) ([]view.VersionPoint, error) {
	page, err := f.cfg.Store.Scan(ctx, prefixTrend+since.UTC().Format(trendForm), store.PrefixEnd(prefixTrend), maxPoints)
	if err != nil {
		return nil, fmt.Errorf("read the trend of versions: %w", err)
	}
	points := []view.VersionPoint{}
	for _, item := range page.Items {
		var p view.VersionPoint
		if err := json.Unmarshal(item.Value, &p); err != nil {
			return nil, fmt.Errorf("read the trend of versions at %s: %w", strings.TrimPrefix(item.Key, prefixTrend), err)
		}
		points = append(points, p)
	}
	return points, nil
}

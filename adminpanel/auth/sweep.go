package auth

import (
	"context"
	"errors"
	"strings"
	"time"

	"slipstream/adminpanel/store"
)

const (
	sweepName  = "sweep"
	sweepEvery = 10 * time.Minute
	sweepBatch = 50
	sweepAgain = 5 * time.Second // after an error of the store
)

// Run deletes sessions and tokens that are over, on one panel of all, until ctx ends.
func (a *Auth) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := a.lead(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("sessions that are over stay a while", "err", err)
			wait(ctx, sweepAgain, nil)
		}
	}
	return ctx.Err()
}

func (a *Auth) lead(ctx context.Context) (err error) {
	term, err := a.store.Lead(ctx, sweepName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, term.Resign(context.WithoutCancel(ctx))) }()
	for {
		if _, err := a.Sweep(ctx, term.Cond()); err != nil {
			return err
		}
		if !wait(ctx, sweepEvery, term.Lost()) {
			return ctx.Err()
		}
	}
}

// wait tells whether the time has passed before ctx or the other has ended.
func wait(ctx context.Context, span time.Duration, lost <-chan struct{}) bool {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-lost:
	case <-ctx.Done():
	}
	return false
}

// Sweep deletes what is over, as long as a condition holds, and tells how many.
func (a *Auth) Sweep(ctx context.Context, leads store.Cond) (gone int, err error) {
	now, idle := a.now(), a.cfg.Idle()
	var over []store.Cond
	err = a.sessions(ctx, func(key string, s session, rev int64) error {
		if !now.Before(s.end(idle)) {
			over = append(over, store.Cond{Key: sessionPrefix + key, Rev: rev})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	// Who made a token sees for a while that it is over.
	err = a.eachToken(ctx, func(t token, rev int64) error {
		if now.After(t.Until.Add(tokenKept)) {
			over = append(over, store.Cond{Key: tokenPrefix + t.ID, Rev: rev})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for len(over) > 0 {
		n := min(len(over), sweepBatch)
		done, err := a.drop(ctx, leads, over[:n])
		if err != nil {
			return gone, err
		}
		gone, over = gone+done, over[n:]
	}
	return gone, nil
}

// drop deletes keys. If one of them is used meanwhile, each is tried alone.
func (a *Auth) drop(ctx context.Context, leads store.Cond, over []store.Cond) (gone int, err error) {
	ops := make([]store.Op, len(over))
	for i, c := range over {
		ops[i] = store.Op{Key: c.Key, Delete: true}
	}
	_, err = a.store.Commit(ctx, append([]store.Cond{leads}, over...), ops)
	switch {
	case err == nil:
		return len(over), nil
	case !errors.Is(err, store.ErrConflict):
		return 0, err
	case len(over) == 1:
		return 0, a.stillLeads(ctx, leads, over[0].Key)
	}
	for i := range over {
		n, err := a.drop(ctx, leads, over[i:i+1])
		if err != nil {
			return gone, err
		}
		gone += n
	}
	return gone, nil
}

// stillLeads tells whether it was the key that changed, and not the leader.
func (a *Auth) stillLeads(ctx context.Context, leads store.Cond, key string) error {
	if _, err := a.store.Commit(ctx, []store.Cond{leads}, nil); err != nil {
		return err
	}
	a.log.Debug("in use again", "kind", strings.SplitN(key, "/", 2)[0])
	return nil
}

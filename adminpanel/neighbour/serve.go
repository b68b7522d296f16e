package neighbour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"slipstream/adminpanel/store"
)

const (
	// atOnce is how many asks of others this panel has in hand.
	atOnce = 64
	// pauseServe is how soon it listens again after the store has failed.
	pauseServe = time.Second
)

// Serve says what brings the pictures of this panel's devices to viewers of other panels, before
// [Panels.Run].
func (p *Panels) Serve(r Relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relay = r
}

// Run answers other panels until ctx ends.
func (p *Panels) Run(ctx context.Context) error {
	for {
		if err := p.serve(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Log.Warn("other panels were not heard", "cause", err, "again_in", pauseServe)
		}
		select {
		case <-time.After(pauseServe):
		case <-ctx.Done():
			return nil
		}
	}
}

// serve returns when the watch has ended.
func (p *Panels) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup
	defer owned.Wait()
	defer cancel()
	own := prefix + p.cfg.Panel + "/"
	rev, err := store.All(ctx, p.cfg.Store, own, func(item store.Item) error { return p.drop(ctx, item) })
	if err != nil {
		return err
	}
	events, err := p.cfg.Store.Watch(ctx, own, rev)
	if err != nil {
		return err
	}
	room := make(chan struct{}, atOnce)
	for e := range events {
		if e.Deleted || !strings.HasSuffix(e.Key, partAsk) {
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		owned.Go(func() {
			defer func() { <-room }()
			if err := p.obey(ctx, e); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("another panel was not answered", "cause", err)
			}
		})
	}
	return nil
}

// drop ends what was asked of the panel that ran here before, and tells who may still wait.
func (p *Panels) drop(ctx context.Context, item store.Item) error {
	if !strings.HasSuffix(item.Key, partAsk) {
		_, err := p.cfg.Store.Commit(ctx, nil, []store.Op{{Key: item.Key, Delete: true}})
		return err
	}
	return p.answer(ctx, item.Key, item.Rev, reply{Kind: "lost"})
}

// answer takes an ask away for its answer. Who waits no more has done so before.
func (p *Panels) answer(ctx context.Context, key string, rev int64, r reply) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = p.cfg.Store.Commit(ctx, []store.Cond{{Key: key, Rev: rev}},
		[]store.Op{{Key: key, Delete: true}, {Key: strings.TrimSuffix(key, partAsk) + partAnswer, Value: text}})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

func (p *Panels) obey(ctx context.Context, e store.Event) error {
	var q request
	if err := json.Unmarshal(e.Value, &q); err != nil {
		return fmt.Errorf("read %s: %w", e.Key, err)
	}
	var r reply
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	switch {
	case q.Relay != nil:
		if err := p.obeyForRelay(asking, q, &r); err != nil {
			r.fail(err)
		}
		return p.answer(ctx, e.Key, e.Rev, r)
	case q.Ask == nil:
		if d, ok := p.cfg.Hub.Device(q.Device); ok && d.Status != nil {
			r.Status, r.AgeMS = d.Status, time.Since(d.StatusAt).Milliseconds()
		}
		return p.answer(ctx, e.Key, e.Rev, r)
	}
	answer, err := p.cfg.Hub.Ask(asking, q.Device, *q.Ask)
	r.Answer = &answer
	if err != nil && answer.Error == nil {
		r.fail(err)
	}
	return p.answer(ctx, e.Key, e.Rev, r)
}

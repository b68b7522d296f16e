package drive

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	prefixForward = "fw/"
	partAsk       = "/ask"
	partAnswer    = "/answer"

	// forwardTimeout is how long the panel that leads may take for what another one asks.
	forwardTimeout = 30 * time.Second
	// tidyTimeout is for what is left when that is over.
	tidyTimeout = 5 * time.Second
	// forwardsAtOnce is how many of them the leader has in hand.
	forwardsAtOnce = 16
)

// request is what a panel wants of the one that leads. One of Plan, Verb and Wish is set.
type request struct {
	Plan   *view.Plan `json:"plan,omitempty"`
	Needed int        `json:"needed,omitempty"`
	ID     string     `json:"id,omitempty"`
	Verb   string     `json:"verb,omitempty"`
	Caller Caller     `json:"caller,omitzero"`
	Wish   *Wish      `json:"wish,omitempty"`
}

// reply is what came of it. Until it is done it says only that it was taken: whoever dies
// then leaves open whether it was done, and nobody does it a second time.
type reply struct {
	Done    bool          `json:"done,omitempty"`
	Dropped bool          `json:"dropped,omitempty"` // nobody has begun with it
	Kind    string        `json:"kind,omitempty"`    // of the refusal
	Text    string        `json:"text,omitempty"`
	Rollout *view.Rollout `json:"rollout,omitempty"`
	Ask     *Ask          `json:"ask,omitempty"`
}

// refusals are the errors that callers tell apart, by the names that they travel under.
var refusals = map[string]error{
	"refused": ErrRefused, "stale": ErrStale, "state": rollout.ErrState, "unknown": store.ErrNotFound, "leading": ErrNotLeading,
}

const kindFailed = "failed"

// remoteError is an error of the panel that leads.
type remoteError struct {
	text string
	kind error // nil: none that callers tell apart
}

func (e *remoteError) Error() string { return e.text }

// Unwrap lets callers tell it apart.
func (e *remoteError) Unwrap() error { return e.kind }

func (r *reply) fail(err error) {
	r.Kind, r.Text = kindFailed, err.Error()
	for kind, known := range refusals {
		if errors.Is(err, known) {
			r.Kind = kind
		}
	}
}

func (r *reply) err() error {
	if r.Kind == "" {
		return nil
	}
	return &remoteError{r.Text, refusals[r.Kind]}
}

// decide does a request here, or has the panel do it that leads.
func (d *Driver) decide(ctx context.Context, q request) (reply, error) {
	r, err := d.carryOut(ctx, q)
	if !errors.Is(err, ErrNotLeading) {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	for {
		r, dropped, err := d.forward(ctx, q)
		if !dropped {
			return r, err
		}
	}
}

// carryOut does a request if this panel leads.
func (d *Driver) carryOut(ctx context.Context, q request) (r reply, err error) {
	switch {
	case q.Plan != nil:
		r.Rollout, err = d.create(ctx, *q.Plan, q.Needed, q.Caller)
	case q.Wish != nil:
		r.Ask, err = d.wish(ctx, *q.Wish)
	default:
		r.Rollout, err = d.verb(ctx, q.ID, q.Verb, q.Caller)
	}
	return r, err
}

// forward puts a request into the store and waits for the answer. Dropped tells that
// another panel has begun to lead, which does nothing that was wanted before.
func (d *Driver) forward(ctx context.Context, q request) (r reply, dropped bool, err error) {
	text, err := json.Marshal(q)
	if err != nil {
		return r, false, err
	}
	base := prefixForward + rand.Text()
	ask, answer := base+partAsk, base+partAnswer
	rev, err := d.cfg.Store.Commit(ctx, []store.Cond{{Key: ask}}, []store.Op{{Key: ask, Value: text}})
	if err != nil {
		return r, false, err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		// If it is still there, nobody has begun with it, and nobody will.
		_, open := d.cfg.Store.Commit(last, []store.Cond{{Key: ask, Rev: rev}}, []store.Op{{Key: ask, Delete: true}})
		switch {
		case open == nil && err != nil:
			err = ErrNotLeading
		case open != nil:
			d.forget(last, answer)
		}
	}()
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := d.cfg.Store.Watch(watching, base, rev)
	if err != nil {
		return r, false, err
	}
	for e := range events {
		if e.Key != answer {
			continue
		}
		if e.Deleted {
			return r, false, ErrUnsaid
		}
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return r, false, err
		}
		if r.Done || r.Dropped {
			return r, r.Dropped, r.err()
		}
	}
	return r, false, ErrUnsaid
}

func (d *Driver) forget(ctx context.Context, key string) {
	if _, err := d.cfg.Store.Commit(ctx, nil, []store.Op{{Key: key, Delete: true}}); err != nil {
		d.log.Warn("what another panel has answered is left in the store", "cause", err)
	}
}

// serve does what other panels want, for the time of a term. What was wanted before is
// dropped: whoever still waits for it asks again, and who is gone wants it no more.
func (l *leader) serve(ctx context.Context) {
	room := make(chan struct{}, forwardsAtOnce)
	defer func() { // all have ended
		for range forwardsAtOnce {
			room <- struct{}{}
		}
	}()
	for ctx.Err() == nil {
		if err := l.serveOnce(ctx, room); err != nil && ctx.Err() == nil {
			l.d.log.Warn("other panels were not heard", "cause", err, "again_in", pauseLead)
			select {
			case <-time.After(pauseLead):
			case <-ctx.Done():
			}
		}
	}
}

// serveOnce returns without an error when the watch was left behind.
func (l *leader) serveOnce(ctx context.Context, room chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rev, err := store.All(ctx, l.d.cfg.Store, prefixForward, func(item store.Item) error { return l.dismiss(ctx, item) })
	if err != nil {
		return err
	}
	events, err := l.d.cfg.Store.Watch(ctx, prefixForward, rev)
	if err != nil {
		return err
	}
	for e := range events {
		base, ok := strings.CutSuffix(e.Key, partAsk)
		if !ok || e.Deleted {
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		go func() {
			defer func() { <-room }()
			if err := l.obey(ctx, base, e); err != nil && !errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
				l.d.log.Warn("another panel was not answered", "cause", err)
			}
		}()
	}
	return nil
}

// dismiss ends what was wanted of an earlier leader: a request says so to who may still
// wait, and an answer that nobody has fetched by now nobody will.
func (l *leader) dismiss(ctx context.Context, item store.Item) error {
	ops := []store.Op{{Key: item.Key, Delete: true}}
	if base, ok := strings.CutSuffix(item.Key, partAsk); ok {
		text, err := json.Marshal(reply{Dropped: true})
		if err != nil {
			return err
		}
		ops = append(ops, store.Op{Key: base + partAnswer, Value: text})
	}
	_, err := l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond, {Key: item.Key, Rev: item.Rev}}, ops)
	if errors.Is(err, store.ErrConflict) {
		_, err = l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond}, nil) // who asked was faster, if this holds
	}
	return err
}

// obey takes a request, does it and answers.
func (l *leader) obey(ctx context.Context, base string, e store.Event) error {
	var q request
	if err := json.Unmarshal(e.Value, &q); err != nil {
		return fmt.Errorf("read %s: %w", e.Key, err)
	}
	// A conflict: it was swept, or who wanted it waits no more.
	_, err := l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond, {Key: e.Key, Rev: e.Rev}},
		[]store.Op{{Key: e.Key, Delete: true}, {Key: base + partAnswer, Value: []byte("{}")}})
	if err != nil {
		return err
	}
	doing, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	r, err := l.d.carryOut(doing, q)
	if err != nil {
		r.fail(err)
	}
	r.Done = true
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond}, []store.Op{{Key: base + partAnswer, Value: text}})
	return err
}

package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

// listener is one reader of events.
type listener struct {
	a      *API
	caller auth.Caller
	q      fleet.Selector
	scope  fleet.Selector // what the caller may see
	all    bool           // which is everything
	after  int64
	topics map[string]bool
	shown  map[string]bool              // devices that a narrowed reader knows of
	last   map[change][sha256.Size]byte // of what is looked at alone, as it was told
	out    http.ResponseWriter
	rc     *http.ResponseController
}

// become takes on what the caller may do by now.
func (l *listener) become(c auth.Caller) {
	l.caller = c
	l.scope = fleet.Selector{}.Within(c.Scope(auth.LookDevice))
	l.all = l.scope.All()
	if l.all {
		return
	}
	for _, d := range l.a.cfg.Fleet.Table().Select(l.scope, time.Now()) {
		l.shown[d.ID] = true
	}
}

// listen tells of changes until the reader goes, does not read, may not any more, or the
// panel ends.
func (l *listener) listen(ctx context.Context) error {
	reader := l.a.feed.read(l.after)
	defer reader.close()
	// Not all come back at once when a panel is gone.
	if err := l.write(fmt.Sprintf("retry: %d\n\n", 500+rand.IntN(1500))); err != nil { //nolint:gosec // it keeps no secret
		return err
	}
	if err := l.look(ctx); err != nil {
		return err
	}
	beat, renew, look := time.NewTicker(beatEvery), time.NewTicker(l.a.renewEvery), time.NewTicker(lookEvery)
	defer beat.Stop()
	defer renew.Stop()
	defer look.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.a.ctx.Done():
			return l.a.ctx.Err()
		case <-reader.wake:
			err = l.tell(ctx, reader)
		case <-look.C:
			err = l.look(ctx)
		case <-beat.C:
			if err = l.tell(ctx, reader); err == nil {
				err = l.send(view.Event{Kind: kindBeat, Rev: l.after})
			}
		case <-renew.C:
			err = l.renew(ctx)
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(eventPause):
		case <-ctx.Done():
		case <-l.a.ctx.Done():
		}
	}
}

// renew ends with an error when the caller is signed in no more. What somebody else may see
// than before has to be looked at anew.
func (l *listener) renew(ctx context.Context) error {
	before := l.caller.Grants
	c, err := l.a.cfg.Auth.Renew(ctx, l.caller)
	switch {
	case err != nil:
		return err
	case !c.May(auth.LookFleet):
		return auth.ErrForbidden
	}
	if slices.Equal(before, c.Grants) {
		l.become(c)
		return nil
	}
	clear(l.shown)
	l.become(c)
	return l.send(view.Event{Kind: kindResync, Rev: l.after})
}

// tell sends what has changed, in the order of revisions: whoever comes back after one of
// them has missed the rest.
func (l *listener) tell(ctx context.Context, reader *feedReader) error {
	dirty, lost, rev := reader.take()
	if lost {
		l.after = rev
		return l.send(view.Event{Kind: kindResync, Rev: rev})
	}
	order := slices.SortedFunc(maps.Keys(dirty), func(x, y change) int {
		return cmp.Or(cmp.Compare(dirty[x].rev, dirty[y].rev), strings.Compare(x.kind, y.kind), strings.Compare(x.id, y.id))
	})
	for _, c := range order {
		e, ok, err := l.eventOf(ctx, c)
		if err != nil {
			return err
		}
		l.after = max(l.after, dirty[c].rev)
		if !ok {
			continue
		}
		e.Rev = l.after
		if err := l.send(e); err != nil {
			return err
		}
	}
	l.after = max(l.after, rev)
	return nil
}

func (l *listener) wants(c change) bool { return l.topics[c.kind+"s"] || l.topics[c.kind+":"+c.id] }

// eventOf is what a change is told as; false if it is not told to this reader.
func (l *listener) eventOf(ctx context.Context, c change) (view.Event, bool, error) {
	switch c.kind {
	case kindDevice:
		if l.wants(c) {
			return l.device(ctx, c.id)
		}
	case kindHub:
		if l.topics[kindHub] {
			return event(c, l.a.cfg.Fleet.Counts())
		}
	case kindRollout:
		if l.wants(c) {
			v, err := l.a.cfg.Drive.Show(ctx, c.id)
			if err != nil {
				return l.found(c, nil, err)
			}
			v = l.a.rolloutFor(l.caller, v)
			still := v
			still.NextEvent = nil // time passes
			l.told(c, still)
			return event(c, v)
		}
	case kindRelease:
		if l.wants(c) {
			v, err := l.a.cfg.Releases.Get(ctx, c.id)
			return l.found(c, l.a.releaseFor(v), err)
		}
	case kindAudit:
		if l.topics[kindAudit] && l.caller.May(auth.LookAudit) {
			var line view.AuditLine
			item, err := l.a.cfg.Store.Get(ctx, "a/"+c.id)
			if err == nil {
				err = json.Unmarshal(item.Value, &line)
			}
			return l.found(change{c.kind, strconv.FormatInt(line.Seq, 10)}, line, err)
		}
	}
	return view.Event{}, false, nil
}

// device is told as a row, or whole to who asked for this one. To whom it is nothing any
// more, be it gone or another's, it is deleted.
func (l *listener) device(ctx context.Context, id string) (view.Event, bool, error) {
	now := time.Now()
	d, ok := l.a.cfg.Fleet.Table().Get(id)
	whole := l.topics[kindDevice+":"+id]
	switch {
	case !ok || !l.scope.Meets(&d, now):
		known := l.all || l.shown[id]
		delete(l.shown, id)
		return view.Event{Kind: kindDevice, ID: id, Deleted: true}, known, nil
	case !whole && !l.q.Meets(&d, now):
		return view.Event{Kind: kindDevice, ID: id, Deleted: true}, true, nil
	}
	if !l.all {
		l.shown[id] = true
	}
	if !whole {
		return event(change{kindDevice, id}, d)
	}
	detail, err := l.a.detail(ctx, l.caller, id)
	if err != nil {
		return l.found(change{kindDevice, id}, nil, err)
	}
	still := detail
	still.StatusAgeMS = 0 // time passes
	l.told(change{kindDevice, id}, still)
	return event(change{kindDevice, id}, detail)
}

// told remembers what is looked at alone.
func (l *listener) told(c change, v any) {
	text, err := json.Marshal(v)
	if err == nil && l.topics[c.kind+":"+c.id] {
		l.last[c] = sha256.Sum256(text)
	}
}

// look tells of what nobody writes down about the one thing that a page shows: a trial that
// waits for its greenlight from now on, an answer that changed nothing.
func (l *listener) look(ctx context.Context) error {
	for topic := range l.topics {
		kind, id, single := strings.Cut(topic, ":")
		c := change{kind, id}
		if !single || kind == kindRelease {
			continue
		}
		before, known := l.last[c]
		e, ok, err := l.eventOf(ctx, c)
		if err != nil {
			return err
		}
		if ok && known && l.last[c] != before {
			e.Rev = l.after
			if err := l.send(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// found is an event about what was looked up. What is not there any more is deleted; what
// cannot be read just now is told of without data: whoever cares looks again.
func (l *listener) found(c change, v any, err error) (view.Event, bool, error) {
	if err == nil {
		return event(c, v)
	}
	p := l.a.problem(err)
	return view.Event{Kind: c.kind, ID: c.id, Deleted: p.Status == http.StatusNotFound}, true, nil
}

func event(c change, v any) (view.Event, bool, error) {
	data, err := json.Marshal(v)
	return view.Event{Kind: c.kind, ID: c.id, Data: data}, true, err
}

func (l *listener) send(e view.Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return l.write(fmt.Sprintf("event: %s\nid: %d\ndata: %s\n\n", e.Kind, e.Rev, text))
}

func (l *listener) write(text string) error {
	if _, err := l.out.Write([]byte(text)); err != nil {
		return err
	}
	return l.rc.Flush()
}

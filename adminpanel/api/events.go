package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

const (
	// eventPause bounds what a page has to draw: changes within it are one, of each thing.
	eventPause = 250 * time.Millisecond
	// beatEvery tells a page that the panel lives though nothing changes.
	beatEvery = 10 * time.Second
	// renewEvery is how soon a reader ends whose session has, or whose grants are others.
	renewEvery = 30 * time.Second
	maxTopics  = 500
	maxReaders = 1000
	maxMine    = 50 // readers of one person
)

// readers counts who listens.
type readers struct {
	mu  sync.Mutex // guards what follows
	all int
	of  map[string]int
}

func newReaders() *readers { return &readers{of: map[string]int{}} }

// enter takes a place, unless there is none.
func (r *readers) enter(person string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxReaders || r.of[person] >= maxMine {
		return false
	}
	r.all++
	r.of[person]++
	return true
}

func (r *readers) leave(person string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.of[person]--; r.of[person] == 0 {
		delete(r.of, person)
	}
}

func (a *API) registerEvents() {
	raw(a, "GET /events", "What changes, as server-sent events", a.getEvents,
		query("topics", "with commas between them: devices, device:ID, rollouts, rollout:ID, releases, audit, hub"),
		query("q", "a selector of devices"),
		query("after", "revision that the reader has seen; Last-Event-ID goes before it"),
		func(op *huma.Operation) {
			schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[view.Event](), true, "Event")
			op.Responses = map[string]*huma.Response{"200": {
				Description: "Each event's name is its kind, its id the revision, its data the JSON of an Event",
				Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
			}}
		})
}

// listener is one reader of events.
type listener struct {
	a      *API
	caller auth.Caller
	q      fleet.Selector
	scope  fleet.Selector // what the caller may see
	all    bool           // which is everything
	after  int64
	topics map[string]bool
	shown  map[string]bool // devices that a narrowed reader knows of
	out    http.ResponseWriter
	rc     *http.ResponseController
}

func (a *API) getEvents(w http.ResponseWriter, r *http.Request) error {
	l, err := a.listenerOf(w, r)
	if err != nil {
		return err
	}
	if !a.readers.enter(l.caller.Person()) {
		return newProblem(http.StatusServiceUnavailable, "too-many-readers", "too many pages listen to this panel").again(10 * time.Second)
	}
	defer a.readers.leave(l.caller.Person())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if err := l.listen(r.Context()); err != nil && r.Context().Err() == nil {
		a.log.Debug("a reader of events left", "cause", err)
	}
	return nil
}

func (a *API) listenerOf(w http.ResponseWriter, r *http.Request) (*listener, error) {
	q := r.URL.Query()
	l := &listener{a: a, topics: map[string]bool{}, shown: map[string]bool{}, out: w, rc: http.NewResponseController(w)}
	for name := range q {
		if !slices.Contains([]string{"topics", "q", "after"}, name) {
			return nil, badInput("query."+name, "unknown query parameter")
		}
	}
	for topic := range strings.SplitSeq(q.Get("topics"), ",") {
		if err := l.subscribe(topic); err != nil {
			return nil, err
		}
	}
	var err error
	if l.q, err = fleet.ParseSelector(q.Get("q")); err != nil {
		return nil, at("query.q", err)
	}
	for location, text := range map[string]string{"query.after": q.Get("after"), "header.Last-Event-ID": r.Header.Get("Last-Event-ID")} {
		rev, err := strconv.ParseInt(text, 10, 64)
		if text != "" && (err != nil || rev < 0) {
			return nil, badInput(location, "it is a revision, as events have it")
		}
		l.after = max(l.after, rev)
	}
	l.become(callerOf(r.Context()))
	return l, nil
}

func (l *listener) subscribe(topic string) error {
	kind, id, single := strings.Cut(topic, ":")
	switch {
	case topic == "" && len(l.topics) == 0:
		return badInput("query.topics", "name one at least, such as devices")
	case len(l.topics) == maxTopics:
		return badInput("query.topics", fmt.Sprintf("there are more than %d", maxTopics))
	case single && id != "" && (kind == kindDevice || kind == kindRollout || kind == kindRelease):
	case !single && slices.Contains([]string{"devices", "rollouts", "releases", kindAudit, kindHub}, topic):
	default:
		return badInput("query.topics", "there is no such topic; there are devices, device:ID, rollouts, rollout:ID, releases, release:ID, audit and hub")
	}
	l.topics[topic] = true
	return nil
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
	beat, renew := time.NewTicker(beatEvery), time.NewTicker(renewEvery)
	defer beat.Stop()
	defer renew.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.a.ctx.Done():
			return l.a.ctx.Err()
		case <-reader.wake:
			err = l.tell(ctx, reader)
		case <-beat.C:
			if err = l.tell(ctx, reader); err == nil {
				err = l.send(view.Event{Kind: kindBeat, Rev: l.after})
			}
		case <-renew.C:
			var c auth.Caller
			if c, err = l.a.cfg.Auth.Renew(ctx, l.caller); err == nil {
				l.become(c)
			}
			continue
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

// tell sends what has changed, in the order of revisions: whoever comes back after one of
// them has missed the rest.
func (l *listener) tell(ctx context.Context, reader *feedReader) error {
	dirty, lost, rev := reader.take()
	if lost {
		l.after = rev
		return l.send(view.Event{Kind: kindResync, Rev: rev})
	}
	order := slices.SortedFunc(maps.Keys(dirty), func(x, y change) int {
		if c := dirty[x].rev - dirty[y].rev; c != 0 {
			return int(c / max(c, -c))
		}
		return strings.Compare(x.kind+"\n"+x.id, y.kind+"\n"+y.id)
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
			return l.device(c.id)
		}
	case kindHub:
		if l.topics[kindHub] {
			return event(c, l.a.cfg.Fleet.Counts())
		}
	case kindRollout:
		if l.wants(c) {
			v, err := l.a.cfg.Drive.Show(ctx, c.id)
			return l.found(c, l.a.rolloutFor(l.caller, v), err)
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
func (l *listener) device(id string) (view.Event, bool, error) {
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
	detail, err := l.a.detail(l.caller, id)
	return l.found(change{kindDevice, id}, detail, err)
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

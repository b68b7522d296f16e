package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

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
	// lookEvery is how soon it is told what nobody writes down.
	lookEvery  = 2 * time.Second
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
	l := &listener{a: a, topics: map[string]bool{}, shown: map[string]bool{}, last: map[change][sha256.Size]byte{}, out: w, rc: http.NewResponseController(w)}
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

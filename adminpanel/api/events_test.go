package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// ear listens to events.
type ear struct {
	w      *world
	events chan view.Event // closed when the panel ends it
	hang   func()
}

func (w *world) listen(query string, changes ...with) *ear {
	w.Helper()
	ctx, hang := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", w.url+"/api/v1/events?"+query, nil)
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.ann)
	for _, change := range changes {
		change(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.Fatalf("%v, %v", resp, err)
	}
	e := &ear{w, make(chan view.Event, 1000), hang}
	go func() {
		defer close(e.events)
		defer resp.Body.Close()
		kind, id := "", ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				kind = value
			case "id":
				id = value
			case "data":
				var v view.Event
				if err := json.Unmarshal([]byte(value), &v); err != nil || v.Kind != kind || fmt.Sprint(v.Rev) != id {
					w.Errorf("event %s, id %s, data %s: %v", kind, id, value, err)
				}
				e.events <- v
			}
		}
	}()
	w.Cleanup(hang)
	return e
}

// until waits for an event and returns it and those before.
func (e *ear) until(what string, so func(view.Event) bool) (last view.Event, before []view.Event) {
	e.w.Helper()
	late := time.After(patience)
	for {
		select {
		case v, ok := <-e.events:
			if !ok {
				e.w.Fatalf("the events ended before %s; there were %+v", what, before)
			}
			if so(v) {
				return v, before
			}
			before = append(before, v)
		case <-late:
			e.w.Fatalf("never: %s; there were %+v", what, before)
		}
	}
}

// ended waits until the panel has ended it.
func (e *ear) ended() {
	e.w.Helper()
	late := time.After(patience)
	for {
		select {
		case _, more := <-e.events:
			if !more {
				return
			}
		case <-late:
			e.w.Fatal("the events never ended")
		}
	}
}

// of is what an event tells; nothing, if it is a beat.
func of[T any](w *world, v view.Event) (data T) {
	w.Helper()
	if len(v.Data) == 0 {
		return data
	}
	if err := json.Unmarshal(v.Data, &data); err != nil {
		w.Fatalf("%v in %s", err, v.Data)
	}
	return data
}

// named describes a device, which is a change that all can wait for.
func (w *world) named(id, name string) {
	w.Helper()
	if _, err := w.cfg.Fleet.Patch(w.Context(), audit.Who{Actor: "user ann"}, id, view.DevicePatch{Name: &name}, 0); err != nil {
		w.Fatal(err)
	}
}

// is a device's event with that name.
func is(w *world, id, name string) func(view.Event) bool {
	return func(v view.Event) bool {
		return v.Kind == "device" && v.ID == id && !v.Deleted && of[view.Device](w, v).Name == name
	}
}

func TestEventsTellWhatChanges(t *testing.T) {
	w := newWorld(t)
	c := w.link("north", "cam-1")
	rel := w.offer("2.0.0")
	e := w.listen("topics=devices,device:cam-2,releases,audit,hub")
	w.named("cam-1", "Gate")
	v, _ := e.until("cam-1 is named", is(w, "cam-1", "Gate"))
	if strings.Contains(string(v.Data), `"actions"`) || v.Rev == 0 {
		t.Errorf("a row is %s", v.Data)
	}
	c.away()
	e.until("cam-1 is away", func(v view.Event) bool { return v.ID == "cam-1" && len(v.Data) > 0 && !of[view.Device](w, v).Online })
	c.connect()
	e.until("cam-1 is back", func(v view.Event) bool { return v.ID == "cam-1" && of[view.Device](w, v).Online })
	c2 := w.link("south", "cam-2")
	v, _ = e.until("cam-2 is here", func(v view.Event) bool {
		return v.ID == "cam-2" && of[view.DeviceDetail](w, v).Status != nil
	})
	if d := of[view.DeviceDetail](w, v); len(d.Actions) != 5 {
		t.Errorf("in full it is %s", v.Data)
	}
	// What is under way on a device changes no row, and is told to who looks at it.
	c2.change(func(s *control.Status) { s.Problems = []string{"the disk is full"} })
	e.until("cam-2 has a problem", func(v view.Event) bool {
		return v.ID == "cam-2" && strings.Contains(string(v.Data), "the disk is full")
	})
	w.call("POST", "/devices/cam-2/stage", view.StageRequest{Release: rel.ID}).is(202, nil)
	e.until("cam-2 was asked", func(v view.Event) bool {
		return v.ID == "cam-2" && of[view.DeviceDetail](w, v).Asked != nil
	})
	other := w.offer("3.0.0")
	e.until("a release", func(v view.Event) bool {
		return v.Kind == "release" && v.ID == other.ID && of[view.Release](w, v).Version == "3.0.0"
	})
	w.named("cam-2", "Door")
	v, _ = e.until("the audit", func(v view.Event) bool {
		return v.Kind == "audit" && of[view.AuditLine](w, v).Action == "device.patch" && strings.Contains(string(v.Data), "Door")
	})
	if of[view.AuditLine](w, v).Hash == "" {
		t.Errorf("a line is %s", v.Data)
	}
	c2.away()
	e.until("the counts", func(v view.Event) bool { return v.Kind == "hub" && of[view.Hub](w, v).Linked == 1 })
	w.call("DELETE", "/devices/cam-2", nil, header("If-Match", "*")).is(204, nil)
	e.until("cam-2 is gone", func(v view.Event) bool { return v.ID == "cam-2" && v.Deleted })
}

func TestEventsAreNarrowed(t *testing.T) {
	w := newWorld(t)
	w.enrol("north", "cam-1", "cam-3")
	w.enrol("south", "cam-2")
	bob := by(w.token("bob", "viewer site:south"))
	e := w.listen("topics=devices,device:cam-1,audit", bob)
	w.named("cam-1", "Secret")
	w.named("cam-2", "Mine")
	_, before := e.until("cam-2 is named", is(w, "cam-2", "Mine"))
	// To be moved out of sight is to be deleted, and into sight to appear.
	site := "north"
	w.call("PATCH", "/devices/cam-2", view.DevicePatch{Site: &site}, header("If-Match", "*")).is(200, nil)
	_, more := e.until("cam-2 is gone", func(v view.Event) bool { return v.ID == "cam-2" && v.Deleted && v.Data == nil })
	w.named("cam-2", "Not mine")
	site = "south"
	w.call("PATCH", "/devices/cam-3", view.DevicePatch{Site: &site}, header("If-Match", "*")).is(200, nil)
	_, rest := e.until("cam-3 is there", func(v view.Event) bool { return v.ID == "cam-3" && !v.Deleted })
	for _, v := range slices.Concat(before, more, rest) {
		if v.ID == "cam-1" || v.Kind == "audit" || strings.Contains(string(v.Data), "Not mine") {
			t.Errorf("bob is told %+v", v)
		}
	}
	// A selector narrows too, and what leaves it is deleted.
	e = w.listen("topics=devices&q=name:A*")
	w.named("cam-2", "Bark")
	w.named("cam-1", "Arch")
	e.until("cam-1 meets it", is(w, "cam-1", "Arch"))
	w.named("cam-1", "Bow")
	e.until("cam-1 meets it no more", func(v view.Event) bool { return v.ID == "cam-1" && v.Deleted })
}

func TestEventsGoOnWhereTheyEnded(t *testing.T) {
	w := newWorld(t)
	w.api.SetRecent(0)
	c := w.link("north", "cam-1")
	w.enrol("north", "cam-2")
	e := w.listen("topics=devices")
	w.named("cam-2", "one")
	v, _ := e.until("one", is(w, "cam-2", "one"))
	e.hang()
	c.away() // presence has no revision of its own
	w.named("cam-2", "two")
	w.named("cam-2", "three")
	e = w.listen("topics=devices", header("Last-Event-ID", fmt.Sprint(v.Rev)))
	seen := map[string]bool{}
	_, before := e.until("three and away", func(v view.Event) bool {
		if v.Kind != "device" {
			return false
		}
		d := of[view.Device](w, v)
		seen[fmt.Sprint(d.Name, d.Online)] = true
		return seen["threefalse"] && seen["false"]
	})
	for _, b := range before {
		if b.Kind == "resync" || strings.Contains(string(b.Data), "two") {
			t.Errorf("besides: %+v", b)
		}
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	for query, location := range map[string]string{
		"":                            "query.topics",
		"topics=colours":              "query.topics",
		"topics=device:":              "query.topics",
		"topics=devices&q=colour:red": "query.q",
		"topics=devices&after=never":  "query.after",
		"topics=devices&after=-1":     "query.after",
		"topics=devices&colour=red":   "query.colour",
		"topics=" + strings.Repeat("device:a,", 3) + strings.Join(many(501), ","): "query.topics",
	} {
		code := "invalid"
		if location == "query.q" {
			code = "selector"
		}
		p := w.call("GET", "/events?"+query, nil).fails(422, code)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%.60s: %+v", query, p.Errors)
		}
	}
	w.call("GET", "/events?topics=devices", nil, header("Last-Event-ID", "x")).fails(422, "invalid")
	w.call("GET", "/events?topics=devices", nil, nobody).fails(401, "signed-out")
}

func many(n int) (topics []string) {
	for i := range n {
		topics = append(topics, fmt.Sprint("device:cam-", i))
	}
	return topics
}

func TestEventsEnd(t *testing.T) {
	w := newWorld(t)
	cookie := w.person("bob", "viewer")
	e := w.listen("topics=hub", signedIn(cookie))
	first := w.listen("topics=hub")
	for range 49 {
		w.listen("topics=hub")
	}
	w.call("GET", "/events?topics=hub", nil).fails(503, "too-many-readers")
	first.hang()
	w.eventually("a place is free", func() bool {
		ctx, cancel := context.WithTimeout(w.Context(), patience)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", w.url+"/api/v1/events?topics=hub", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+w.ann)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
	w.api.Close()
	e.ended()
}

// Between the fetch of a page and the beginning of its events nothing is lost.
func TestEventsBeginALittleEarlier(t *testing.T) {
	w := newWorld(t)
	w.api.SetRecent(time.Hour)
	w.enrol("north", "cam-1")
	w.named("cam-1", "one")
	w.listen("topics=devices").until("one", is(w, "cam-1", "one"))
}

// Who is signed out hears no more, and who may see other devices than before starts over.
func TestEventsFollowGrants(t *testing.T) {
	w := newWorld(t)
	w.api.SetRenewEvery(20 * time.Millisecond)
	w.enrol("north", "cam-1")
	w.enrol("south", "cam-2")
	cookie := w.person("bob", "viewer site:north")
	e := w.listen("topics=devices", signedIn(cookie))
	w.named("cam-1", "one")
	e.until("one", is(w, "cam-1", "one"))
	grants := []view.Grant{{Role: view.RoleViewer, Selector: "site:south"}}
	w.call("PATCH", "/accounts/bob", view.AccountPatch{Grants: &grants}, header("If-Match", "*")).is(200, nil)
	e.until("resync", func(v view.Event) bool { return v.Kind == "resync" })
	w.named("cam-1", "two")
	w.named("cam-2", "three")
	_, before := e.until("three", is(w, "cam-2", "three"))
	for _, v := range before {
		if v.ID == "cam-1" {
			t.Errorf("bob is told %+v", v)
		}
	}
	w.call("DELETE", "/sessions/current", nil, signedIn(cookie)).is(204, nil)
	e.ended()
}

// What is only a matter of time is told as well to who looks at it.
func TestEventsTellWhatTimeBrings(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	c := w.link("north", "cam-1", func(c *cam) { c.greenlit, c.soak = "operator", 3*time.Second })
	w.call("POST", "/devices/cam-1/upgrade", view.UpgradeRequest{Release: rel.ID})
	w.eventually("it is on trial", func() bool {
		d, _ := w.cfg.Fleet.Table().Get("cam-1")
		return d.State == view.DeviceTrial
	})
	e := w.listen("topics=device:cam-1")
	e.until("it may be confirmed", func(v view.Event) bool {
		d := of[view.DeviceDetail](w, v)
		return d.Asked != nil && d.Asked.Message == "its trial waits for a greenlight"
	})
	if n := len(c.asked()); n != 0 {
		t.Errorf("the device was asked %d times", n)
	}
}

// What the store has lost the thread of is looked at anew.
func TestEventsAfterAGap(t *testing.T) {
	lost := make(chan context.CancelFunc, 10)
	w := newWorld(t, func(c *api.Config) { c.Store = &gappy{c.Store, lost} })
	w.enrol("north", "cam-1")
	e := w.listen("topics=devices")
	w.named("cam-1", "one")
	e.until("one", is(w, "cam-1", "one"))
	(<-lost)()
	e.until("resync", func(v view.Event) bool { return v.Kind == "resync" })
	w.named("cam-1", "two")
	e.until("two", is(w, "cam-1", "two"))
	// To have seen what was before the gap says too little.
	e = w.listen("topics=devices&after=1")
	if v, before := e.until("resync", func(v view.Event) bool { return v.Kind == "resync" }); len(before) > 0 || v.Rev < 2 {
		t.Errorf("%+v came before %+v", before, v)
	}
}

// gappy is a store whose watches can be lost.
type gappy struct {
	store.Store

	lost chan context.CancelFunc
}

func (g *gappy) Watch(ctx context.Context, prefix string, after int64) (<-chan store.Event, error) {
	if prefix != "" {
		return g.Store.Watch(ctx, prefix, after)
	}
	ctx, cancel := context.WithCancel(ctx)
	g.lost <- cancel
	return g.Store.Watch(ctx, prefix, after)
}

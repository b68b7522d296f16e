package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// What cannot be understood is refused with a problem that says where, and changes nothing.
func TestBadInputAboutDevices(t *testing.T) {
	w := newWorld(t)
	w.link("north", "cam-1")
	rel := w.offer("2.0.0")
	before := len(w.lines())
	for name, c := range map[string]struct {
		method, path, body string
		with               []with
		status             int
		code, location     string
	}{
		"a field that is none":          {"POST", "/devices/cam-1/stage", `{"release":"` + rel.ID + `","colour":"red"}`, nil, 422, "invalid", "body.colour"},
		"a field in other letters":      {"POST", "/devices/cam-1/stage", `{"Release":"` + rel.ID + `"}`, nil, 422, "invalid", "body"},
		"a field of a wrong type":       {"POST", "/devices/cam-1/stage", `{"release":7}`, nil, 422, "invalid", "body.release"},
		"a field that is missing":       {"POST", "/devices/cam-1/stage", `{}`, nil, 422, "invalid", "body"},
		"a list for an object":          {"POST", "/devices/cam-1/stage", `[]`, nil, 422, "invalid", "body"},
		"a word for an object":          {"POST", "/devices/cam-1/stage", `"x"`, nil, 422, "invalid", "body"},
		"nothing for an object":         {"POST", "/devices/cam-1/stage", `null`, nil, 422, "invalid", "body"},
		"half an object":                {"POST", "/devices/cam-1/stage", `{"release":`, nil, 400, "bad-json", "body"},
		"two objects":                   {"POST", "/devices/cam-1/stage", `{"release":"x"}{}`, nil, 400, "bad-json", "body"},
		"no body":                       {"POST", "/devices/cam-1/stage", ``, nil, 400, "bad-json", ""},
		"no UTF-8 nor JSON":             {"POST", "/devices/cam-1/stage", "\xff\xfe", nil, 400, "bad-json", "body"},
		"endless depth":                 {"POST", "/devices/cam-1/stage", strings.Repeat("[", 20000), nil, 400, "bad-json", "body"},
		"a body for a verb without":     {"POST", "/devices/cam-1/confirm", `{"force":true}`, nil, 422, "invalid", "body.force"},
		"a giant body":                  {"POST", "/devices/cam-1/stage", `{"release":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "too-large", ""},
		"a giant body of a stranger":    {"POST", "/sessions", `{"name":"` + strings.Repeat("x", 16<<10) + `"}`, []with{nobody}, 413, "too-large", ""},
		"a form":                        {"POST", "/devices/cam-1/stage", `release=x`, []with{header("Content-Type", "application/x-www-form-urlencoded")}, 415, "wrong-type", ""},
		"a patch with a list too long":  {"PATCH", "/devices/cam-1", `{"tags":["` + strings.Repeat(`a","`, 33) + `a"]}`, []with{header("If-Match", "*")}, 422, "invalid", "body.tags"},
		"a patch with a name too long":  {"PATCH", "/devices/cam-1", `{"name":"` + strings.Repeat("a", 81) + `"}`, []with{header("If-Match", "*")}, 422, "invalid", "body.name"},
		"a patch of what devices say":   {"PATCH", "/devices/cam-1", `{"running":"9.9"}`, []with{header("If-Match", "*")}, 422, "invalid", "body.running"},
		"a patch with control codes":    {"PATCH", "/devices/cam-1", `{"name":"a\u0007"}`, []with{header("If-Match", "*")}, 422, "invalid", ""},
		"a limit of too many":           {"GET", "/devices?limit=5000", "", nil, 422, "invalid", "query.limit"},
		"a limit that is no number":     {"GET", "/devices?limit=many", "", nil, 422, "invalid", "query.limit"},
		"a selector of nonsense":        {"GET", "/devices?q=colour:red", "", nil, 422, "selector", "query.q"},
		"a selector that is too long":   {"GET", "/devices?q=" + strings.Repeat("a", 2001), "", nil, 422, "invalid", "query.q"},
		"a cursor that is too long":     {"GET", "/devices?after=" + strings.Repeat("a", 65), "", nil, 422, "invalid", "query.after"},
		"a list that begins twice":      {"GET", "/devices?after=a&at=3", "", nil, 422, "invalid", "query.after"},
		"a place before the first":      {"GET", "/devices?at=0", "", nil, 422, "invalid", "query.at"},
		"a version that is too long":    {"GET", "/at?version=" + strings.Repeat("1", 129), "", nil, 422, "invalid", "query.version"},
		"a number below zero":           {"GET", "/at?version=1&n=-1", "", nil, 422, "invalid", "query.n"},
		"a device's name that is a way": {"GET", "/devices/..%2f..%2fetc", "", nil, 404, "no-device", ""},
		"a device's name without end":   {"GET", "/devices/" + strings.Repeat("a", 65), "", nil, 422, "invalid", "path.id"},
		"a key without end":             {"POST", "/devices/cam-1/cancel", "{}", []with{header("Idempotency-Key", strings.Repeat("k", 129))}, 422, "invalid", "header.Idempotency-Key"},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		p := w.call(c.method, c.path, body, c.with...).fails(c.status, c.code)
		where := ""
		if len(p.Errors) > 0 {
			where = p.Errors[0].Location
		}
		if where != c.location {
			t.Errorf("%s is at %q, want %q: %+v", name, where, c.location, p)
		}
		if len(fmt.Sprint(p)) > 2000 {
			t.Errorf("%s is told with its %d bytes", name, len(fmt.Sprint(p)))
		}
	}
	if n := len(w.lines()); n != before {
		t.Errorf("%d lines came to the audit", n-before)
	}
}

// A body that does not come does not hold a connection for ever, and one that was taken does
// not end a request that lasts.
func TestBodiesAndTime(t *testing.T) {
	w := newWorld(t)
	w.link("north", "cam-1", func(c *cam) { c.greenlit = "operator" })
	rel := w.offer("2.0.0")
	w.api.SetBodyTime(50 * time.Millisecond)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST /api/v1/devices/cam-1/cancel HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{", w.ann)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(text), `"too-slow"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	// The wait is longer than the time for bodies by far.
	var a view.Asked
	w.call("POST", "/devices/cam-1/upgrade?wait=2s", view.UpgradeRequest{Release: rel.ID}).is(202, &a)
	if a.Message != "its trial waits for a greenlight" && a.Message != "its trial has begun" {
		t.Errorf("%+v", a)
	}
}

// Two that ask at once with one key are one ask.
func TestTwoWithOneKey(t *testing.T) {
	w := newWorld(t)
	rel := w.offer("2.0.0")
	w.link("north", "cam-1")
	var all sync.WaitGroup
	answers := make([]string, 8)
	for i := range answers {
		all.Go(func() {
			answers[i] = string(w.call("POST", "/devices/cam-1/upgrade?wait=50s", view.UpgradeRequest{Release: rel.ID}, header("Idempotency-Key", "k")).body)
		})
	}
	all.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.Contains(a, `"done":true`) {
			t.Errorf("one got %s, another %s", answers[0], a)
		}
	}
	n := 0
	for _, action := range w.lines() {
		if action == "device.stage" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// A device's report about another one is its own.
func TestADeviceThatSpeaksForAnother(t *testing.T) {
	w := newWorld(t)
	w.link("north", "cam-2")
	c := w.link("north", "cam-1")
	c.change(func(s *control.Status) { s.Device, s.Permanent = "cam-2", "6.6.6" })
	var d view.DeviceDetail
	w.eventually("cam-1's word is heard", func() bool {
		w.call("GET", "/devices/cam-1", nil).is(200, &d)
		return d.Status.Permanent == "6.6.6"
	})
	if d.Status.Device != "cam-1" {
		t.Errorf("it is %+v", d.Status)
	}
	if w.call("GET", "/devices/cam-2", nil).is(200, &d); d.Status.Permanent != "1.4" || d.Running != "1.4" {
		t.Errorf("cam-2 is %+v", d)
	}
}

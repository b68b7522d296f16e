package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
)

// events sends some, and ends the stream in the middle of another one.
func events(list ...view.Event) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": hello\n\n")
		for _, e := range list {
			text, err := json.Marshal(e)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Rev, e.Kind, text)
		}
		fmt.Fprint(w, "data: {\"kind\":\"dev")
	}
}

func TestEventsGoOnWhereTheyStopped(t *testing.T) {
	t.Parallel()
	l, c := lie(t, events(view.Event{Kind: "device", Rev: 7, ID: "a"}, view.Event{Kind: "beat", Rev: 9}), cut,
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		events(view.Event{Kind: "resync", Rev: 12}, view.Event{Kind: "device", Rev: 13, ID: "b"}), refuse(401, "signed-out", "the token has ended"))
	var got []string
	var last error
	for e, err := range c.Events(t.Context(), client.Topics{Topics: []string{"devices", "rollout:1"}, Selector: "site:lab"}) {
		if last = err; err == nil {
			got = append(got, e.Kind+e.ID)
		}
	}
	if s := strings.Join(got, " "); s != "devicea resync deviceb" || !client.IsCode(last, "signed-out") {
		t.Errorf("%s, and then %v", s, last)
	}
	asked := l.requests()
	if len(asked) != 5 {
		t.Fatalf("asked %d times", len(asked))
	}
	for i, want := range []string{"", "9", "9", "9", "13"} {
		r := asked[i]
		if r.FormValue("after") != want || r.Header.Get("Last-Event-ID") != want || r.FormValue("topics") != "devices,rollout:1" || r.FormValue("q") != "site:lab" {
			t.Errorf("%d: %s with Last-Event-ID %q, want %q", i, r.URL, r.Header.Get("Last-Event-ID"), want)
		}
	}
}

func TestEventsEndWithWhoeverReadsThem(t *testing.T) {
	t.Parallel()
	l, c := lie(t, events(view.Event{Kind: "device", Rev: 7}))
	for range c.Events(t.Context(), client.Topics{}) {
		break
	}
	if len(l.requests()) != 1 {
		t.Error("events were asked for that nobody reads")
	}
	_, c = lie(t, events(view.Event{Kind: "device", Rev: 7}))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var last error
	for _, err := range c.Events(ctx, client.Topics{}) {
		last = err
		stop()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("with their context: %v", last)
	}
	_, c = lie(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	for _, err := range c.Events(t.Context(), client.Topics{}) {
		if last = err; err == nil {
			t.Error("an event of nobody")
		}
	}
	if p, ok := errors.AsType[*client.Problem](last); !ok || p.Status != 502 {
		t.Errorf("of a panel that was never there: %v", last)
	}
}

// desk takes uploads as the panel does; what goes wrong on the way is scripted.
type desk struct {
	size   int64
	name   string
	data   []byte
	begun  int
	faults []string // of each piece: "" none; "before" and "after" it is written, "half" of it, "busy"
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/api/v1/uploads":
		var req view.UploadRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		d.size, d.name, d.data = req.Size, req.Name, nil
		d.begun++
	case r.Method == http.MethodPatch && !d.piece(w, r):
		return
	case strings.HasSuffix(r.URL.Path, "/finish"):
		sum := sha256.Sum256(d.data)
		say(view.Release{ID: hex.EncodeToString(sum[:16]), Size: int64(len(d.data))})(w, r)
		return
	case r.URL.Path == "/api/v1/uploads/gone":
		refuse(404, "no-upload", "there is no such upload")(w, r)
		return
	}
	say(view.Upload{ID: "up-1", Size: d.size, Offset: int64(len(d.data))})(w, r)
}

// piece tells whether it was taken.
func (d *desk) piece(w http.ResponseWriter, r *http.Request) bool {
	fault := ""
	if len(d.faults) > 0 {
		fault, d.faults = d.faults[0], d.faults[1:]
	}
	at, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || at != int64(len(d.data)) || r.Header.Get("Content-Type") != "application/offset+octet-stream" {
		refuse(409, "offset", "the upload goes on elsewhere")(w, r)
		return false
	}
	switch fault {
	case "before":
		cut(w, r)
	case "full":
		refuse(413, "too-large", "the package is too large")(w, r)
		return false
	}
	body, _ := io.ReadAll(r.Body)
	if fault == "half" {
		d.data = append(d.data, body[:len(body)/2]...)
		cut(w, r)
	}
	d.data = append(d.data, body...)
	if fault == "after" {
		cut(w, r)
	}
	return true
}

func TestUploadsGoOnWhereTheyStopped(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("0123456789abcdef"), 5<<16) // 5 MiB: two pieces
	p := client.Package{Name: "cam-2.0.slip", Size: int64(len(text)), Reader: bytes.NewReader(text)}
	want, err := client.ReleaseID(p.Reader, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{faults: []string{"", "before", "half", "after"}}
	_, c := lie(t, d.serve)
	begun, done := "", int64(-1)
	r, err := c.AddRelease(t.Context(), p, client.Transfer{
		Begun: func(id string) { begun = id },
		Progress: func(n, total int64) {
			if n < done || total != p.Size {
				t.Errorf("%d of %d after %d", n, total, done)
			}
			done = n
		},
	})
	if err != nil || r.ID != want || begun != "up-1" || done != p.Size || d.name != p.Name {
		t.Errorf("%+v, %v; begun %q, done %d, name %q", r, err, begun, done, d.name)
	}

	// Another run goes on with what is there, and begins anew where that is gone.
	d.data = d.data[:9<<19]
	if r, err = c.AddRelease(t.Context(), p, client.Transfer{Upload: "up-1"}); err != nil || r.ID != want || d.begun != 1 {
		t.Errorf("%+v, %v, begun %d times", r, err, d.begun)
	}
	if r, err = c.AddRelease(t.Context(), p, client.Transfer{Upload: "gone"}); err != nil || r.ID != want || d.begun != 2 {
		t.Errorf("%+v, %v, begun %d times", r, err, d.begun)
	}
}

func TestUploadsEndAtARefusal(t *testing.T) {
	t.Parallel()
	d := &desk{faults: []string{"full"}}
	l, c := lie(t, d.serve)
	p := client.Package{Name: "x", Size: 10, Reader: strings.NewReader("0123456789")}
	if _, err := c.AddRelease(t.Context(), p, client.Transfer{}); !client.IsCode(err, "too-large") || len(l.requests()) != 2 {
		t.Errorf("%v after %d", err, len(l.requests()))
	}
	p.Size = 11
	if _, err := c.AddRelease(t.Context(), p, client.Transfer{}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a file that has become shorter: %v", err)
	}
}

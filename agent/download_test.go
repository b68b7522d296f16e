package agent_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/agent/control"
)

// cutting serves a package, breaks the connection of some answers in the middle,
// and knows how often it has given each byte.
type cutting struct {
	content []byte
	cuts    map[int]int // bytes after which an answer ends, by its number

	mu      sync.Mutex
	answers int
	given   []uint8 // times, by byte
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var off int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off); err != nil {
		http.Error(w, "no range", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.answers++
	cut, cuts := c.cuts[c.answers]
	c.mu.Unlock()
	w.Header().Set("ETag", `"one"`)
	if !cuts {
		cut = len(c.content)
	}
	out := &counting{ResponseWriter: w, c: c, off: off, left: cut}
	http.ServeContent(out, r, "x", time.Time{}, bytes.NewReader(c.content))
	if cuts {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// counting counts what is given from off on.
type counting struct {
	http.ResponseWriter
	c         *cutting
	off, left int
}

func (o *counting) Write(p []byte) (int, error) {
	n, err := o.ResponseWriter.Write(p[:min(len(p), o.left)])
	o.c.mu.Lock()
	for i := range n {
		o.c.given[o.off+i]++
	}
	o.c.mu.Unlock()
	o.off, o.left = o.off+n, o.left-n
	if err == nil && n < len(p) {
		err = http.ErrAbortHandler
	}
	return n, err
}

// noise is a program's tail that no compression makes small.
func noise(n int) string {
	raw := make([]byte, n*3/4)
	rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)
}

// TestDownloadThatIsCut: a package is staged from a server whose connections break
// twice, and each of its bytes is fetched once.
func TestDownloadThatIsCut(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	content, err := os.ReadFile(d.pack("2.0.0", goodApp+"\n# "+noise(4<<20), nil))
	d.must(err)
	c := &cutting{content: content, given: make([]uint8, len(content)), cuts: map[int]int{1: 200_000, 4: 1_000_000, 5: 1_000_000}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	serving := make(chan error, 1)
	go func() { serving <- control.NewServer(d.agent, nil).Serve(d.Context(), d.cfg.Socket()) }()
	t.Cleanup(func() { <-serving })
	client := control.Dial(d.cfg.Socket())
	t.Cleanup(client.Close)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := client.Status(d.Context()); err == nil || time.Now().After(end) {
			break
		}
	}
	if r := client.Stage(d.Context(), control.StageRequest{URL: s.URL + "/x.slip"}); r.Exit != control.ExitDone || r.Staged == nil {
		t.Fatalf("%+v", r)
	}
	if c.answers != 6 { // the head in two, the index, the image in three
		t.Errorf("%d answers", c.answers)
	}
	for i, n := range c.given {
		if n != 1 {
			t.Fatalf("byte %d of %d was given %d times", i, len(content), n)
		}
	}
	if r := control.Install(d.Context(), d.agent, control.StageRequest{URL: s.URL + "/x.slip"}, true); r.Exit != control.ExitDone {
		t.Errorf("%+v", r)
	}
}

// TestDownloadThatEnds: a server that has another package by now ends it in words
// for people, and the running version is as it was.
func TestDownloadThatEnds(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	content, err := os.ReadFile(d.pack("2.0.0", goodApp+"\n# "+noise(3<<20), nil))
	d.must(err)
	for name, good := range map[string]int{"while it is judged": 1, "while it is written": 2} {
		answers := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answers++
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, max(answers, good)))
			http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(content))
		}))
		t.Cleanup(s.Close)
		r := d.agent.Stage(d.Context(), control.StageRequest{URL: s.URL + "/x.slip?key=secret"})
		want := `the file on the server changed while it was read ("412 Precondition Failed"); stage it again`
		if r.Exit != control.ExitError || r.Message != want || answers != good+1 {
			t.Errorf("%s: %+v after %d answers", name, r, answers)
		}
		d.wait("the version before", func(s control.Status) bool { return s.Phase == "idle" && s.Permanent == "1.0.0" })
	}
	r := d.agent.Stage(d.Context(), control.StageRequest{URL: "http://127.0.0.1:1/\x00?key=secret"})
	if r.Exit != control.ExitError || strings.Contains(r.Message, "secret") {
		t.Errorf("%+v", r)
	}
}

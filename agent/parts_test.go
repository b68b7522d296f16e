package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// The parts of the runner that need no device. White-box, because the package
// exports none of them.

func newMarkers(t *testing.T) (markers, *bytes.Buffer) {
	var said bytes.Buffer
	m := markers{dir: filepath.Join(t.TempDir(), "trial"), uid: os.Getuid(), log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := m.prepare("t1"); err != nil {
		t.Fatal(err)
	}
	return m, &said
}

func TestWhatCountsAsAMarker(t *testing.T) {
	tests := []struct {
		name   string
		make   func(path string) error
		reason string // part of it; "" counts
	}{
		{"a file that was touched", func(p string) error { return os.WriteFile(p, nil, 0o644) }, ""},
		{"a file with content", func(p string) error { return os.WriteFile(p, []byte("ok"), 0o600) }, ""},
		{"a symbolic link", func(p string) error { return os.Symlink("/etc/passwd", p) }, "regular"},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o755) }, "regular"},
		{"a hard link", func(p string) error {
			other := p + ".other"
			if err := os.WriteFile(other, nil, 0o644); err != nil {
				return err
			}
			return os.Link(other, p)
		}, "more than one link"},
		{"another user's file", func(p string) error {
			if os.Getuid() != 0 {
				t.Skip("needs root")
			}
			if err := os.WriteFile(p, nil, 0o644); err != nil {
				return err
			}
			return os.Chown(p, 12345, 12345)
		}, "belongs to user 12345"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, _ := newMarkers(t)
			if _, found := m.look("t1"); found {
				t.Fatal("found before it was made")
			}
			if err := test.make(m.path("t1")); err != nil {
				t.Fatal(err)
			}
			reason, found := m.look("t1")
			if !found || !strings.Contains(reason, test.reason) || (reason == "") != (test.reason == "") {
				t.Errorf("found %v, reason %q", found, reason)
			}
		})
	}
}

func TestAnotherTrialsMarkerIsNone(t *testing.T) {
	m, _ := newMarkers(t)
	if err := m.make("t1"); err != nil {
		t.Fatal(err)
	}
	if err := m.prepare("t2"); err != nil {
		t.Fatal(err)
	}
	if _, found := m.look("t2"); found {
		t.Error("trial t2 has the marker of t1")
	}
	m.clean("t2")
	if _, found := m.look("t1"); !found {
		t.Error("the directory of t1 is there after cleaning")
	}
}

func TestAMarkerBecomesGoodLater(t *testing.T) {
	m, said := newMarkers(t)
	path := m.path("t1")
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(ctx, "t1", func() { close(seen) }, func(string) {}) })
	for range 5 { // several looks at the bad one
		Wait(ctx, markerEvery)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := m.make("t1"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-seen:
	case <-ctx.Done():
		t.Fatal("not seen")
	}
	watching.Wait()
	if n := strings.Count(said.String(), "ignored"); n != 1 {
		t.Errorf("the reason was said %d times:\n%s", n, said)
	}
}

func TestJournalKeepsAndBounds(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	j, s, fresh, err := openJournal(dir, log)
	if err != nil || !fresh {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	s.Starts = 17
	var records []control.Record
	for i := range maxHistory + 10 {
		records = append(records, control.Record{To: fmt.Sprint(i)})
	}
	if err := j.commit(s, records); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := openJournal(dir, log); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("second agent: %v", err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j, s, fresh, err = openJournal(dir, log)
	if err != nil || fresh || s.Starts != 17 {
		t.Fatalf("reopened: fresh %v, starts %d, %v", fresh, s.Starts, err)
	}
	defer j.close()
	got, err := j.history(maxHistory + 10)
	if err != nil || len(got) != maxHistory || got[0].To != fmt.Sprint(maxHistory+9) {
		t.Errorf("history: %d lines, %v", len(got), err)
	}
}

// unowned leaves directories to the agent.
func unowned(string) error { return nil }

// mostData is what a trial gets a copy of if its manifest says nothing.
var mostData = allowance{maxData << 20, maxDataFiles}

func TestDataIsBounded(t *testing.T) {
	d := dataDirs(t.TempDir())
	if err := d.prepare("a", unowned); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.of("a"), "small"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("small", filepath.Join(d.of("a"), "link")); err != nil {
		t.Fatal(err)
	}
	if err := d.snapshot(t.Context(), "a", "b", mostData, unowned); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(d.of("b"), "link")); err != nil || string(got) != "x" {
		t.Errorf("copy: %q, %v", got, err)
	}
	if err := os.Truncate(filepath.Join(d.of("a"), "small"), maxData<<20+1); err != nil {
		t.Fatal(err)
	}
	if err := d.snapshot(t.Context(), "a", "b", mostData, unowned); err == nil || !strings.Contains(err.Error(), "more than the 64 MiB") {
		t.Errorf("too much data: %v", err)
	}
}

func TestFilesOfDataAreCounted(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for i := range 5 {
		dir := filepath.Join(from, fmt.Sprint(i))
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Symlink("nowhere", filepath.Join(dir, "link"))); err != nil {
			t.Fatal(err)
		}
	}
	enough, less := allowance{maxData, 11}, allowance{maxData, 10} // with the directory itself
	if err := copyTree(t.Context(), from, filepath.Join(to, "enough"), &enough); err != nil {
		t.Error(err)
	}
	if err := copyTree(t.Context(), from, filepath.Join(to, "less"), &less); !errors.Is(err, errTooMuch) || less.files >= 0 {
		t.Errorf("%v, %+v left", err, less)
	}
}

func TestDataOfTooManyFilesIsNotCopied(t *testing.T) {
	d := dataDirs(t.TempDir())
	if err := d.prepare("a", unowned); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		if err := os.Symlink("nowhere", filepath.Join(d.of("a"), name)); err != nil {
			t.Fatal(err)
		}
	}
	err := d.snapshot(t.Context(), "a", "b", allowance{maxData, 3}, unowned)
	if err == nil || !strings.Contains(err.Error(), "more than the 3 files") {
		t.Error(err)
	}
	if left, err := os.ReadDir(string(d)); err != nil || len(left) != 1 {
		t.Errorf("beside the data there is %v, %v", left, err)
	}
}

// What was a file when it was judged is another thing when it is opened: the running
// version owns the directory, and the agent may read what it may not.
func TestDataIsReadFromItsDirectoryOnly(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("x"), 0o600), os.Symlink(secret, filepath.Join(dir, "file")), os.Symlink(filepath.Dir(secret), filepath.Join(dir, "dir")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"file", "dir/secret", "pipe"} {
		left := int64(maxData)
		copied := filepath.Join(to, "copy")
		if err := copyFile(root, name, copied, &left); err == nil {
			t.Errorf("%s was copied", name)
		}
		if _, err := os.Stat(copied); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
}

func TestPermanentDataIsNeverDropped(t *testing.T) {
	d := dataDirs(t.TempDir())
	for _, slot := range slotNames {
		if err := d.prepare(slot, unowned); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.drop("b", "a"); err != nil {
		t.Error(err)
	}
	if d.drop("a", "a") == nil || d.snapshot(t.Context(), "a", "a", mostData, unowned) == nil {
		t.Error("nobody refused to drop it")
	}
	if _, err := os.Stat(d.of("a")); err != nil {
		t.Errorf("permanent data: %v", err)
	}
	if _, err := os.Stat(d.of("b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a trial's data: %v", err)
	}
}

func TestManifestsStreamsInOrders(t *testing.T) {
	a := &Agent{cfg: config.Config{Stream: config.Stream{StallMS: 250}}}
	bound := verify.Invariant{Name: "rate", Measure: "frame-rate", Against: "permanent", Min: new(0.9)}
	wanted := verify.Invariant{Name: "gap", Measure: "gap", Against: "nothing", Max: new(80.0), WindowMS: 9000, Severity: "wanted"}
	app := &verify.App{Streams: []verify.Stream{
		{Name: "main", Codec: "h264", Width: 320, Height: 180, Profile: "42e01f", Audio: "mic", StallMS: 20, Invariants: []verify.Invariant{bound, wanted}},
		{Name: "mic", Codec: "opus", StallMS: 900},
		{Name: "hall", Codec: "opus"},
		{Name: "door", Codec: "mjpeg", Width: 64, Height: 64, Events: true},
	}, Breaks: []string{"hall", "gone"}}
	want := []orders.Stream{
		{Name: "main", Codec: "h264", StallMS: 250, Width: 320, Height: 180, Profile: "42e01f", Audio: "mic", Invariants: []orders.Invariant{
			{Name: "rate", Measure: "frame-rate", Against: "permanent", Min: new(0.9), WindowMS: 3000, Required: true},
			{Name: "gap", Measure: "gap", Against: "nothing", Max: new(80.0), WindowMS: 9000},
		}},
		{Name: "mic", Codec: "opus", StallMS: 900},
		{Name: "hall", Codec: "opus", Breaks: true}, // silent when nobody speaks
		{Name: "door", Codec: "mjpeg", Width: 64, Height: 64},
	}
	r := &run{manifest: verify.Manifest{App: app}}
	if got := a.streams(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}

	// The device's own word is heard, too.
	a.cfg.Tighten = []config.Tighten{{Stream: "main", Name: "rate", Min: new(0.95)}}
	if got := a.streams(r); *got[0].Invariants[0].Min != 0.95 {
		t.Errorf("tightened: got %+v", got[0])
	}

	// Of a slot that was refused its version's names and codecs are still known.
	a.state.Permanent = versionOf(r.manifest, "digest", "a")
	r.slot, r.refused = "a", errors.New("it is damaged")
	want = []orders.Stream{{Name: "main", Codec: "h264"}, {Name: "mic", Codec: "opus"}, {Name: "hall", Codec: "opus"}, {Name: "door", Codec: "mjpeg"}}
	if got := a.streams(r); !reflect.DeepEqual(got, want) {
		t.Errorf("refused: got %+v", got)
	}
}

func TestForwardersNewsOfLines(t *testing.T) {
	var posted []any
	f := &forwarder{
		log: slog.New(slog.DiscardHandler), changed: func() { posted = append(posted, "changed") },
		post: func(what any) { posted = append(posted, what) }, pending: map[uint64]question{},
	}
	f.message(orders.Message{Lost: &orders.SourceLost{Source: "a-1", Cause: orders.CauseExit, At: 1}})
	f.message(orders.Message{Lost: &orders.SourceLost{Source: "a-1", Stream: "main", Cause: orders.CauseEOF, At: 2}})
	for req := range uint64(2) { // the same twice, in another order
		status := &orders.Status{Streams: []orders.StreamStatus{{Name: "main"}, {Name: "sub"}}}
		slices.Reverse(status.Streams[:2*req])
		f.pending[req+1] = question{Request: orders.Request{Status: true}}
		f.message(orders.Message{Req: req + 1, Status: status})
	}
	seen := LinesSeen{[]orders.StreamStatus{{Name: "main"}, {Name: "sub"}}}
	want := []any{LineLost{"a-1", Lost{"main", 2, orders.CauseEOF}}, "changed", seen, seen}
	if !reflect.DeepEqual(posted, want) {
		t.Errorf("posted %+v, want %+v", posted, want)
	}
}

func TestRequestsWaitForAdmission(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mine, err := orders.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	theirs, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	f := &forwarder{log: slog.New(slog.DiscardHandler)}
	number := f.take(mine)
	f.ask(question{Request: orders.Request{Hold: &orders.Hold{Trial: "t1"}}}) // meant for the forwarder before
	f.admit(number)
	f.ask(question{Request: orders.Request{Status: true}})
	buf := make([]byte, orders.MaxMessage)
	theirs.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := theirs.Read(buf)
	if err != nil || strings.Contains(string(buf[:n]), "hold") {
		t.Errorf("the first request to arrive is %s, %v", buf[:n], err)
	}
}

// serve offers content over HTTP and counts the requests.
func serve(t *testing.T, content []byte, requests *atomic.Int64) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if strings.HasPrefix(r.URL.Path, "/away") {
			http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/whole") {
			w.Write(content)
			return
		}
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestFetchByRanges(t *testing.T) {
	content := make([]byte, 5*readAhead/2)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	var requests atomic.Int64
	s := serve(t, content, &requests)
	r, err := openRemote(t.Context(), s.URL+"/x.slip", config.Fetch{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.size))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests", n)
	}
	for _, path := range []string{"/away", "/whole"} {
		if r, err := openRemote(t.Context(), s.URL+path, config.Fetch{}, nil, slog.New(slog.DiscardHandler)); err == nil {
			r.Close()
			t.Errorf("%s was taken", path)
		}
	}
}

// An app that ends by itself within its leave was not made to, and one that does
// not was.
func TestLeaveToEnd(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	sup := supervise.New(t.TempDir(), log)
	defer sup.Close()
	a := &Agent{log: log}
	for script, told := range map[string]bool{"exit 3": false, "exec sleep 1000": true} {
		p, err := sup.Start(supervise.Spec{Name: "app", Path: "/bin/sh", Args: []string{"-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		leave := 30 * time.Second
		if told {
			leave = time.Millisecond
		}
		r := &run{process: p, stop: &StopApp{Leave: leave, Grace: 10 * time.Second}}
		a.endProcess(r)
		a.wg.Wait()
		p.Kill()
		if r.told.Load() != told {
			t.Errorf("%s: told %v", script, r.told.Load())
		}
	}
}

func TestSecretsLeaveNoTrace(t *testing.T) {
	secret := rand.Text()
	got := redact([]string{"rtsp://127.0.0.1:4711/" + secret + "/sub: 400", "ordinary 26 letter WORDS", secret})
	want := []string{"rtsp://127.0.0.1:4711/…/sub: 400", "ordinary 26 letter WORDS", "…"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

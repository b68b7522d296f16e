package release_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/store/storetest"
	"slipstream/verify"
	"slipstream/verify/pack"
)

var ann = audit.Who{Actor: "user ann"}

type world struct {
	*release.Releases

	store store.Store
	dir   string
	key   *ecdsa.PrivateKey
}

// newWorld is a store in which others are at work, a directory, and a key that is trusted.
func newWorld(t *testing.T, change func(*release.Config)) world {
	t.Helper()
	s := bolttest.Open(t)
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(pem)
	if err != nil {
		t.Fatal(err)
	}
	w := world{store: s, dir: t.TempDir(), key: key}
	cfg := release.Config{Store: s, Audit: audit.New(s), Dir: w.dir, Trust: func() *verify.Trust { return trust }, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	if w.Releases, err = release.Open(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) build(t *testing.T, version string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err := pack.Build(t.Context(), &out, pack.Options{Dir: dir, Key: w.key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: 2, SecurityEpoch: 1,
		IssuedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Notes: "Sharper at night.",
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (w world) add(t *testing.T, slip []byte) (id string, added bool) {
	t.Helper()
	rel, added, err := w.Add(t.Context(), ann, "x.slip", int64(len(slip)), bytes.NewReader(slip))
	if err != nil {
		t.Fatal(err)
	}
	return rel.ID, added
}

// incoming is how many files of uploads lie about.
func (w world) incoming(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "incoming"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestAnUploadThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	slip := w.build(t, "2.0.0")
	u, err := w.Begin(t.Context(), ann, "../../cam.slip", int64(len(slip)))
	if err != nil {
		t.Fatal(err)
	}
	for part := 0; u.Offset < u.Size; part++ {
		next := min(u.Size, u.Offset+int64(len(slip)/5))
		body := io.MultiReader(bytes.NewReader(slip[u.Offset:next]), broken{})
		if _, err := w.Append(t.Context(), u.ID, u.Offset+1, body); !errors.Is(err, release.ErrOffset) {
			t.Errorf("somewhere else: %v", err)
		}
		if u.Offset > 0 && u.Offset < u.Size {
			if _, _, err := w.Finish(t.Context(), ann, u.ID); !errors.Is(err, release.ErrNotWhole) {
				t.Errorf("finished early: %v", err)
			}
		}
		if _, err := w.Append(t.Context(), u.ID, u.Offset, body); err == nil {
			t.Error("a line that broke was not noticed")
		}
		w = w.again(t)
		if u, err = w.Upload(t.Context(), u.ID); err != nil || u.Offset != next {
			t.Fatalf("at %d, want %d: %v", u.Offset, next, err)
		}
	}
	rel, added, err := w.Finish(t.Context(), ann, u.ID)
	if err != nil || !added || !rel.Verified || len(rel.Signers) != 1 || rel.Version != "2.0.0" || rel.Size != u.Size || rel.UploadedBy != "user ann" ||
		len(rel.Contents) != 1 || rel.Classes[0] != verify.ClassLive || rel.Counter != 2 || rel.Epoch != 1 || rel.Notes == "" {
		t.Errorf("%+v, %v", rel, err)
	}
	if _, err := w.Upload(t.Context(), u.ID); !errors.Is(err, release.ErrNoUpload) || w.incoming(t) != 0 {
		t.Errorf("the upload is left: %v", err)
	}
	kept, err := os.ReadFile(filepath.Join(w.dir, rel.ID+".slip"))
	if err != nil || !bytes.Equal(kept, slip) {
		t.Errorf("the file is another: %v", err)
	}
	if list, err := w.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != rel.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if lines, _, err := audit.New(w.store).Lines(t.Context(), audit.Query{Object: "release " + rel.ID}); err != nil || len(lines) != 1 {
		t.Errorf("%+v, %v", lines, err)
	}
}

// again opens the same data, as after a new start.
func (w world) again(t *testing.T) world {
	t.Helper()
	cfg := release.Config{Store: w.store, Audit: audit.New(w.store), Dir: w.dir, Trust: func() *verify.Trust { return trustOf(t, w.key) }}
	var err error
	if w.Releases, err = release.Open(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func trustOf(t *testing.T, key *ecdsa.PrivateKey) *verify.Trust {
	t.Helper()
	pem, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(pem)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *release.Config) { c.MaxSize, c.Uploads = 1<<20, 2 })
	other := newWorld(t, nil)
	whole := w.build(t, "2.0.0")
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1100] ^= 1 // in the image
	for name, slip := range map[string][]byte{
		"no package": []byte("hello"), "signed by a stranger": other.build(t, "2.0.0"), "a bit is flipped": flipped, "cut": whole[:len(whole)-512],
	} {
		_, _, err := w.Add(t.Context(), ann, name, int64(len(slip)), bytes.NewReader(slip))
		if verify.Code(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		lines, _, err := audit.New(w.store).Lines(t.Context(), audit.Query{Limit: 1})
		if err != nil || len(lines) != 1 || !strings.Contains(lines[0].Detail, name) {
			t.Errorf("%s: %+v, %v", name, lines, err)
		}
	}
	for name, add := range map[string]func() error{
		"more than was said": func() error {
			_, _, err := w.Add(t.Context(), ann, "x", 10, strings.NewReader("more than ten bytes"))
			return err
		},
		"less than was said": func() error { _, _, err := w.Add(t.Context(), ann, "x", 10, strings.NewReader("few")); return err },
		"too much":           func() error { _, err := w.Begin(t.Context(), ann, "x", 1<<20+1); return err },
		"nothing":            func() error { _, err := w.Begin(t.Context(), ann, "x", 0); return err },
		"an unknown upload": func() error {
			_, err := w.Append(t.Context(), "../../../etc/passwd", 0, strings.NewReader("x"))
			return err
		},
		"an unknown release": func() error { _, _, err := w.File(t.Context(), "../panel.db"); return err },
	} {
		if err := add(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if list, err := w.List(t.Context()); err != nil || len(list) != 0 || w.incoming(t) != 0 {
		t.Errorf("%v and %d files are left, %v", list, w.incoming(t), err)
	}
	for i := range 3 {
		if _, err := w.Begin(t.Context(), ann, "x", 10); (i == 2) != errors.Is(err, release.ErrTooMany) {
			t.Errorf("upload %d: %v", i, err)
		}
	}
}

func TestOldUploadsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	u, err := w.Begin(t.Context(), ann, "x", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "incoming", strings.Repeat("A", 26)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Sweep(t.Context(), time.Now().Add(23*time.Hour)); err != nil || w.incoming(t) != 2 {
		t.Errorf("too early: %d files, %v", w.incoming(t), err)
	}
	if err := w.Sweep(t.Context(), time.Now().Add(25*time.Hour)); err != nil || w.incoming(t) != 0 {
		t.Errorf("%d files are left, %v", w.incoming(t), err)
	}
	if _, err := w.Append(t.Context(), u.ID, 0, strings.NewReader("x")); !errors.Is(err, release.ErrNoUpload) {
		t.Errorf("went on: %v", err)
	}
}

func TestTheSameBytesAreOneRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	slip := w.build(t, "2.0.0")
	faulty := storetest.NewFaulty(w.store, 7, 0.3, 0)
	busy, err := release.Open(release.Config{Store: faulty, Audit: audit.New(faulty), Dir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	id, added := w.add(t, slip)
	if again, twice := w.add(t, slip); again != id || !added || twice {
		t.Errorf("%s %v, then %s %v", id, added, again, twice)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := busy.Withdraw(t.Context(), ann, id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, _, err := w.File(t.Context(), id); !errors.Is(err, release.ErrWithdrawn) {
		t.Errorf("a withdrawn release: %v", err)
	}
	if rel, err := w.Get(t.Context(), id); err != nil || !rel.Withdrawn || rel.WithdrawnBy != "user ann" {
		t.Errorf("%+v, %v", rel, err)
	}
	if again, _ := w.add(t, slip); again != id {
		t.Error("another id for the same bytes")
	}
	if _, _, err := w.File(t.Context(), id); err != nil {
		t.Errorf("offered again: %v", err)
	}
	lines, _, err := audit.New(w.store).Lines(t.Context(), audit.Query{Object: "release " + id})
	if err != nil || len(lines) != 3 {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestAReleaseIsServedByRanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	slip := w.build(t, "2.0.0")
	id, _ := w.add(t, slip)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.Serve(rw, r, strings.TrimPrefix(r.URL.Path, "/")); err != nil {
			http.Error(rw, err.Error(), http.StatusNotFound)
		}
	}))
	defer server.Close()
	ask := func(path, ranges string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := ask("/"+id, ""); code != http.StatusOK || body != string(slip) {
		t.Errorf("whole: %d", code)
	}
	if code, body := ask("/"+id, "bytes=512-1023"); code != http.StatusPartialContent || body != string(slip[512:1024]) {
		t.Errorf("a range: %d", code)
	}
	if code, _ := ask("/"+strings.Repeat("0", 32), ""); code != http.StatusNotFound {
		t.Errorf("nothing: %d", code)
	}
}

func TestTwoAtOneUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	u, err := w.Begin(t.Context(), ann, "x", 100)
	if err != nil {
		t.Fatal(err)
	}
	r, body := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := w.Append(t.Context(), u.ID, 0, r)
		done <- err
	}()
	if _, err := body.Write([]byte("x")); err != nil { // it is being read now
		t.Fatal(err)
	}
	if _, err := w.Append(t.Context(), u.ID, 0, strings.NewReader("y")); !errors.Is(err, release.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if err := errors.Join(body.Close(), <-done); err != nil {
		t.Error(err)
	}
	if u, err = w.Upload(t.Context(), u.ID); err != nil || u.Offset != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// describe changes what people say of a device, which makes an event.
func (w *world) describe(id, name string) {
	w.Helper()
	if _, err := w.direct.PatchDevice(w.Context(), id, view.DevicePatch{Name: &name}, 0); err != nil {
		w.Error(err)
	}
}

func TestEventsGoOnWhereTheyStopped(t *testing.T) {
	w := serve(t, plain(), devices(t, 3))
	w.loaded(3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cut := make(chan struct{})
	w.net.next(func(b *between, rw http.ResponseWriter, r *http.Request) {
		ctx, end := context.WithCancel(r.Context())
		defer end()
		go func() {
			defer end()
			select {
			case <-cut:
			case <-ctx.Done():
			}
		}()
		pass(b, rw, r.WithContext(ctx))
		panic(http.ErrAbortHandler)
	}, func(b *between, rw http.ResponseWriter, r *http.Request) {
		w.describe("cam-0002", "meanwhile")
		miss(b, rw, r)
	})
	page, err := w.direct.DevicePage(ctx, "", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	w.describe("cam-0001", "before")
	var newest int64
	met := false
	for e, err := range w.far.Events(ctx, client.Topics{Topics: []string{"devices"}, After: page.Rev}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "device" && e.ID == "cam-0001" && !met { // events may come twice
			met = true
			close(cut)
		}
		if e.Kind == "device" && e.ID == "cam-0002" && strings.Contains(string(e.Data), "meanwhile") {
			break
		}
		newest = max(newest, e.Rev)
	}
	asked := w.net.requests()
	if !met || len(asked) != 3 {
		t.Fatalf("asked %d times; %v", len(asked), met)
	}
	for _, r := range asked[1:] {
		if at := r.Header.Get("Last-Event-ID"); at == "" || at != r.FormValue("after") || at > fmt.Sprint(newest) {
			t.Errorf("asked for what comes after %q and %q, having seen %d", at, r.FormValue("after"), newest)
		}
	}
}

func TestEventsEnd(t *testing.T) {
	w := serve(t, plain(), devices(t, 1))
	last := func(ctx context.Context, c *client.Client, t client.Topics) (err error) {
		for _, err = range c.Events(ctx, t) { //nolint:revive // the last one is wanted
		}
		return err
	}
	if err := last(t.Context(), w.direct, client.Topics{Topics: []string{"devices"}, Selector: "sit:x"}); !client.IsCode(err, "selector") {
		t.Errorf("at a refusal: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := last(ctx, w.direct, client.Topics{Topics: []string{"devices"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with their context: %v", err)
	}
	w.net.next(miss, miss, miss, miss)
	err := last(t.Context(), w.far, client.Topics{Topics: []string{"devices"}})
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusBadGateway {
		t.Errorf("of a panel that was never there: %v", err)
	}
	if err := w.direct.RemoveToken(t.Context(), "x"); !client.IsCode(err, "forbidden") {
		t.Errorf("a token ends tokens: %v", err)
	}
}

// packageOf makes a package of more than one piece.
func packageOf(t *testing.T, version string) client.Package {
	t.Helper()
	dir := t.TempDir()
	text := make([]byte, 5<<20)
	fill := rand.NewChaCha8([32]byte{}) // so that it does not become smaller
	_, _ = fill.Read(text)
	if err := os.WriteFile(filepath.Join(dir, "camera"), text, 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, err = pack.Build(t.Context(), &out, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: 2, SecurityEpoch: 1, IssuedAt: time.Now().UTC().Truncate(time.Second),
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return client.Package{Name: "cam-" + version + ".slip", Size: int64(out.Len()), Reader: bytes.NewReader(out.Bytes())}
}

func TestUploadsGoOnWhereTheyStopped(t *testing.T) {
	w := serve(t, plain(), nil)
	p := packageOf(t, "2.0.0")
	want, err := client.ReleaseID(p.Reader, p.Size)
	if err != nil {
		t.Fatal(err)
	}
	begun, done := "", int64(-1)
	w.net.next(pass, pass, lose, pass, loseHalf, pass, loseAnswer, pass, loseAnswer)
	r, err := w.far.AddRelease(t.Context(), p, client.Transfer{
		Begun: func(id string) { begun = id },
		Progress: func(n, total int64) {
			if n < done || total != p.Size {
				t.Errorf("%d of %d after %d", n, total, done)
			}
			done = n
		},
	})
	if err != nil || r.ID != want || begun == "" || done != p.Size || r.Version != "2.0.0" {
		t.Errorf("%+v, %v; begun %q, done %d", r, err, begun, done)
	}
	// Begun anew where it is gone: it was finished. The same bytes are the same release.
	again := ""
	r, err = w.direct.AddRelease(t.Context(), p, client.Transfer{Upload: begun, Begun: func(id string) { again = id }})
	if err != nil || r.ID != want || again == "" || again == begun {
		t.Errorf("%+v, %v; begun %q again", r, err, again)
	}
}

// Who is interrupted goes on in another run.
func TestAnUploadGoesOnInAnotherRun(t *testing.T) {
	w := serve(t, plain(), nil)
	p := packageOf(t, "3.0.0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := ""
	w.net.next(pass, pass, func(b *between, rw http.ResponseWriter, r *http.Request) { cancel(); lose(b, rw, r) })
	_, err := w.far.AddRelease(ctx, p, client.Transfer{Begun: func(id string) { begun = id }})
	if !errors.Is(err, context.Canceled) || begun == "" {
		t.Fatalf("%v, %q", err, begun)
	}
	from := int64(-1)
	r, err := w.far.AddRelease(t.Context(), p, client.Transfer{Upload: begun, Begun: func(string) { t.Error("begun anew") }, Progress: func(n, _ int64) {
		if from < 0 {
			from = n
		}
	}})
	if err != nil || r.Version != "3.0.0" || from < 1<<20 {
		t.Errorf("%+v, %v, from byte %d on", r, err, from)
	}
}

func TestUploadsEndAtARefusal(t *testing.T) {
	w := serve(t, plain(), nil)
	p := client.Package{Name: "x", Size: 10, Reader: strings.NewReader("0123456789")}
	_, err := w.far.AddRelease(t.Context(), p, client.Transfer{})
	if q, ok := errors.AsType[*client.Problem](err); !ok || q.Status != http.StatusUnprocessableEntity || len(w.net.requests()) != 3 {
		t.Errorf("what is no package: %v after %d requests", err, len(w.net.requests()))
	}
	p.Size = 11
	if _, err := w.direct.AddRelease(t.Context(), p, client.Transfer{}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a file that has become shorter: %v", err)
	}
	p.Size = 1 << 50
	if _, err := w.direct.AddRelease(t.Context(), p, client.Transfer{}); !client.IsCode(err, "too-large") {
		t.Errorf("a file that is too large: %v", err)
	}
}

// Package standtest is a stand for tests: it fails the test instead of returning
// errors, ends with it, and shows the stand's logs when the test has failed.
package standtest

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/testrig/stand"
	"slipstream/testrig/viewer"
)

// soak, in the environment, makes tests as long as they are meant to be.
const soak = "SLIPSTREAM_SOAK"

// Limits of one test; the machines are busy.
const (
	quickLimit = 3 * time.Minute
	soakLimit  = 2 * time.Hour
)

// Soaking says that the tests are to be as long as they are meant to be.
func Soaking() bool { return os.Getenv(soak) != "" }

// Rounds is how often a test does its thing: few in a quick run, all in a soak.
func Rounds(quick, all int) int {
	if Soaking() {
		return all
	}
	return quick
}

var binaries = sync.OnceValues(func() (string, error) { return device.Binaries(context.Background(), "") })

// World is a stand of one test.
type World struct {
	*stand.Stand
	T   *testing.T
	Ctx context.Context
}

// New starts a stand.
func New(t *testing.T, change ...func(*stand.Config)) *World {
	t.Helper()
	limit := quickLimit
	if Soaking() {
		limit = soakLimit
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit) // t's own ends before the clean-up
	t.Cleanup(cancel)
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	config := stand.Config{Bin: bin}
	for _, f := range change {
		f(&config)
	}
	s, err := stand.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Logs())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &World{s, t, ctx}
}

// Must ends the test on an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Play publishes a scene as a part until the test ends or the returned function
// is called.
func (w *World) Play(part stand.Part, scene stand.Scene) (stop func()) {
	ctx, cancel := context.WithCancel(w.Ctx)
	ended := make(chan error, 1)
	go func() { ended <- scene.Play(ctx, w.Publish(part.Source.ID)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.T.Errorf("publisher %s: %v", part.Source.ID, err)
		}
	})
	w.T.Cleanup(stop)
	return stop
}

// App launches a sample camera, whose source the forwarder must know already.
func (w *World) App(config stand.AppConfig, known func(*stand.App) error) *stand.App {
	w.T.Helper()
	a, err := w.Prepare(config)
	w.Must(err)
	w.T.Cleanup(a.End)
	w.Must(known(a))
	w.Must(w.Launch(a))
	return a
}

// Join dials until the stream is there, and waits for a picture of the version.
func (w *World) Join(version string, dial func() (*viewer.Viewer, error)) (v *viewer.Viewer) {
	w.T.Helper()
	w.Must(stand.Retry(w.Ctx, func() (err error) {
		v, err = dial()
		return err
	}))
	w.T.Cleanup(v.Close)
	w.Sees(v, version, 0)
	return v
}

// Watch joins a viewer of every kind.
func (w *World) Watch(version string) []*viewer.Viewer {
	w.T.Helper()
	return []*viewer.Viewer{
		w.Join(version, func() (*viewer.Viewer, error) { return viewer.DialWHEP(w.Ctx, w.WHEP()) }),
		w.Join(version, func() (*viewer.Viewer, error) { return viewer.DialRTSP(w.Ctx, viewer.RTSPTCP, w.RTSP()) }),
		w.Join(version, func() (*viewer.Viewer, error) { return viewer.DialRTSP(w.Ctx, viewer.RTSPUDP, w.RTSP()) }),
	}
}

// sight bounds the wait for a picture.
const sight = 30 * time.Second

// Sees waits until a viewer gets a picture of a version that began at or after an
// instant.
func (w *World) Sees(v *viewer.Viewer, version string, after time.Duration) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.Ctx, sight)
	defer cancel()
	if _, err := v.WaitVersion(ctx, version, after); err != nil {
		status, asked := w.Status(w.Ctx)
		w.T.Fatalf("%s, alive %t %s: %v; it got %+v, the forwarder says %+v %v", v.Kind, v.Alive(), v.Ended(), err,
			v.Report(after, publish.Monotonic()), status, asked)
	}
}

// Clean waits for one more picture of the version, and checks that all is intact
// since an instant.
func (w *World) Clean(v *viewer.Viewer, version string, from time.Duration) viewer.Report {
	w.T.Helper()
	w.Sees(v, version, publish.Monotonic())
	return w.Intact(v, "", from, publish.Monotonic())
}

// Intact checks that nothing was lost or broken in [from, to] and that the session
// stands. Times need only go on: how late packets came is the machine's affair. when
// says in an error what was being done.
func (w *World) Intact(v *viewer.Viewer, when string, from, to time.Duration) viewer.Report {
	w.T.Helper()
	r, back := v.Report(from, to), v.Version("", from, to).Backward
	if r.FramesLost+r.SeqBreaks+r.Duplicates+back > 0 || !v.Alive() {
		w.T.Errorf("%s %s: alive %t %s, %+v, %d times back", when, v.Kind, v.Alive(), v.Ended(), r, back)
	}
	return r
}

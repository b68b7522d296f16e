package stand_test

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

// patience bounds each test; the machines are busy.
const patience = 3 * time.Minute

// soak, in the environment, makes the tests as long as they are meant to be.
const soak = "SLIPSTREAM_SOAK"

// rounds is how often a test does its thing: few in a quick run, all in a soak.
func rounds(quick, all int) int {
	if os.Getenv(soak) != "" {
		return all
	}
	return quick
}

var binaries = sync.OnceValues(func() (string, error) { return device.Binaries(context.Background(), "") })

type world struct {
	*stand.Stand
	t   *testing.T
	ctx context.Context
}

func newWorld(t *testing.T) *world {
	t.Helper()
	limit := patience
	if os.Getenv(soak) != "" {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit) // t's own ends before the clean-up
	t.Cleanup(cancel)
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	s, err := stand.Start(ctx, stand.Config{Bin: bin})
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
	return &world{s, t, ctx}
}

// play publishes a scene until the test ends.
func (w *world) play(part stand.Part, scene stand.Scene) {
	ctx, stop := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- scene.Play(ctx, w.Publish(part.Source.ID)) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("publisher %s: %v", part.Source.ID, err)
		}
	})
}

// watch joins viewers of every kind and waits until they see the version.
func (w *world) watch(version string) (all []*viewer.Viewer) {
	w.t.Helper()
	for _, dial := range []func() (*viewer.Viewer, error){
		func() (*viewer.Viewer, error) { return viewer.DialWHEP(w.ctx, w.WHEP()) },
		func() (*viewer.Viewer, error) { return viewer.DialRTSP(w.ctx, viewer.RTSPTCP, w.RTSP()) },
		func() (*viewer.Viewer, error) { return viewer.DialRTSP(w.ctx, viewer.RTSPUDP, w.RTSP()) },
	} {
		err := stand.Retry(w.ctx, func() error {
			v, err := dial()
			if err == nil {
				all = append(all, v)
			}
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		v := all[len(all)-1]
		w.t.Cleanup(v.Close)
		if _, err := v.WaitVersion(w.ctx, version, 0); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Viewers go from one version to another and back a thousand times, half of the
// ways as commits, and no number, time or frame shows it.
func TestSwitchesLeaveNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rate := uint64(200)
	parts := []stand.Part{stand.NewPart("a-1", "1.0", 0), stand.NewPart("b-1", "2.0", 0)}
	w.must(w.Order(w.ctx, nil, parts...))
	for i, part := range parts {
		w.play(part, stand.Scene{Version: part.Source.Version, Rate: rate, GOP: 4, Phase: uint64(i) * 2, Bytes: 2000})
	}
	viewers := w.watch("1.0")
	from := publish.Monotonic()
	switches := rounds(1000, 10_000)
	for done, old := 0, 0; done < switches; {
		trial := parts[1-old]
		id, err := w.Try(w.ctx, parts[old], trial)
		w.must(err)
		_, err = w.Switched(w.ctx, id)
		w.must(err)
		done++
		if done%3 == 0 {
			w.must(w.Commit(w.ctx, id, trial.Source.ID))
			old = 1 - old
			w.must(w.Order(w.ctx, nil, parts[old], parts[1-old]))
			continue
		}
		_, err = w.Revert(w.ctx, id)
		w.must(err)
		done++
	}
	end := publish.Monotonic()
	for _, v := range viewers {
		if _, err := v.Wait(w.ctx, "a picture after the last switch", func(u viewer.Unit) bool { return u.First > end }); err != nil {
			t.Fatal(v.Kind, err)
		}
		now := publish.Monotonic()
		r, drift := v.Report(from, now), v.Drift(from, now)
		t.Logf("%s: %d switches in %v, %d frames, %d replayed, drift %v, longest gap %.1f ms", v.Kind, switches, (end - from).Round(time.Millisecond), r.Frames, r.ReplayedFrames, drift, r.LongestGapMS)
		if !r.Clean() || !v.Alive() {
			t.Errorf("%s: alive %t %s, %+v", v.Kind, v.Alive(), v.Ended(), r)
		}
		if drift.Abs() >= time.Millisecond {
			t.Errorf("%s: times have drifted by %v", v.Kind, drift)
		}
		if len(r.Versions) < switches/4 {
			t.Errorf("%s: saw only %d changes of version", v.Kind, len(r.Versions))
		}
	}
}

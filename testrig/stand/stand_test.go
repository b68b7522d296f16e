package stand_test

import (
	"testing"
	"time"

	"slipstream/stream/publish"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
	"slipstream/testrig/viewer"
)

// Viewers go from one version to another and back a thousand times, half of the
// ways as commits, and no number, time or frame shows it.
func TestSwitchesLeaveNoTrace(t *testing.T) {
	t.Parallel()
	w := standtest.New(t)
	rate := uint64(200)
	parts := []stand.Part{stand.NewPart("a-1", "1.0", 0), stand.NewPart("b-1", "2.0", 0)}
	w.Must(w.Order(w.Ctx, nil, parts...))
	for i, part := range parts {
		w.Play(part, stand.Scene{Version: part.Source.Version, Rate: rate, GOP: 4, Phase: uint64(i) * 2, Bytes: 2000})
	}
	viewers := w.Watch("1.0")
	from := publish.Monotonic()
	switches := standtest.Rounds(1000, 10_000)
	for done, old := 0, 0; done < switches; {
		trial := parts[1-old]
		id, err := w.Try(w.Ctx, parts[old], trial)
		w.Must(err)
		_, err = w.Switched(w.Ctx, id)
		w.Must(err)
		done++
		if done%3 == 0 {
			w.Must(w.Commit(w.Ctx, id, trial.Source.ID))
			old = 1 - old
			w.Must(w.Order(w.Ctx, nil, parts[old], parts[1-old]))
			continue
		}
		_, err = w.Revert(w.Ctx, id)
		w.Must(err)
		done++
	}
	end := publish.Monotonic()
	for _, v := range viewers {
		_, err := v.Wait(w.Ctx, "a picture after the last switch", func(u viewer.Unit) bool { return u.First > end })
		w.Must(err)
		now := publish.Monotonic()
		r, drift := w.Intact(v, "switching", from, now), v.Drift(from, now)
		t.Logf("%s: %d switches in %v, %d frames, %d replayed, drift %v, longest gap %.1f ms", v.Kind, switches, (end - from).Round(time.Millisecond), r.Frames, r.ReplayedFrames, drift, r.LongestGapMS)
		if drift.Abs() >= time.Millisecond {
			t.Errorf("%s: times have drifted by %v", v.Kind, drift)
		}
		if len(r.Versions) < switches/4 {
			t.Errorf("%s: saw only %d changes of version", v.Kind, len(r.Versions))
		}
	}
}

package testrig_test

import (
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
	"slipstream/verify"
)

// rtspRelease publishes by RTSP, which has no way to ask it for a key frame, and hands
// its count over.
func rtspRelease(version string) (r device.Release) {
	r = release(version)
	r.App.PublishRTSP = true
	r.App.State = &verify.State{Schema: camera.StateSchema}
	return r
}

// An encoder behind RTSP hears at SLIPSTREAM_CONTROL what part it plays and that key
// frames are wanted: its clip has one every ten frames, and viewers who join want one at
// once.
func TestRTSPAppHearsOfKeyFramesByControl(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(rtspRelease("1.0")))
	v := r.watch("1.0")
	r.says("a", "playing version 1.0, permanent")
	two := rtspRelease("2.0")
	two.Greenlight = camera.Greenlight{By: "never"}
	r.trialUnderWay(two)
	r.says("a", "playing version 1.0, standby")
	r.says("b", "playing version 2.0, trial")
	// Unasked it has a key frame every ten frames; during a trial its version is asked for
	// more of them all the time.
	from := r.sees(v, "2.0", 0).First
	var last time.Duration
	early, since := 0, clipKeys
	if _, err := v.Wait(r.ctx, "key frames that were asked for", func(u viewer.Unit) bool {
		if u.First < last { // all of them are shown anew
			early, since = 0, clipKeys
		}
		last = u.First
		if since++; u.IDR {
			if u.First > from && since < clipKeys {
				early++
			}
			since = 0
		}
		return early == 5
	}); err != nil {
		t.Error(err)
	}
	if res := r.Client.Revert(r.ctx); res.Exit != control.ExitDone {
		t.Fatalf("revert: %+v", res)
	}
	r.says("a", "playing version 1.0, permanent")
	r.sees(v, "1.0", publish.Monotonic())
}

// clipKeys is how many frames of the camera's clips go from one key frame to the next.
const clipKeys = 10

// says waits until a slot's app has said so of itself.
func (r *rig) says(slot, words string) {
	r.t.Helper()
	if _, err := r.WaitStatus(r.ctx, slot+" to say "+words, func(s control.Status) bool {
		for _, app := range s.Slots {
			if app.Name == slot && strings.Contains(app.Status, words) {
				return true
			}
		}
		return false
	}); err != nil {
		r.t.Fatal(err)
	}
}

package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
)

// calm is watched after each outcome: what an update does to viewers must not
// show later either.
const calm = 1500 * time.Millisecond

// present is how recent a viewer's last picture must be for it to count as kept.
const present = 500 * time.Millisecond

// The forwarder's stall limit follows the machine: so many times the longest
// healthy gap of the last minute, but no less than the configured limit.
const (
	stallFactor = 2.5
	stallMemory = time.Minute
)

// maxUpdate bounds one update.
const maxUpdate = time.Minute

// update installs one version and measures what viewers saw of it.
func (s *scene) update(ctx context.Context, st step) (Update, control.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, maxUpdate)
	defer cancel()
	before, err := s.cam.Client.Status(ctx)
	if err != nil {
		return Update{}, control.Result{}, err
	}
	from := publish.Monotonic()
	result := s.install(ctx, st)
	select {
	case <-time.After(calm):
	case <-ctx.Done():
		return Update{}, result, ctx.Err()
	}
	to := publish.Monotonic()
	u := Update{From: short(before.Permanent), To: st.version}
	u.outcome(result)
	s.watched(&u, from, to)
	u.Carried = carry(u.From, u.To, s.camSeats[0].Stamps())
	s.times(&u, result.Record, from)
	return u, result, nil
}

func (s *scene) install(ctx context.Context, st step) control.Result {
	if !st.byPanel {
		return control.Install(ctx, s.cam.Client, control.StageRequest{Path: s.packages.files[st.version]}, true)
	}
	if r := s.panel.Stage(ctx, camName, s.releases[st.version]); r.Exit != control.ExitDone {
		return r
	}
	return s.cam.Client.Activate(ctx, control.ActivateRequest{Wait: true})
}

func (u *Update) outcome(r control.Result) {
	switch {
	case r.Record != nil:
		u.Outcome, u.Reason = r.Record.Outcome, r.Record.Reason
	case r.Exit == control.ExitRefused:
		u.Outcome, u.Reason = control.OutcomeRefused, r.Code
	default:
		u.Outcome, u.Reason = "error", r.Message
	}
	if u.Outcome == control.OutcomeRefused && r.Code != "" {
		u.Reason = r.Code
	}
}

// watched fills in what viewers saw in [from, to].
func (s *scene) watched(u *Update, from, to time.Duration) {
	for _, name := range streams {
		u.Streams = append(u.Streams, Stream{Name: name})
	}
	for _, seat := range s.camSeats {
		v := Viewer{Stream: seat.stream, Kind: seat.Kind, Ended: seat.Ended(), Report: seat.Report(from, to)}
		v.Kept = seat.Alive() && seat.Report(to-present, to).Frames > 0
		if v.Kept {
			u.ViewersKept++
		} else {
			u.ViewersLost++
		}
		for i := range u.Streams {
			if u.Streams[i].Name == seat.stream {
				u.Streams[i].worst(v.Report)
			}
		}
		u.Viewers = append(u.Viewers, v)
	}
	for _, seat := range s.controlled {
		u.ControlGapMS = max(u.ControlGapMS, seat.Report(from, to).LongestGapMS)
	}
}

// times fills in how long a revert took: the camera's own word on when its fault
// was, the forwarder's on when it noticed, the viewers' on when they saw it.
func (s *scene) times(u *Update, r *control.Record, from time.Duration) {
	if u.Outcome != control.OutcomeReverted || r == nil || r.Proof == nil || r.Proof.Detected == 0 {
		return
	}
	detected := time.Duration(r.Proof.Detected)
	start, faulty := s.fault(from)
	if faulty {
		u.DetectMS = ms(detected - start)
		u.stallMS = s.stallLimit(start)
	} else {
		start = detected
	}
	if r.Proof.First != 0 {
		u.SwitchMS = ms(time.Duration(r.Proof.First) - detected)
	}
	last := time.Duration(0)
	for _, seat := range s.camSeats {
		at, ok := seat.FirstOf(u.From, start)
		if !ok {
			return // a viewer that never came back has no such time, and the update has none
		}
		last = max(last, at-start)
	}
	u.FirstPacketMS = ms(last)
}

// stallLimit is the forwarder's at an instant, by the design's rule, from what
// viewers had seen by then.
func (s *scene) stallLimit(at time.Duration) float64 {
	healthy := 0.0
	for _, seat := range s.camSeats {
		healthy = max(healthy, seat.Report(at-stallMemory, at).LongestGapMS)
	}
	return max(device.StallMS, stallFactor*healthy)
}

// fault finds the line that a camera prints before it misbehaves.
func (s *scene) fault(from time.Duration) (at time.Duration, ok bool) {
	for _, file := range s.cam.LogFiles() {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a log that was rotated away
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			var said struct {
				Fault string `json:"fault"`
				Mono  int64  `json:"mono"`
			}
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Fault != "" && time.Duration(said.Mono) > from {
				return time.Duration(said.Mono), true
			}
		}
	}
	return 0, false
}

func ms(d time.Duration) *float64 {
	v := viewer.Milliseconds(d)
	return &v
}

// short is a version as the pictures show it: packages carry three numbers.
func short(version string) string { return strings.TrimSuffix(version, ".0") }

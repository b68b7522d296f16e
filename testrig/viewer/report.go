package viewer

import (
	"slices"
	"time"

	"slipstream/testrig/camera"
)

// lineLimit is how far an RTP time may be from the line of the arrival times.
// After a silence the frames that fill it carry its times, so they may be behind
// by its length more.
const lineLimit = 250 * time.Millisecond

// silenceFor is how long a silence explains late frames after it.
const silenceFor = 500 * time.Millisecond

// lineBefore is how far before a window its time line is learnt.
const lineBefore = 2 * time.Second

// rtpClock is the RTP clock rate of video, in Hz.
const rtpClock = 90000

// Report is what a viewer suffered in a window of time.
type Report struct {
	Frames          int      `json:"frames"`
	LongestGapMS    float64  `json:"longest_gap_ms"`    // between whole frames
	LongestGapAtMS  float64  `json:"longest_gap_at_ms"` // its end, from the window's beginning
	FramesLost      int      `json:"frames_lost"`
	SeqBreaks       int      `json:"seq_breaks"`
	TimestampBreaks int      `json:"timestamp_breaks"`
	ReplayedFrames  int      `json:"replayed_frames"`
	ContentJumpMS   float64  `json:"content_jump_ms"` // farthest that the picture went back in time
	SkippedFrames   int      `json:"skipped_frames"`  // scenes that no version showed, at a change of version
	Duplicates      int      `json:"duplicates"`      // packets that came twice
	Versions        []string `json:"versions"`        // in the order in which they were seen
}

// Clean says that nothing is lost and nothing is broken.
func (r Report) Clean() bool {
	return r.FramesLost == 0 && r.SeqBreaks == 0 && r.TimestampBreaks == 0 && r.Duplicates == 0
}

// Report sums up the units that were whole in [from, to], CLOCK_MONOTONIC.
func (r *Recorder) Report(from, to time.Duration) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := Report{}
	var longest, end, jump time.Duration
	last := from
	for _, u := range r.units {
		if u.Last > to {
			break
		}
		if u.Last >= from {
			if gap := u.Last - last; u.complete && gap > longest {
				longest, end = gap, u.Last
			}
			jump = max(jump, u.jump)
			rep.add(u)
		}
		if u.complete {
			last = u.Last
		}
	}
	for _, f := range r.faults {
		switch {
		case f.at < from || f.at > to:
		case f.duplicate:
			rep.Duplicates++
		default:
			rep.SeqBreaks++
		}
	}
	rep.TimestampBreaks += r.offLine(from, to)
	if to-last > longest { // nothing more came: that is a gap too
		longest, end = to-last, to
	}
	rep.LongestGapMS, rep.LongestGapAtMS = Milliseconds(longest), Milliseconds(end-from)
	rep.ContentJumpMS = Milliseconds(jump)
	return rep
}

func (rep *Report) add(u Unit) {
	rep.Frames++
	rep.FramesLost += u.lost
	rep.SkippedFrames += u.skipped
	if u.replayed {
		rep.ReplayedFrames++
	}
	if u.tsBack {
		rep.TimestampBreaks++
	}
	if v := u.Stamp.Version; v != "" && (len(rep.Versions) == 0 || rep.Versions[len(rep.Versions)-1] != v) {
		rep.Versions = append(rep.Versions, v)
	}
}

// offLine counts how often RTP times leave the line of the arrival times.
func (r *Recorder) offLine(from, to time.Duration) (breaks int) {
	var units []Unit
	var delays []time.Duration
	for _, u := range r.units {
		if u.Last >= from-lineBefore && u.Last <= to {
			units = append(units, u)
			delays = append(delays, u.delay())
		}
	}
	if len(units) == 0 {
		return 0
	}
	slices.Sort(delays)
	usual := delays[len(delays)/2]
	off := false
	for i, u := range units {
		late := u.delay() - usual
		was := off
		off = late < -lineLimit || late > lineLimit+silence(units[:i+1])
		if off && !was && u.Last >= from {
			breaks++
		}
	}
	return breaks
}

// silence is the longest gap that ended shortly before the last unit.
func silence(units []Unit) (longest time.Duration) {
	last := units[len(units)-1].First
	for i := len(units) - 1; i > 0 && last-units[i].First <= silenceFor; i-- {
		longest = max(longest, units[i].First-units[i-1].First)
	}
	return longest
}

// delay is the arrival's distance from the RTP time, on a scale of its own.
func (u Unit) delay() time.Duration {
	return u.First - time.Duration(u.time)*time.Second/rtpClock
}

// driftUnits is how many units at either end of a window are looked at for drift.
const driftUnits = 100

// Drift is how far RTP times have moved against the capture times in the stamps,
// from the beginning of [from, to] to its end. Units that are shown again carry the
// times of the silence that they fill, and are left out.
func (r *Recorder) Drift(from, to time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var offsets []time.Duration
	for _, u := range r.units {
		if u.Last >= from && u.Last <= to && !u.replayed && u.Stamp.Version != "" {
			offsets = append(offsets, time.Duration(u.time)*time.Second/rtpClock-u.Stamp.Captured)
		}
	}
	if len(offsets) == 0 {
		return 0
	}
	n := min(driftUnits, len(offsets))
	first, last := slices.Clone(offsets[:n]), slices.Clone(offsets[len(offsets)-n:])
	slices.Sort(first)
	slices.Sort(last)
	return last[n/2] - first[n/2]
}

// FirstOf is when the first packet of a version's first unit that began at or
// after an instant arrived.
func (r *Recorder) FirstOf(version string, after time.Duration) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.units {
		if u.First >= after && u.Stamp.Version == version {
			return u.First, true
		}
	}
	return 0, false
}

// Stamps are those of all units, in the order in which they came.
func (r *Recorder) Stamps() []camera.Stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]camera.Stamp, 0, len(r.units))
	for _, u := range r.units {
		out = append(out, u.Stamp)
	}
	return out
}

// Milliseconds is d for people and for JSON, to a hundredth.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

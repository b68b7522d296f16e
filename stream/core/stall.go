package core

import "time"

const (
	// stallFactor times the longest healthy gap of the last minute is never a stall.
	stallFactor = 2.5

	// lateTimer is how late the core may find a stall before it doubts itself
	// rather than the source.
	lateTimer = 10 * time.Millisecond

	// maxStallWaits bounds how often a verdict is put off.
	maxStallWaits = 4
)

// gapMeter keeps the longest gap between frames over the last minute, in
// buckets of a second.
type gapMeter struct {
	second  int64
	buckets [60]int64
}

func (g *gapMeter) add(gap, now int64) {
	g.advance(now)
	b := &g.buckets[g.second%int64(len(g.buckets))]
	*b = max(*b, gap)
}

func (g *gapMeter) advance(now int64) {
	second := now / int64(time.Second)
	if second-g.second > int64(len(g.buckets)) {
		g.second = second - int64(len(g.buckets))
	}
	for g.second < second {
		g.second++
		g.buckets[g.second%int64(len(g.buckets))] = 0
	}
}

func (g *gapMeter) longest(now int64) int64 {
	g.advance(now)
	var longest int64
	for _, b := range g.buckets {
		longest = max(longest, b)
	}
	return longest
}

// stallLimit is how long a line may be silent before it counts as stalled.
func stallLimit(declared time.Duration, longestHealthyGap int64) int64 {
	return max(int64(declared), int64(stallFactor*float64(longestHealthyGap)))
}

// stallJudge decides whether a silent line has stalled or the machine has.
type stallJudge struct {
	waits int64
	since int64 // silence counts from here
}

// start begins the watch over a line that was just followed.
func (j *stallJudge) start(now int64) { *j = stallJudge{since: now} }

// heard notes a frame.
func (j *stallJudge) heard(now int64) { *j = stallJudge{since: now} }

// due is when the next verdict is to be given.
func (j *stallJudge) due(limit int64) int64 { return j.since + (j.waits+1)*limit }

// verdict says whether the line has stalled. It is asked when due has passed
// and the line's socket has been read empty. A core that looks late may have
// been the one that slept, and an other line that is expected live and silent
// too means that the machine stalled: then it waits one limit more, a few times.
func (j *stallJudge) verdict(now, limit int64, otherSilent bool) bool {
	due := j.due(limit)
	if now < due {
		return false
	}
	late := now-due > int64(lateTimer) && j.waits == 0
	if (late || otherSilent) && j.waits < maxStallWaits {
		// Counted from now: after a long sleep all the limits would have passed at once.
		j.waits++
		j.since = now - j.waits*limit
		return false
	}
	return true
}

package core

import (
	"cmp"
	"math"
	"time"
)

const (
	// tapeCells is how many steps of time a tape holds: a minute of fine ones, ten
	// minutes of coarse ones.
	tapeCells = 600

	fineStep   = int64(100 * time.Millisecond)
	coarseStep = int64(time.Second)

	// enoughPast is how long a version must have been seen, for its past to be
	// something to compare with.
	enoughPast = int64(time.Second)

	// edgePart of a stretch, at each of its ends, is where the drift is read off.
	edgePart = 10
)

// meter keeps what a line has shown, so that measures can be taken over any stretch
// of its last minute, and over its version's last ten minutes. It allocates nothing,
// and is plain data: it lies in the line's memory.
type meter struct {
	fine  tape
	past  tape  // begins as a copy of what the version's last run has left
	since int64 // arrival of the first frame; 0: none yet
	last  int64 // arrival of the newest frame; 0: none since the line began, or was frozen
	key   int64 // the same of the newest key frame
}

// tape sums up frames by steps of time.
type tape struct {
	cells [tapeCells]cell
	head  int64 // newest step with a frame
}

// cell is one step of time. Only frames that have one before them in the same run
// are in its times; the first one of a run says nothing about time.
type cell struct {
	step   int64  // which one: CLOCK_MONOTONIC by the tape's step
	frames uint32 // that came
	timed  uint32 // of them: with one before them
	bytes  uint32
	span   uint32 // µs between the timed ones and those before them
	gap    uint32 // µs, the longest of these
	keyGap uint32 // µs between key frames, the longest that ended here
	delay  int32  // µs from capture to arrival, the shortest
}

// add notes a frame that is whole now.
func (m *meter) add(u *unit, now int64) {
	gap, keyGap := int64(0), int64(0)
	if m.since == 0 {
		m.since = now
	}
	if m.last != 0 {
		gap = max(now-m.last, 1)
	}
	if u.key && m.key != 0 {
		keyGap = now - m.key
	}
	m.fine.add(now/fineStep, u, gap, keyGap, now-u.capture)
	m.past.add(now/coarseStep, u, gap, keyGap, now-u.capture)
	m.last = now
	if u.key {
		m.key = now
	}
}

// pause ends a run: the time until the next frame is nobody's gap.
func (m *meter) pause() { m.since, m.last, m.key = 0, 0, 0 }

func (t *tape) add(step int64, u *unit, gap, keyGap, delay int64) {
	c := &t.cells[step%tapeCells]
	d := int32(min(max(delay/1000, math.MinInt32), math.MaxInt32))
	if c.step != step || c.frames == 0 {
		*c = cell{step: step, delay: d}
	}
	c.frames++
	c.bytes += u.bytes
	c.delay = min(c.delay, d)
	if gap > 0 {
		us := microseconds(gap)
		c.timed++
		c.span += us
		c.gap = max(c.gap, us)
	}
	c.keyGap = max(c.keyGap, microseconds(keyGap))
	t.head = max(t.head, step)
}

func microseconds(ns int64) uint32 { return uint32(min(ns/1000, math.MaxUint32)) }

// at returns a step's cell, nil if no frame came in it.
func (t *tape) at(step int64) *cell {
	if c := &t.cells[((step%tapeCells)+tapeCells)%tapeCells]; c.step == step && c.frames > 0 {
		return c
	}
	return nil
}

// stretch is what a line has shown over a stretch of time; times in ns.
type stretch struct {
	frames, bytes uint64
	over          int64 // the time that the frames are counted over
	gap, keyGap   int64
	drift         int64
}

// window sums up the fine steps from … to−1. A gap that began before them, or is
// not over at their end, counts in full; what never came was missing all the time.
// Gaps that ended in a step of which doubtful says so do not count: the forwarder was
// the late one.
func (m *meter) window(from, to int64, doubtful func(step int64) bool) stretch {
	s := m.fine.sum(from, to, doubtful)
	begin, end := from*fineStep, to*fineStep
	s.over = end - begin
	s.gap = max(s.gap, end-cmp.Or(m.last, begin))
	s.keyGap = max(s.keyGap, end-cmp.Or(m.key, begin))
	return s
}

// silence is the window of a line that is not there.
func silence(steps int64) stretch {
	over := steps * fineStep
	return stretch{over: over, gap: over, keyGap: over}
}

// history sums up the last ten minutes, up to the newest frame. Drift is told for
// a stretch as long as window. It reports false if that is too little to say
// anything.
func (t *tape) history(window int64) (stretch, bool) {
	from := t.head - tapeCells + 1
	s := t.sum(from, t.head+1, nil)
	if s.over < enoughPast {
		return s, false
	}
	s.drift = int64(float64(s.drift) / float64(s.over) * float64(window))
	return s, true
}

// sum adds cells up. Over is the time that the frames themselves speak of, and only
// those count that do.
func (t *tape) sum(from, to int64, doubtful func(step int64) bool) (s stretch) {
	for step := from; step < to; step++ {
		c := t.at(step)
		if c == nil {
			continue
		}
		s.frames += uint64(c.timed)
		s.bytes += uint64(c.bytes)
		s.over += int64(c.span) * 1000
		if doubtful == nil || !doubtful(step) {
			s.gap = max(s.gap, int64(c.gap)*1000)
		}
		s.keyGap = max(s.keyGap, int64(c.keyGap)*1000)
	}
	s.drift = t.drift(from, to)
	return s
}

// drift is how much later frames come after their capture at the end of a stretch
// than at its beginning. The shortest delay of a part of it stands for each: what is
// late by chance is only ever later.
func (t *tape) drift(from, to int64) int64 {
	for from < to && t.at(from) == nil {
		from++
	}
	for from < to && t.at(to-1) == nil {
		to--
	}
	part := max(1, (to-from)/edgePart)
	if to-from <= part {
		return 0
	}
	return t.shortestDelay(to-part, to) - t.shortestDelay(from, from+part)
}

func (t *tape) shortestDelay(from, to int64) int64 {
	shortest := int64(math.MaxInt64)
	for step := from; step < to; step++ {
		if c := t.at(step); c != nil {
			shortest = min(shortest, int64(c.delay)*1000)
		}
	}
	return shortest
}

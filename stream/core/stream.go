package core

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

const (
	// maxReplayFrames and maxReplayTime bound what viewers are shown a second
	// time at a switch or revert. Measured in Chromium: with more, the picture
	// visibly jumps back.
	maxReplayFrames = 15
	maxReplayTime   = 500 * time.Millisecond

	// keyPatience is how many frame intervals a key frame is waited for before
	// the longer past is sent after all.
	keyPatience = 3

	// maxViewers bounds one stream's viewers.
	maxViewers = 1000
)

// stream is one named stream as viewers know it: it outlives every source.
type stream struct {
	name     string
	followed *line // whose units viewers get; kept when that line dies
	want     orders.SourceID
	giveUp   int64  // when the longer past is taken; 0: at the next key frame
	entry    uint64 // the followed line's unit from which viewers of another line go on
	heard    int64  // sound: capture time of the newest packet that viewers were given; 0: none
	from     int64  // sound: capture time from which it is given to them
	tracks   []*track
	codec    codec
	out      handOver
	past     *past // what the permanent version has shown of it; nil: nothing yet

	// What viewers were told of the line that is followed.
	sdp  []byte
	rate int64 // of the RTP clock, in Hz
	sets parameterSets
}

// describe makes a line's description that of the stream.
func (s *stream) describe(l *line) {
	s.sdp, s.rate, s.sets = l.sdp, l.rate, l.params
}

// target is the line that viewers should be on, if its source has one.
func (c *Core) target(s *stream) *line {
	src := c.sources[s.want]
	if src == nil {
		return nil
	}
	return src.lines[s.name]
}

// short says that what the line has since its last key frame may be sent at once.
func short(l *line, now int64) bool {
	a := l.arena
	return a.hasKey && a.sinceKey() <= maxReplayFrames && now-a.unit(a.key).arrival <= int64(maxReplayTime)
}

// follow is the one operation behind switch and revert: viewers go on with what
// the line has since its last key frame, then follow it live. If they have not
// seen the scene up to that key frame, because the other line had stalled, they
// go on from an earlier one if the bounds allow it.
func (c *Core) follow(s *stream, l *line) orders.StreamSwitch {
	before := len(s.tracks)
	c.strand(s, l)
	report := orders.StreamSwitch{Name: s.name, Viewers: len(s.tracks), Closed: before - len(s.tracks)}
	c.enter(s, l, &report)
	s.followed, s.giveUp = l, 0
	l.stall.start(c.now())
	if !bytes.Equal(s.sdp, l.sdp) {
		s.describe(l)
		for _, t := range s.tracks {
			t.viewer.out.described(t)
		}
	}
	s.out.begin()
	c.pumpAll(s)
	report.GapMS = s.gapMS(c.now())
	return report
}

// enter finds the unit from which viewers go on with a line, and says what that
// means for them.
func (c *Core) enter(s *stream, l *line, report *orders.StreamSwitch) {
	a, old := l.arena, s.followed
	seen := old != nil && old.frames > 0
	if s.codec.sound() {
		s.goOnFrom(l)
		return
	}
	s.entry = a.key
	if seen {
		s.entry = a.keyUpTo(old.lastCapture+min(old.frameInterval(), l.frameInterval())*3/2, c.now())
		report.ContentJumpMS = max(0, milliseconds(old.lastCapture-a.unit(s.entry).capture))
		for n := s.entry; n < a.unitHead; n++ {
			if a.unit(n).capture <= old.lastCapture {
				report.ReplayedFrames++
			}
		}
	}
	report.ParameterSets = setsFor(old, l, a.unit(s.entry))
}

// pumpAll lets every viewer go on. It walks backwards because a viewer may be
// closed on the way.
func (c *Core) pumpAll(s *stream) {
	for _, t := range slices.Backward(s.tracks) {
		t.pump(c)
	}
}

// turn makes a stream's viewers want another source; settle does the rest as
// soon as the bounds of a replay allow.
func (c *Core) turn(s *stream, want orders.SourceID, now int64) {
	s.want = want
	s.giveUp = 0
	if l := c.target(s); l != nil && l.arena.hasKey {
		s.giveUp = now + keyPatience*l.frameInterval()
	}
}

// settled moves a stream's viewers to the source that they should be on. It
// reports false while that has to wait, and whether waiting can help.
func (c *Core) settled(s *stream, now int64) (done, hope bool, report orders.StreamSwitch) {
	l := c.target(s)
	if l != nil && l == s.followed {
		return true, true, orders.StreamSwitch{Name: s.name, Viewers: len(s.tracks)}
	}
	if l == nil || !l.alive() {
		return false, false, report
	}
	if s.codec.sound() {
		if c.waitsForPicture(s) {
			return false, true, report
		}
		return true, true, c.follow(s, l)
	}
	if short(l, now) || (l.arena.hasKey && s.giveUp != 0 && now >= s.giveUp) {
		return true, true, c.follow(s, l)
	}
	l.wishKey(now)
	return false, l.arena.hasKey || l.thawing(now), report
}

// admit puts a track on a stream. What it is to see first is sent by its pump.
func (c *Core) admit(t *track, name string, now int64) error {
	s := c.streams[name]
	switch {
	case s == nil || s.sdp == nil:
		return fmt.Errorf("stream %q has no source yet", name)
	case len(s.tracks) >= maxViewers:
		return fmt.Errorf("stream %q has %d viewers already", name, maxViewers)
	}
	if err := c.agree(t, s); err != nil {
		return err
	}
	t.join(s)
	if l := s.followed; l != nil && !short(l, now) {
		l.wishKey(now)
	}
	return nil
}

func (t *track) join(s *stream) {
	t.stream, t.rate = s, s.rate
	t.codec.set(codecName(s.codec))
	if t.rate == 0 {
		t.rate = s.codec.clockRate()
	}
	s.tracks = append(s.tracks, t)
}

// leave takes a track from its stream, if it is on one.
func (t *track) leave() {
	if s := t.stream; s != nil {
		if i := slices.Index(s.tracks, t); i >= 0 {
			s.tracks = slices.Delete(s.tracks, i, i+1)
		}
	}
	t.stream = nil
}

// closeViewer ends a viewer, for one of the reasons of [handover.Ended].
func (c *Core) closeViewer(v *viewer, reason, sentence string) {
	if v.fd < 0 {
		return
	}
	v.out.leaving(c, reason, sentence)
	c.forget(v)
}

// forget lets go of all that the core has of a viewer.
func (c *Core) forget(v *viewer) {
	if v.place.record != nil {
		for n := range maxDescriptors {
			c.keeper.drop(v.place.descriptor(n))
		}
		_ = unix.Shutdown(v.fd, unix.SHUT_RDWR) // a kept copy would hold the connection
	}
	c.poll.close(v.fd)
	v.fd = -1
	c.release(v)
}

// release takes a viewer from its streams, and forgets it.
func (c *Core) release(v *viewer) {
	for _, t := range v.tracks {
		t.leave()
	}
	v.place.free()
	v.place = place{}
}

// kickStuck closes viewers that have taken nothing for too long.
func (c *Core) kickStuck(now int64) {
	for _, s := range c.streams {
		for _, t := range slices.Backward(s.tracks) {
			if v := t.viewer; v.blockedAt != 0 && now-v.blockedAt > int64(kickAfter) {
				c.log.Warn("viewer takes nothing and is closed", "stream", s.name)
				c.closeViewer(v, handover.EndedStuck, "")
			}
		}
	}
}

package core

import (
	"math"
	"time"

	"slipstream/stream/orders"
)

// maxSoundPast bounds how old sound may be that a viewer is given, at a switch or
// when it comes: more would be heard as an echo, or would have to be played faster
// than it was spoken.
const maxSoundPast = 60 * time.Millisecond

// soundAfter is the unit from which viewers go on who have heard sound up to a
// capture time: the first one that was captured later, unless that is too long ago;
// the next one to come if there is none.
func (a *arena) soundAfter(capture, now int64) uint64 {
	n := a.unitHead
	for n > a.unitTail {
		if u := a.unit(n - 1); u.capture <= capture || now-u.arrival > int64(maxSoundPast) {
			break
		}
		n--
	}
	return n
}

// hear puts the cursor on a line of sound, at unit or later: nothing old is played,
// and nothing is squeezed together.
func (t *track) hear(l *line, unit uint64, now int64) {
	t.at(l)
	t.unit = max(unit, l.arena.soundAfter(math.MinInt64, now))
	t.packet, t.catchUp.left = 0, 0
}

// heardUpTo is the capture time from which viewers of a line go on with another one:
// half a packet behind the last one's beginning, so that what is heard twice or not at
// all is half a packet at most.
func (l *line) heardUpTo() int64 { return l.lastCapture + l.frameInterval()/2 }

// waitsForPicture says that a stream of sound belongs to a picture whose viewers are
// about to go to the same source and are not there yet. The two go together.
func (c *Core) waitsForPicture(s *stream) bool {
	src := c.sources[s.want]
	if !s.codec.sound() || src == nil {
		return false
	}
	for i := range src.spec.Streams {
		spec := &src.spec.Streams[i]
		if spec.Audio != s.name {
			continue
		}
		picture := c.streams[spec.Name]
		if l := c.target(picture); picture.want == s.want && l != nil && l != picture.followed && l.alive() && l.arena.hasKey {
			return true
		}
	}
	return false
}

// audible says that a trial's line of sound can be followed. One that is declared to
// fall silent (DTX, events) may have sent nothing yet.
func audible(l *line, spec *orders.Stream, armedAt int64) bool {
	return l.alive() && (spec.StallMS <= 0 || l.frames > 0 && l.lastUnit >= armedAt)
}

// anotherForm closes the viewers of sound whose decoders know only what stood in the
// SDP, if the line that is followed from now on is described by another one.
func (c *Core) anotherForm(s *stream, l *line) {
	if !s.codec.sound() || s.sdp == nil || s.rate == l.rate && s.sets.same(&l.params) {
		return
	}
	c.endStream(s, "the version that runs now sends the sound of "+s.name+" in another form; play again")
}

// setsFor says how viewers of one line learn of the sets of another one, whose
// key frame they go on with.
func setsFor(old, l *line, key *unit) string {
	switch {
	case old == nil || l.codec.sound() || !l.params.any():
		return ""
	case old.params.same(&l.params):
		return orders.SetsSame
	case key.injected:
		return orders.SetsInjected
	}
	return orders.SetsInBand
}

// soundLast puts streams of sound behind those of pictures.
func soundLast(a, b *stream) int {
	switch {
	case a.codec.sound() == b.codec.sound():
		return 0
	case a.codec.sound():
		return 1
	}
	return -1
}

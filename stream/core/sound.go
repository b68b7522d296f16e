package core

import (
	"time"

	"slipstream/stream/orders"
)

// maxSoundPast bounds how old sound may be that a viewer is given, at a switch or
// when it comes, counted from when it came here: more would be heard as an echo, or would have to be played faster
// than it was spoken.
const maxSoundPast = 60 * time.Millisecond

// recent is the oldest unit that is recent enough; the next one to come if there is
// none.
func (a *arena) recent(now int64) uint64 {
	n := a.unitHead
	for n > a.unitTail && now-a.unit(n-1).arrival <= int64(maxSoundPast) {
		n--
	}
	return n
}

// hear puts the cursor on a line of sound: nothing old is played, and nothing is
// squeezed together.
func (t *track) hear(l *line, now int64) {
	t.at(l)
	t.unit, t.packet, t.catchUp.left = l.arena.recent(now), 0, 0
}

// heardBefore says that this sound is not for the viewer: it had that from the line
// before, or the capture clock was put back, and the viewer is beyond it. Of sound
// that comes all at once, as from a publisher that has just begun, the first is heard.
func (t *track) heardBefore(u *unit) bool {
	if !t.stream.codec.sound() {
		return false
	}
	const least = 1000 // a second: no packet of sound is shorter than that
	return u.capture < t.stream.from || t.begun && int64(int32(t.base+ticks(u.capture, t.rate)-t.last)) < t.rate/least
}

// listened notes what the viewers of sound have had, when the line that they follow
// has something new.
func (s *stream) listened(l *line) { s.heard = max(s.heard, l.lastCapture) }

// goOnFrom has viewers of sound go on with another line half a packet behind the
// beginning of the last one that they had, so that what is heard twice or not at all
// is half a packet at most. A line that is later than the one before is waited for.
func (s *stream) goOnFrom(l *line) {
	if s.heard != 0 {
		s.from = s.heard + l.frameInterval()/2
	}
	if l.arena.unitHead > l.arena.unitTail {
		s.listened(l)
	}
}

// waitsForPicture says that a stream of sound belongs to a picture whose viewers are
// about to go to the same source and are not there yet. The two go together.
func (c *Core) waitsForPicture(s *stream) bool {
	src := c.sources[s.want]
	if !s.codec.sound() || src == nil {
		return false
	}
	for i := range src.spec.Streams {
		spec := &src.spec.Streams[i]
		picture := c.streams[spec.Name]
		if spec.Audio != s.name || picture == nil {
			continue
		}
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

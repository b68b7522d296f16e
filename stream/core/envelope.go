package core

import (
	"slices"

	"slipstream/stream/handover"
)

// agreement is what a viewer of a stream has agreed to, in the words of package
// orders: it can be sent that, and what asks less of a decoder. Nothing is known of
// one who has not said.
type agreement struct{ codec, profile string }

// strandedError says why a viewer cannot follow what a stream is now.
type strandedError struct{ sentence string }

func (e *strandedError) Error() string { return e.sentence }

// stranded says what keeps a viewer from following a line; nil: nothing does.
func (a agreement) stranded(l *line) error {
	if l == nil || a == (agreement{}) {
		return nil
	}
	if now := l.spec.Strands(a.codec, a.profile); now != "" {
		return &strandedError{"the version that runs now sends stream " + l.spec.Name + " as " + now + "; play again"}
	}
	return nil
}

// agree refuses a viewer who was told of a stream before that became another one. One
// who has not said what it was told is taken to know of what there is.
func (c *Core) agree(t *track, s *stream) error {
	if t.agreed.codec == "" {
		spec, _ := c.toldOf(s.name)
		t.agreed = agreement{spec.Codec, spec.Profile}
	}
	return t.agreed.stranded(s.followed)
}

// agreeAgain is agree for a viewer of another process. That one may have followed a
// version with another envelope.
func (t *track) agreeAgain(s *stream, told handover.Track) error {
	t.agreed = agreement{told.Codec, told.Profile}
	if told.Codec == "" {
		t.agreed = agreement{codec: t.codec.String()}
		if s.followed != nil { // as much as is known
			t.agreed.profile = s.followed.spec.Profile
		}
	}
	return t.agreed.stranded(s.followed)
}

// strand closes the viewers of a stream who cannot follow a line: its codec or profile
// is beyond what they agreed to, or it is sound whose decoders know only what stood in
// the SDP and that is described by another one. They come back to what there is then.
func (c *Core) strand(s *stream, l *line) {
	if s.codec.sound() && s.codec == l.codec && s.sdp != nil && !(s.rate == l.rate && s.sets.same(&l.params)) {
		c.endStream(s, "the version that runs now sends the sound of "+s.name+" in another form; play again")
	}
	for _, t := range slices.Clone(s.tracks) {
		if err := t.agreed.stranded(l); err != nil {
			c.closeViewer(t.viewer, handover.EndedStream, err.Error())
		}
	}
	s.codec = l.codec
}

package core

// past is what a permanent version has shown of a stream, kept when its line ends:
// it is compared with when that version is gone, and its next run goes on with it.
type past struct {
	version string
	tape    tape
	picture
}

// keepPast keeps what the line of the permanent version has shown.
func (c *Core) keepPast(l *line) {
	if l.source.spec.ID == c.permanent && l.meter.past.head > 0 {
		l.stream.past = &past{l.source.spec.Version, l.meter.past, l.picture()}
	}
}

// takeUpPast lets a new line go on with what its version's last run has shown.
func (l *line) takeUpPast() {
	if p := l.stream.past; p != nil && p.version == l.source.spec.Version {
		l.meter.past = p.tape
	}
}

// pastOf finds what the permanent version has shown of a stream: by its line, or by
// what that has left; nil: nothing.
func (c *Core) pastOf(s *stream, l *line) (*tape, picture) {
	if l != nil && l.meter.past.head > 0 {
		return &l.meter.past, l.picture()
	}
	if s != nil && s.past != nil && s.past.version == c.version {
		return &s.past.tape, s.past.picture
	}
	return nil, picture{}
}

// setPermanent makes a source the permanent one; nil: there is none. What the one
// before has shown is kept, and the version's name when there is none for a while.
func (c *Core) setPermanent(src *source) {
	if old := c.sources[c.permanent]; old != nil && old != src {
		for _, l := range old.lines {
			c.keepPast(l)
		}
	}
	c.permanent = ""
	if src != nil {
		c.permanent, c.version = src.spec.ID, src.spec.Version
	}
}

package core

import (
	"encoding/json"
	"fmt"
	"slices"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// obey takes the agent's full orders. They are checked whole before anything
// changes, and obeying the same ones twice changes nothing.
func (c *Core) obey(o *orders.Orders, fds []int, now int64) error {
	if err := check(o, len(fds)); err != nil {
		return err
	}
	if err := c.checkKnown(o); err != nil {
		return err
	}
	if err := c.addSources(o, fds, now); err != nil {
		return err
	}
	c.catchUp(o)
	c.orderStreams(o)
	c.orderTrial(o, now)
	c.setPermanent(c.sources[o.Permanent])
	c.turnSteady(o, now)
	c.dropSources(o)
	return c.note()
}

// note writes down what a forwarder after this one has to know: who publishes what,
// and who is permanent. It is never told of a trial.
func (c *Core) note() error {
	o := orders.Orders{Permanent: c.permanent}
	for _, src := range c.sources {
		spec := src.spec
		spec.Pidfd, spec.Freezer = 0, 0 // descriptors are kept by name
		o.Sources = append(o.Sources, spec)
	}
	body, err := json.Marshal(o)
	if err == nil && len(body) > orders.MaxMessage {
		err = fmt.Errorf("orders of %d bytes are over the limit of %d", len(body), orders.MaxMessage)
	}
	if err == nil {
		c.records.memory.data.book.write(body)
	}
	return err
}

func check(o *orders.Orders, descriptors int) error {
	if len(o.Sources) > maxSources {
		return fmt.Errorf("%d sources are over the limit of %d", len(o.Sources), maxSources)
	}
	known := map[orders.SourceID]bool{}
	for _, s := range o.Sources {
		switch {
		case !identifier.MatchString(string(s.ID)):
			return fmt.Errorf("source name %q", s.ID)
		case known[s.ID]:
			return fmt.Errorf("source %q twice", s.ID)
		case len(s.Streams) == 0 || len(s.Streams) > maxStreams:
			return fmt.Errorf("source %q has %d streams, not 1 to %d", s.ID, len(s.Streams), maxStreams)
		case s.Pidfd < 0 || s.Pidfd > descriptors:
			return fmt.Errorf("source %q names descriptor %d of %d", s.ID, s.Pidfd, descriptors)
		case s.Freezer < 0 || s.Freezer > descriptors || s.Freezer != 0 && s.Freezer == s.Pidfd:
			return fmt.Errorf("source %q names descriptor %d of %d as its freezer", s.ID, s.Freezer, descriptors)
		}
		known[s.ID] = true
		if err := checkStreams(s); err != nil {
			return err
		}
	}
	if o.Permanent != "" && !known[o.Permanent] {
		return fmt.Errorf("permanent source %q is not among the sources", o.Permanent)
	}
	if t := o.Trial; t != nil && slices.ContainsFunc(o.Sources, func(s orders.Source) bool { return s.ID == t.Source && s.Frozen }) {
		return fmt.Errorf("trial %q of source %q, which is frozen", t.ID, t.Source)
	}
	if t := o.Trial; t != nil && (!known[t.Source] || !identifier.MatchString(string(t.ID)) || t.Source == o.Permanent) {
		return fmt.Errorf("trial %q of source %q", t.ID, t.Source)
	}
	return nil
}

// checkKnown refuses orders that make something else of what is under way: a trial has
// one source, which is one run of one version, and what that declared stands.
func (c *Core) checkKnown(o *orders.Orders) error {
	if t := o.Trial; t != nil && t.ID == c.trial.id && t.Source != c.trial.source {
		return fmt.Errorf("trial %q of source %q is under way with source %q", t.ID, t.Source, c.trial.source)
	}
	for i := range o.Sources {
		src := c.sources[o.Sources[i].ID]
		if src == nil || o.Trial == nil || src.spec.ID != o.Trial.Source {
			continue
		}
		for _, spec := range src.spec.Streams {
			if !slices.ContainsFunc(o.Sources[i].Streams, func(s orders.Stream) bool { return s.Name == spec.Name && s.Codec == spec.Codec }) {
				return fmt.Errorf("source %q does not declare stream %q as it did; another run has another name", src.spec.ID, spec.Name)
			}
		}
	}
	return nil
}

func checkStreams(s orders.Source) error {
	for i, st := range s.Streams {
		if !identifier.MatchString(st.Name) {
			return fmt.Errorf("source %q: stream name %q", s.ID, st.Name)
		}
		codec, err := codecOf(st.Codec)
		if err == nil {
			err = checkInvariants(st, codec.sound())
		}
		if err != nil {
			return fmt.Errorf("source %q: stream %q: %w", s.ID, st.Name, err)
		}
		if st.StallMS < 0 {
			return fmt.Errorf("source %q: stream %q has a stall limit of %d ms", s.ID, st.Name, st.StallMS)
		}
		if slices.ContainsFunc(s.Streams[:i], func(o orders.Stream) bool { return o.Name == st.Name }) {
			return fmt.Errorf("source %q: stream %q twice", s.ID, st.Name)
		}
	}
	return nil
}

func (c *Core) addSources(o *orders.Orders, fds []int, now int64) error {
	for _, spec := range o.Sources {
		src := c.sources[spec.ID]
		if src == nil {
			var err error
			if src, err = c.newSource(spec); err != nil {
				return err
			}
			c.sources[spec.ID] = src
		} else {
			c.redeclare(src, spec.Streams)
		}
		if spec.Pidfd > 0 && fds[spec.Pidfd-1] >= 0 && !src.exited {
			fd := fds[spec.Pidfd-1]
			fds[spec.Pidfd-1] = -1
			if err := c.watch(src, fd); err != nil {
				return err
			}
		}
		freezer := -1
		if spec.Freezer > 0 {
			freezer, fds[spec.Freezer-1] = fds[spec.Freezer-1], -1
		}
		c.orderFreeze(src, spec, freezer, now)
	}
	return nil
}

// redeclare adds the streams that a source did not have and takes away those that it
// has no more, as those of a relay come and go. What a stream was declared as stands.
func (c *Core) redeclare(src *source, streams []orders.Stream) {
	var declared []orders.Stream
	for _, spec := range streams {
		if known, ok := src.stream(spec.Name); ok {
			spec = known
		} else if c.ignores(orders.ByStall) {
			spec.StallMS = 0
		}
		declared = append(declared, spec)
	}
	src.spec.Streams = declared
	for name, l := range src.lines {
		if _, ok := src.stream(name); !ok {
			c.closeLine(l)
			delete(src.lines, name)
		}
	}
}

// orderStreams opens the streams that some source declares and closes those
// that none does any more. Without any source viewers are held: one will come.
func (c *Core) orderStreams(o *orders.Orders) {
	if len(o.Sources) == 0 {
		return
	}
	declared := map[string]bool{}
	for _, src := range o.Sources {
		for _, spec := range src.Streams {
			codec, _ := codecOf(spec.Codec) // checked
			if s := c.streams[spec.Name]; s == nil || s.codec != codec && !declares(o, spec.Name, s.codec) {
				c.dropStream(s, "the running version sends stream "+spec.Name+" in another codec; play again")
				c.streams[spec.Name] = &stream{name: spec.Name, codec: codec}
			}
			declared[spec.Name] = true
		}
	}
	for name, s := range c.streams {
		if declared[name] {
			continue
		}
		c.dropStream(s, "the running version no longer has stream "+name)
		delete(c.streams, name)
	}
}

// declares says that some source has the stream in that codec.
func declares(o *orders.Orders, name string, codec codec) bool {
	for _, src := range o.Sources {
		for _, spec := range src.Streams {
			if its, _ := codecOf(spec.Codec); spec.Name == name && its == codec {
				return true
			}
		}
	}
	return false
}

// dropStream closes the viewers of a stream, if there is one, and lets go of its line.
func (c *Core) dropStream(s *stream, sentence string) {
	if s != nil {
		c.endStream(s, sentence)
		s.followed = nil
	}
}

// endStream closes the viewers of a stream.
func (c *Core) endStream(s *stream, sentence string) {
	for _, t := range slices.Clone(s.tracks) {
		c.closeViewer(t.viewer, handover.EndedStream, sentence)
	}
}

// orderTrial arms a new trial, keeps one that goes on, and ends one that the
// orders no longer name.
func (c *Core) orderTrial(o *orders.Orders, now int64) {
	if c.drop(o) {
		c.revert(orders.CauseOrders, "the agent's orders no longer name the trial", now)
	}
	armed, over := c.arm(o, now)
	if over != nil && (c.reversion == nil || c.reversion.report.Trial != over.Trial) { // else it is told when it is done
		c.tell(orders.Message{Revert: &over.Reverted})
	}
	if !armed {
		return
	}
	c.nextWish, c.amendment = 0, nil
	if src := c.sources[o.Trial.Source]; src.exited {
		c.revert(orders.CauseExit, "the app's process ended before the trial was armed", now)
	}
}

// turnSteady makes the streams that no trial carries want the permanent source.
func (c *Core) turnSteady(o *orders.Orders, now int64) {
	for _, s := range c.streams {
		onTrial := c.trial.carries() && s.want == c.trial.source
		if !onTrial && s.want != o.Permanent {
			c.turn(s, o.Permanent, now)
		}
	}
	if !c.trial.carries() {
		c.thaw(c.sources[o.Permanent], now)
	}
}

func (c *Core) dropSources(o *orders.Orders) {
	for id, src := range c.sources {
		if !slices.ContainsFunc(o.Sources, func(s orders.Source) bool { return s.ID == id }) {
			c.closeSource(src)
			delete(c.sources, id)
		}
	}
}

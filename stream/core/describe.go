package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

var errNotFound = errors.New("no version has it")

// describe tells the gateway what viewers of a stream may rely on: what is
// declared, and what the line is that they would see now.
func (c *Core) describe(d *handover.Describe) error {
	spec, ok := c.toldOf(d.Stream)
	if !ok && len(c.sources) == 0 { // just started; the orders are on their way
		return errors.New("no version runs yet")
	}
	if !ok {
		return fmt.Errorf("stream %q: %w", d.Stream, errNotFound)
	}
	s := c.streams[d.Stream]
	if s == nil || s.sdp == nil {
		return fmt.Errorf("stream %q has no source yet", d.Stream)
	}
	answer := handover.Message{ID: d.ID, Described: &handover.Described{Streams: []handover.Stream{describeStream(spec, s)}}}
	if sound := c.streams[spec.Audio]; sound != nil && sound.sdp != nil {
		if spec, ok := c.toldOf(spec.Audio); ok {
			answer.Described.Streams = append(answer.Described.Streams, describeStream(spec, sound))
		}
	}
	if body, err := json.Marshal(answer); err != nil || len(body) > handover.MaxMessage {
		return fmt.Errorf("stream %q: its SDP is too long for viewers", d.Stream)
	}
	c.answer(answer)
	return nil
}

func describeStream(spec orders.Stream, s *stream) handover.Stream {
	return handover.Stream{
		Name: s.name, Codec: spec.Codec, Width: spec.Width, Height: spec.Height, Profile: spec.Profile, SDP: string(s.sdp),
	}
}

// toldOf is how viewers are told of a stream: as it is declared, unless the version
// that they would see breaks with that.
func (c *Core) toldOf(stream string) (spec orders.Stream, ok bool) {
	if s := c.streams[stream]; s != nil && s.followed != nil && s.followed.spec.Breaks {
		return s.followed.spec, true
	}
	return c.declared(stream)
}

// declared is how a stream is declared: by the permanent version, else by the one
// on trial, else by any.
func (c *Core) declared(stream string) (spec orders.Stream, ok bool) {
	ids := slices.Sorted(maps.Keys(c.sources))
	for _, id := range append([]orders.SourceID{c.permanent, c.trial.source}, ids...) {
		if src := c.sources[id]; src != nil {
			if spec, ok = src.stream(stream); ok {
				return spec, true
			}
		}
	}
	return spec, false
}

// listViewers tells a new gateway of all viewers that earlier ones have handed over.
func (c *Core) listViewers() {
	for _, p := range c.peers {
		known := handover.Known{ID: p.id, Stream: p.spec.Tracks[0].Stream, Kind: handover.KindWHEP, Address: p.address.String(), ICE: &p.spec.ICE}
		if p.isLeg() {
			known.Kind, known.ICE = handover.KindLeg, nil
		}
		c.answer(handover.Message{Known: &known})
	}
	for _, p := range c.players {
		c.answer(handover.Message{Known: &handover.Known{ID: p.id, Stream: p.tracks[0].stream.name, Kind: handover.KindRTSP, Address: p.address.String()}})
	}
	c.answer(handover.Message{Listed: true})
}

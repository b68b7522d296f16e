package core

import (
	"fmt"

	"slipstream/stream/handover"
)

// serve takes a WebRTC viewer and shows it its first picture.
func (c *Core) serve(spec *handover.Viewer, fds []int, now int64) error {
	p, err := c.takePeer(spec, peerRecord, fds, now)
	if err != nil {
		return err
	}
	c.answer(handover.Message{Taken: p.id})
	p.play(c, now)
	return nil
}

// takePeer makes a viewer and puts it on its streams.
func (c *Core) takePeer(spec *handover.Viewer, kind recordKind, fds []int, now int64) (*peer, error) {
	key := nameKey(&spec.SRTP)
	switch {
	case c.viewerOf(spec.ID) != nil:
		return nil, fmt.Errorf("viewer %q is served already", spec.ID)
	case c.used.has(key):
		return nil, fmt.Errorf("viewer %q comes with keys that were used before", spec.ID)
	}
	at, err := c.records.take(spec)
	if err != nil {
		return nil, err
	}
	p, err := newPeer(spec, kind, at)
	if err == nil {
		p.begin(spec.Tracks)
		p.countFrom(fds[0])
		err = p.attach(c, fds[0], now)
	}
	if err != nil {
		at.free()
		return nil, err
	}
	fds[0] = -1
	if err := c.admitAll(&p.viewer, spec.Tracks, now); err != nil {
		return nil, err
	}
	c.peers[p.id] = p
	c.used.add(key)
	at.kind = kind
	return p, nil
}

// admitAll puts a new viewer on its streams; on an error it is undone.
func (c *Core) admitAll(v *viewer, tracks []handover.Track, now int64) error {
	for i, t := range v.tracks {
		t.agreed = agreement{tracks[i].Codec, tracks[i].Profile}
		if err := c.admit(t, tracks[i].Stream, now); err != nil {
			c.forget(v)
			return err
		}
	}
	return nil
}

// play shows a new viewer its first picture.
func (p *peer) play(c *Core, now int64) {
	p.pump(c)
	p.tend(c, now)
}

// move gives a WebRTC viewer a new socket, or new credentials, or both.
func (c *Core) move(m *handover.Moved, fds []int, now int64) error {
	p := c.peers[m.ID]
	if p == nil || p.kind != peerRecord {
		return fmt.Errorf("viewer %q is not known", m.ID)
	}
	if len(fds) > 0 {
		if err := p.attach(c, fds[0], now); err != nil {
			return err
		}
		fds[0] = -1
	}
	if m.ICE != nil {
		if err := p.renew(*m.ICE); err != nil {
			return err
		}
	}
	c.answer(handover.Message{Taken: p.id})
	p.pump(c)
	return nil
}

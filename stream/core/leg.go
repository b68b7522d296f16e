package core

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// A leg is a peer that the device has connected to, because nobody can connect to
// the device. Nothing reaches it before something went out, so something does at
// once and goes on. Else it is a peer as any other: the far side, which is the one
// with the public address, asks for its consent, and is answered.

// lengthPrefix is what stands before each packet on a stream (RFC 4571 §2).
const lengthPrefix = 2

// serveLeg takes a leg from the agent.
func (c *Core) serveLeg(leg *orders.Leg, fds []int, now int64) (*peer, error) {
	if !viewerID.MatchString(leg.Viewer.ID) {
		return nil, fmt.Errorf("viewer name %q", leg.Viewer.ID)
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came with a leg, not 1", len(fds))
	}
	if err := checkViewer(&leg.Viewer); err != nil {
		return nil, err
	}
	kind := legRecord
	if leg.Framed {
		kind = framedRecord
	}
	return c.takePeer(&leg.Viewer, kind, fds, now)
}

// endLeg lets a leg go. One that is gone already is what was asked for.
func (c *Core) endLeg(id string) error {
	p := c.peers[id]
	if p == nil {
		return nil
	}
	if !p.isLeg() {
		return fmt.Errorf("viewer %q is no leg", id)
	}
	c.closeViewer(&p.viewer, handover.EndedAsked, "")
	return nil
}

func (p *peer) isLeg() bool { return p.kind != peerRecord }

// keepOpen sends what says nothing (RFC 8489 §5, an indication), for a way through
// NAT to be there when there are no pictures yet.
func (p *peer) keepOpen(c *Core) {
	_ = p.emit(c, p.ice.indication()) // lost: another one follows
}

// emit sends one packet. On a stream it is sent when it is begun: what of it does not
// leave at once goes before the next one.
func (p *peer) emit(c *Core, pkt []byte) unix.Errno {
	if p.kind != framedRecord {
		return sendDatagram(p.fd, pkt)
	}
	if errno := p.flow.flush(p.fd); errno != 0 {
		return errno
	}
	binary.BigEndian.PutUint16(c.prefix[:], uint16(len(pkt)))
	p.kept.add(c.prefix[:], pkt)
	if errno := p.flow.flush(p.fd); errno != eagain {
		return errno
	}
	return 0
}

// readStream takes the packets that came on a stream; it reports false when the
// viewer is closed.
func (p *peer) readStream(c *Core, now int64) bool {
	for range ingressBatch {
		n, errno := p.in.read(p.fd)
		switch {
		case errno == eagain:
			return true
		case errno == eintr:
			continue
		case errno != 0 || n == 0:
			c.closeViewer(&p.viewer, handover.EndedClosed, "")
			return false
		}
		for {
			msg, size := nextFramed(p.in.waiting())
			if size == 0 {
				break
			}
			if len(msg) == 0 || !p.take(c, msg, now) {
				p.refused++
			}
			if p.fd < 0 {
				return false
			}
			p.in.pass(size)
		}
	}
	return true
}

// nextFramed takes the first packet off a stream; size 0: it is not whole yet. One
// that is longer than anything for the forwarder is nil.
func nextFramed(buf []byte) (msg []byte, size int) {
	if len(buf) < lengthPrefix {
		return nil, 0
	}
	n := int(binary.BigEndian.Uint16(buf))
	size = lengthPrefix + n
	switch {
	case n > maxDatagram:
		return nil, size
	case size > len(buf):
		return nil, 0
	}
	return buf[lengthPrefix:size], size
}

package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pion/rtp"
)

// nalCodec is what cutting must know of a codec that is sent in NAL units. A
// fragment has the unit's header with another type, and behind it one byte with
// the type and two flags, in both of them.
type nalCodec struct {
	header    int  // bytes of a NAL unit's header
	mask      byte // of the type in the header's first byte
	shift     int  // likewise
	aggregate byte // types of RTP's own
	fragment  byte
}

var (
	h264 = nalCodec{header: 1, mask: 0x1f, aggregate: 24, fragment: 28}           // RFC 6184 §5.2
	h265 = nalCodec{header: 2, mask: 0x7e, shift: 1, aggregate: 48, fragment: 49} // RFC 7798 §4.4
)

// Flags of a fragment's header (RFC 6184 §5.8, RFC 7798 §4.4.3), whose other bits
// are a unit's type; H.264 keeps one of them at 0.
const (
	fragmentStart = 0x80
	fragmentEnd   = 0x40
	fragmentType  = 0x3f
)

func (c nalCodec) typeOf(nal []byte) byte { return nal[0] & c.mask >> c.shift }

// retyped is a NAL unit's header with another type.
func (c nalCodec) retyped(head [2]byte, t byte) [2]byte {
	head[0] = head[0]&^c.mask | t<<c.shift&c.mask
	return head
}

// nalCutter cuts packets of NAL units that are too large into fragments.
type nalCutter struct {
	sender
	codec nalCodec

	open  bool    // a NAL unit is being cut
	first bool    // nothing of it was sent
	nal   [2]byte // its header
	rest  []byte  // what was not sent of it
}

// take sends one packet on, or as much of it as makes a whole one.
func (c *nalCutter) take(p *rtp.Packet) error {
	if c.count(p.SequenceNumber) {
		c.open = false
	}
	payload := p.Payload
	if len(payload) < c.codec.header {
		return nil // keeps a connection alive, or probes it
	}
	switch t := c.codec.typeOf(payload); {
	case t == c.codec.fragment && len(payload) > c.codec.header+1:
		return c.continueUnit(p)
	case len(payload) <= maxPayload:
		return c.emit(p, p.Marker, payload)
	case t < c.codec.aggregate:
		return c.unit(p, payload, p.Marker)
	case t == c.codec.aggregate:
		return c.unpack(p)
	default:
		return fmt.Errorf("an RTP packet of %d bytes with NAL unit type %d cannot be cut (ffmpeg: -pkt_size %d)", p.MarshalSize(), t, maxPacket)
	}
}

// continueUnit takes a fragment. Fragments are cut anew rather than each cut in
// two, which would nearly double the packets.
func (c *nalCutter) continueUnit(p *rtp.Packet) error {
	head, part := p.Payload[:c.codec.header], p.Payload[c.codec.header+1:]
	flags := p.Payload[c.codec.header]
	if flags&fragmentStart != 0 {
		c.begin(head)
		c.nal = c.codec.retyped(c.nal, flags&fragmentType)
	}
	if !c.open {
		c.next++ // the part of a unit whose beginning is missing
		return nil
	}
	c.rest = append(c.rest, part...)
	return c.cut(p, flags&fragmentEnd != 0, p.Marker)
}

func (c *nalCutter) unit(p *rtp.Packet, nal []byte, marker bool) error {
	c.begin(nal[:c.codec.header])
	c.rest = append(c.rest, nal[c.codec.header:]...)
	return c.cut(p, true, marker)
}

// unpack sends the units of an aggregation packet one by one.
func (c *nalCutter) unpack(p *rtp.Packet) error {
	for rest := p.Payload[c.codec.header:]; len(rest) > 0; {
		if len(rest) < 2+c.codec.header {
			return errAggregate
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < c.codec.header || n > len(rest)-2 {
			return errAggregate
		}
		nal := rest[2 : 2+n]
		rest = rest[2+n:]
		if err := c.unit(p, nal, p.Marker && len(rest) == 0); err != nil {
			return err
		}
	}
	return nil
}

var errAggregate = errors.New("an aggregation packet whose sizes do not add up (RFC 6184 §5.7.1, RFC 7798 §4.4.2)")

func (c *nalCutter) begin(head []byte) {
	c.open, c.first, c.rest = true, true, c.rest[:0]
	copy(c.nal[:], head)
}

// cut sends what is sure to need a packet of its own, and at the unit's end the
// last one. A unit that turns out to fit one packet is sent as it is.
func (c *nalCutter) cut(p *rtp.Packet, end, marker bool) error {
	rest, maxPart := c.rest, maxPayload-c.codec.header-1
	for len(rest) > maxPart {
		if err := c.emitPart(p, rest[:maxPart], 0, false); err != nil {
			return err
		}
		rest = rest[maxPart:]
	}
	if !end {
		c.rest = append(c.rest[:0], rest...)
		return nil
	}
	c.open = false
	if c.first {
		return c.emit(p, marker, c.nal[:c.codec.header], rest)
	}
	return c.emitPart(p, rest, fragmentEnd, marker)
}

func (c *nalCutter) emitPart(p *rtp.Packet, part []byte, flag byte, marker bool) error {
	if c.first {
		flag, c.first = fragmentStart, false
	}
	head := c.codec.retyped(c.nal, c.codec.fragment)
	flags := c.codec.typeOf(c.nal[:]) | flag
	return c.emit(p, marker, head[:c.codec.header], []byte{flags}, part)
}

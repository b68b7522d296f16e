package ingest

import (
	"encoding/binary"
	"fmt"

	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

const (
	// maxPacket is the largest RTP packet that is sent on. With what encryption and
	// tunnels add, it still fits every path that a viewer may have; WebRTC's own
	// senders keep to the same limit. ffmpeg's default is 1472.
	maxPacket = 1200

	rtpHeader  = 12
	maxPayload = maxPacket - rtpHeader
	maxPart    = maxPayload - 2 // of a NAL unit, in an FU-A

	// RFC 6184 §5.2 and §5.8.
	typeMask  = 0x1f
	typeSTAPA = 24
	typeFUA   = 28
	fuStart   = 0x80
	fuEnd     = 0x40
)

// fragmenter cuts H.264 RTP packets that are too large into FU-A packets and
// numbers all of them anew. What the publisher left out stays left out.
type fragmenter struct {
	send func(pkt []byte) error
	buf  [publish.MaxPacket]byte

	begun    bool
	expected uint16 // sequence number of the next packet in
	next     uint16 // sequence number of the next packet out

	open  bool   // a NAL unit is being cut
	first bool   // nothing of it was sent
	nal   byte   // its header
	rest  []byte // what was not sent of it
}

// take sends one packet on, or as much of it as makes a whole one.
func (f *fragmenter) take(p *rtp.Packet) error {
	f.count(p.SequenceNumber)
	payload := p.Payload
	if len(payload) == 0 {
		return nil // keeps a connection alive, or probes it
	}
	switch t := payload[0] & typeMask; {
	case t == typeFUA && len(payload) > 2:
		return f.continueUnit(p)
	case len(payload) <= maxPayload:
		return f.emit(p, p.Marker, payload)
	case t < typeSTAPA:
		return f.unit(p, payload, p.Marker)
	case t == typeSTAPA:
		return f.unpack(p)
	default:
		return fmt.Errorf("an RTP packet of %d bytes with NAL unit type %d cannot be cut (ffmpeg: -pkt_size %d)", p.MarshalSize(), t, maxPacket)
	}
}

// count keeps the holes of the publisher's numbering.
func (f *fragmenter) count(seq uint16) {
	if !f.begun {
		f.begun, f.expected, f.next = true, seq, seq
	}
	if hole := seq - f.expected; hole != 0 {
		f.next += hole
		f.open = false
	}
	f.expected = seq + 1
}

// continueUnit takes an FU-A. Parts are cut anew rather than each cut in two, which
// would nearly double the packets.
func (f *fragmenter) continueUnit(p *rtp.Packet) error {
	indicator, header, part := p.Payload[0], p.Payload[1], p.Payload[2:]
	if header&fuStart != 0 {
		f.begin(indicator&^typeMask | header&typeMask)
	}
	if !f.open {
		f.next++ // the part of a unit whose beginning is missing
		return nil
	}
	f.rest = append(f.rest, part...)
	return f.cut(p, header&fuEnd != 0, p.Marker)
}

func (f *fragmenter) unit(p *rtp.Packet, nal []byte, marker bool) error {
	f.begin(nal[0])
	f.rest = append(f.rest, nal[1:]...)
	return f.cut(p, true, marker)
}

// unpack sends the units of a STAP-A one by one.
func (f *fragmenter) unpack(p *rtp.Packet) error {
	for rest := p.Payload[1:]; len(rest) > 0; {
		if len(rest) < 3 {
			return errAggregate
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || n > len(rest)-2 {
			return errAggregate
		}
		nal := rest[2 : 2+n]
		rest = rest[2+n:]
		if err := f.unit(p, nal, p.Marker && len(rest) == 0); err != nil {
			return err
		}
	}
	return nil
}

var errAggregate = fmt.Errorf("an aggregation packet whose sizes do not add up (RFC 6184 §5.7.1)")

func (f *fragmenter) begin(nal byte) {
	f.open, f.first, f.nal, f.rest = true, true, nal, f.rest[:0]
}

// cut sends what is sure to need a packet of its own, and at the unit's end the
// last one. A unit that turns out to fit one packet is sent as it is.
func (f *fragmenter) cut(p *rtp.Packet, end, marker bool) error {
	rest := f.rest
	for len(rest) > maxPart {
		if err := f.emitPart(p, rest[:maxPart], 0, false); err != nil {
			return err
		}
		rest = rest[maxPart:]
	}
	if !end {
		f.rest = append(f.rest[:0], rest...)
		return nil
	}
	f.open = false
	if f.first {
		return f.emit(p, marker, []byte{f.nal}, rest)
	}
	return f.emitPart(p, rest, fuEnd, marker)
}

func (f *fragmenter) emitPart(p *rtp.Packet, part []byte, flag byte, marker bool) error {
	if f.first {
		flag, f.first = fuStart, false
	}
	return f.emit(p, marker, []byte{f.nal&^typeMask | typeFUA, f.nal&typeMask | flag}, part)
}

// emit sends one packet with the time and payload type of p. Header extensions
// are left out: viewers have not agreed to any.
func (f *fragmenter) emit(p *rtp.Packet, marker bool, payload ...[]byte) error {
	h := rtp.Header{
		Version: 2, Marker: marker, PayloadType: p.PayloadType,
		SequenceNumber: f.next, Timestamp: p.Timestamp, SSRC: p.SSRC,
	}
	f.next++
	n, err := h.MarshalTo(f.buf[:])
	if err != nil {
		return err
	}
	pkt := f.buf[:n]
	for _, piece := range payload {
		pkt = append(pkt, piece...)
	}
	return f.send(pkt)
}

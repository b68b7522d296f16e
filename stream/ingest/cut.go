package ingest

import (
	"fmt"

	"github.com/pion/rtp"

	"slipstream/stream/publish"
)

const (
	// maxPacket is the largest packet of a picture that is sent on. With what
	// encryption and tunnels add, it still fits every path that a viewer may have;
	// WebRTC's own senders keep to the same limit. ffmpeg's default is 1472.
	maxPacket = 1200

	rtpHeader  = 12
	maxPayload = maxPacket - rtpHeader
)

// cutter sends a publisher's packets on, in packets that are small enough. What
// the publisher left out stays left out.
type cutter interface {
	take(p *rtp.Packet) error
}

// sender numbers packets anew, as far as cutting needs it.
type sender struct {
	send func(pkt []byte) error
	buf  [publish.MaxPacket]byte

	begun    bool
	expected uint16 // sequence number of the next packet in
	next     uint16 // sequence number of the next packet out
}

// count keeps the holes of the publisher's numbering, and reports one.
func (s *sender) count(seq uint16) (hole bool) {
	if !s.begun {
		s.begun, s.expected, s.next = true, seq, seq
	}
	missing := seq - s.expected
	s.next += missing
	s.expected = seq + 1
	return missing != 0
}

// emit sends one packet with the time and payload type of p. Header extensions
// are left out: viewers have not agreed to any.
func (s *sender) emit(p *rtp.Packet, marker bool, payload ...[]byte) error {
	h := rtp.Header{
		Version: 2, Marker: marker, PayloadType: p.PayloadType,
		SequenceNumber: s.next, Timestamp: p.Timestamp, SSRC: p.SSRC,
	}
	s.next++
	n, err := h.MarshalTo(s.buf[:])
	if err != nil {
		return err
	}
	pkt := s.buf[:n]
	for _, piece := range payload {
		pkt = append(pkt, piece...)
	}
	return s.send(pkt)
}

// whole sends packets of sound, which are never cut: one that is too large for
// the forwarder ends the publisher.
type whole struct{ sender }

func (w *whole) take(p *rtp.Packet) error {
	w.count(p.SequenceNumber)
	switch n := rtpHeader + len(p.Payload); {
	case len(p.Payload) == 0:
		return nil
	case n > publish.MaxPacket:
		return fmt.Errorf("a packet of sound of %d bytes is over the limit of %d; send shorter packets (ffmpeg: -pkt_size %d)", n, publish.MaxPacket, maxPacket)
	}
	return w.emit(p, p.Marker, p.Payload)
}

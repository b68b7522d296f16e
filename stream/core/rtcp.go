package core

import (
	"encoding/binary"

	"slipstream/stream/handover"
)

// RTCP packet types and feedback formats that the forwarder reads or writes
// (RFC 3550 §12.1, RFC 4585 §6.2 and §6.3, RFC 5104 §4.3.1).
const (
	rtcpSender    = 200
	rtcpReceiver  = 201
	rtcpSource    = 202
	rtcpBye       = 203
	rtcpTransport = 205
	rtcpPayload   = 206

	formatNACK = 1
	formatPLI  = 1
	formatFIR  = 4

	reportBlock = 24
)

// rtcpPacket is one packet of a compound.
type rtcpPacket struct {
	kind, count byte   // count is the format of a feedback packet
	body        []byte // from the sender's SSRC on
}

// nextRTCP takes the first packet from a compound (RFC 3550 §6.4). It reports
// false if there is none, or not a whole one.
func nextRTCP(buf []byte) (pkt rtcpPacket, rest []byte, ok bool) {
	if len(buf) < 4 || buf[0]>>6 != 2 {
		return pkt, nil, false
	}
	size := 4 + 4*int(binary.BigEndian.Uint16(buf[2:]))
	if size > len(buf) {
		return pkt, nil, false
	}
	end := size
	if buf[0]&0x20 != 0 { // padding
		end -= int(buf[size-1])
	}
	if end < 4 {
		return pkt, nil, false
	}
	return rtcpPacket{kind: buf[1], count: buf[0] & 0x1f, body: buf[4:end]}, buf[size:], true
}

// mediaSSRC is whom a feedback packet is about; its other fields follow.
func (p rtcpPacket) mediaSSRC() (ssrc uint32, rest []byte, ok bool) {
	if len(p.body) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(p.body[4:]), p.body[8:], true
}

// lostPicture says that the packet asks for a new picture of ssrc.
func (p rtcpPacket) lostPicture(ssrc uint32) bool {
	media, requests, ok := p.mediaSSRC()
	if !ok || p.kind != rtcpPayload {
		return false
	}
	if p.count == formatPLI {
		return media == ssrc
	}
	for ; p.count == formatFIR && len(requests) >= 8; requests = requests[8:] {
		if binary.BigEndian.Uint32(requests) == ssrc {
			return true
		}
	}
	return false
}

// lostPackets returns the pairs of a generic NACK about ssrc, empty if the
// packet is none. Each is four bytes: a sequence number, and a bit for each of the
// sixteen after it.
func (p rtcpPacket) lostPackets(ssrc uint32) []byte {
	media, pairs, ok := p.mediaSSRC()
	if !ok || p.kind != rtcpTransport || p.count != formatNACK || media != ssrc {
		return nil
	}
	return pairs[:len(pairs)&^3]
}

// report returns the packet's reception report about ssrc, nil if it has none.
func (p rtcpPacket) report(ssrc uint32) []byte {
	var blocks []byte
	switch {
	case p.kind == rtcpReceiver && len(p.body) >= 4:
		blocks = p.body[4:]
	case p.kind == rtcpSender && len(p.body) >= 24:
		blocks = p.body[24:]
	}
	for n := p.count; n > 0 && len(blocks) >= reportBlock; n-- {
		if binary.BigEndian.Uint32(blocks) == ssrc {
			return blocks[:reportBlock]
		}
		blocks = blocks[reportBlock:]
	}
	return nil
}

// reception is what a viewer says about the packets that reached it (RFC 3550
// §6.4.1).
type reception struct {
	lost   int32  // over the session
	jitter uint32 // in RTP ticks
	trip   uint32 // there and back, in 1/65536 s; 0: not known
}

func readReception(block []byte, ntpNow uint64) (r reception) {
	r.lost = int32(binary.BigEndian.Uint32(block[4:])<<8) >> 8
	r.jitter = binary.BigEndian.Uint32(block[12:])
	last, delay := binary.BigEndian.Uint32(block[16:]), binary.BigEndian.Uint32(block[20:])
	if trip := uint32(ntpNow>>16) - last - delay; last != 0 && int32(trip) > 0 {
		r.trip = trip
	}
	return r
}

// report is what is known from the viewer's own words.
func (r reception) report() handover.Report {
	return handover.Report{
		Lost: r.lost, JitterMS: float64(r.jitter) * 1000 / videoRate, RoundTrip: float64(r.trip) * 1000 / 65536,
	}
}

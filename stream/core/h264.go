package core

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// H.264 NAL unit types (ITU-T H.264 table 7-1) and RTP payload structures
// (RFC 6184 §5.2) that the forwarder looks at.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalSTAPA = 24
	nalFUA   = 28

	nalTypeMask = 0x1f
	fuStart     = 0x80
)

// nalInfo is what one RTP payload tells about its access unit.
type nalInfo struct {
	idr       bool // an IDR picture begins
	reordered bool // a B slice begins
	sps, pps  []byte
}

// inspect looks at the NAL units that begin in an H.264 RTP payload. It reports
// false for a payload that RFC 6184's packetization modes 0 and 1 do not have.
func inspect(payload []byte) (info nalInfo, ok bool) {
	if len(payload) < 1 {
		return info, false
	}
	switch t := payload[0] & nalTypeMask; {
	case t >= nalSlice && t < nalSTAPA:
		info.look(payload)
	case t == nalSTAPA:
		for rest := payload[1:]; len(rest) > 0; {
			if len(rest) < 3 {
				return info, false
			}
			n := int(rest[0])<<8 | int(rest[1])
			if n == 0 || n > len(rest)-2 {
				return info, false
			}
			info.look(rest[2 : 2+n])
			rest = rest[2+n:]
		}
	case t == nalFUA:
		if len(payload) < 3 {
			return info, false
		}
		if payload[1]&fuStart != 0 {
			info.slice(payload[1]&nalTypeMask, payload[2:])
		}
	default:
		return info, false
	}
	return info, true
}

func (i *nalInfo) look(nal []byte) {
	switch nal[0] & nalTypeMask {
	case nalSPS:
		i.sps = nal
	case nalPPS:
		i.pps = nal
	default:
		i.slice(nal[0]&nalTypeMask, nal[1:])
	}
}

func (i *nalInfo) slice(nalType byte, header []byte) {
	switch nalType {
	case nalIDR:
		i.idr = true
	case nalSlice:
		i.reordered = i.reordered || isB(header)
	}
}

// isB reads first_mb_in_slice and slice_type of a slice header (H.264 §7.3.3).
func isB(header []byte) bool {
	r := bits{data: header}
	r.golomb()
	t := r.golomb()
	return t == 1 || t == 6
}

// bits reads Exp-Golomb codes (H.264 §9.1) from the first bytes of a slice
// header; beyond the end it reads zeros. Emulation prevention cannot occur in
// two codes this short unless the picture has over 2^15 macroblocks before it.
type bits struct {
	data []byte
	pos  int
}

func (b *bits) bit() uint32 {
	i := b.pos / 8
	if i >= len(b.data) {
		return 0
	}
	v := b.data[i] >> (7 - b.pos%8) & 1
	b.pos++
	return uint32(v)
}

func (b *bits) golomb() uint32 {
	zeros := 0
	for b.bit() == 0 {
		if zeros++; zeros > 24 {
			return ^uint32(0)
		}
	}
	v := uint32(1)
	for range zeros {
		v = v<<1 | b.bit()
	}
	return v - 1
}

// parameterSets are the newest ones of a line, from SDP or from the stream.
type parameterSets struct {
	sps, pps      []byte
	width, height int
}

// setSPS keeps a sequence parameter set; it allocates only when it is a new one.
// It reports false if the set is broken, and whether pictures may be reordered.
func (p *parameterSets) setSPS(nal []byte) (reordered, ok bool) {
	if string(nal) == string(p.sps) {
		return false, true
	}
	var sps h264.SPS
	if err := sps.Unmarshal(nal); err != nil {
		return false, false
	}
	p.sps = append(p.sps[:0], nal...)
	p.width, p.height = sps.Width(), sps.Height()
	restriction := sps.VUI != nil && sps.VUI.BitstreamRestriction != nil
	return restriction && sps.VUI.BitstreamRestriction.MaxNumReorderFrames > 0, true
}

func (p *parameterSets) setPPS(nal []byte) {
	if string(nal) != string(p.pps) {
		p.pps = append(p.pps[:0], nal...)
	}
}

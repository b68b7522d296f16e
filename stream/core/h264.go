package core

import (
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	codech264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
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

// h264 is a [codec]: RFC 6184, packetization modes 0 and 1.
type h264 struct{}

// Kinds of parameter sets, in the order in which they go before a key frame.
const (
	setSPS = iota
	setPPS
)

func (h264) clockRate() int64 { return videoRate }
func (h264) sound() bool      { return false }

func (h264) refusal() string {
	return "an H.264 payload outside packetization modes 0 and 1 (RFC 6184)"
}

// describe implements [codec].
func (h264) describe(f format.Format) (sets [maxSets][]byte, ok bool) {
	video, ok := f.(*format.H264)
	if ok {
		sets[setSPS], sets[setPPS] = video.SPS, video.PPS
	}
	return sets, ok
}

// whole implements [codec].
func (h264) whole(p *parameterSets) bool { return p.sets[setSPS].n > 0 && p.sets[setPPS].n > 0 }

// learn implements [codec].
func (h264) learn(p *parameterSets, kind int, nal []byte) (refusal string) {
	if kind != setSPS {
		return ""
	}
	var sps codech264.SPS
	if err := sps.Unmarshal(nal); err != nil {
		return "a broken sequence parameter set"
	}
	p.width, p.height = int32(sps.Width()), int32(sps.Height())
	if v := sps.VUI; v != nil && v.BitstreamRestriction != nil && v.BitstreamRestriction.MaxNumReorderFrames > 0 {
		return reorderRefusal
	}
	return ""
}

// look implements [codec].
func (h264) look(payload []byte) (info unitInfo, ok bool) {
	n := nals{&info}
	ok = n.inspect(payload)
	return info, ok
}

// nals reads H.264 NAL units into what they say of their access unit.
type nals struct{ *unitInfo }

// inspect looks at the NAL units that begin in an H.264 RTP payload. It reports
// false for a payload that RFC 6184's packetization modes 0 and 1 do not have.
func (i nals) inspect(payload []byte) bool {
	if len(payload) < 1 {
		return false
	}
	switch t := payload[0] & nalTypeMask; {
	case t >= nalSlice && t < nalSTAPA:
		i.look(payload)
	case t == nalSTAPA:
		for rest := payload[1:]; len(rest) > 0; {
			if len(rest) < 3 {
				return false
			}
			n := int(rest[0])<<8 | int(rest[1])
			if n == 0 || n > len(rest)-2 {
				return false
			}
			i.look(rest[2 : 2+n])
			rest = rest[2+n:]
		}
	case t == nalFUA:
		if len(payload) < 3 {
			return false
		}
		if payload[1]&fuStart != 0 {
			i.slice(payload[1]&nalTypeMask, payload[2:])
		}
	default:
		return false
	}
	return true
}

func (i nals) look(nal []byte) {
	switch nal[0] & nalTypeMask {
	case nalSPS:
		i.sets[setSPS] = nal
	case nalPPS:
		i.sets[setPPS] = nal
	default:
		i.slice(nal[0]&nalTypeMask, nal[1:])
	}
}

func (i nals) slice(nalType byte, header []byte) {
	switch nalType {
	case nalIDR:
		i.key = true
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

package core

import (
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	codech264 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"slipstream/stream/orders"
)

// H.264 NAL unit types (ITU-T H.264 table 7-1) and RTP payload structures
// (RFC 6184 §5.2) that the forwarder looks at.
const (
	nalSlice  = 1
	nalIDR    = 5
	nalSPS    = 7
	nalPPS    = 8
	nalSubset = 15 // SPS of another layer or view (annexes F and G)
	nalLayer  = 20 // slice of one
	nalSTAPA  = 24
	nalFUA    = 28

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
func (h264) encoders() string { return "ffmpeg: -c:v libx264, GStreamer: x264enc" }

const h264Refusal = "an H.264 payload outside packetization modes 0 and 1 (RFC 6184); set the packetizer to mode 1"

// describe implements [codec].
func (h264) describe(f format.Format) (m medium, refusal string, ok bool) {
	video, ok := f.(*format.H264)
	if !ok {
		return m, "", false
	}
	if video.PacketizationMode > 1 {
		return m, h264Refusal, true
	}
	m.sets[setSPS], m.sets[setPPS] = video.SPS, video.PPS
	return m, "", true
}

// beyondProfile says why a sequence parameter set asks more of a decoder than the
// declared profile-level-id does, or "".
func beyondProfile(set []byte, declared string) (refusal string) {
	if len(set) < 4 || orders.WithinProfile(set[1], set[3], declared) {
		return ""
	}
	return fmt.Sprintf("the stream's profile-level-id is %x, the manifest declares %s; set the encoder's profile and level to it (x264: profile, level), or declare more", set[1:4], declared)
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

// look implements [codec]: it looks at the NAL units that begin in a payload.
func (h264) look(payload []byte) (info unitInfo, refusal string) {
	i := h264Info{&info}
	switch t := payload[0] & nalTypeMask; {
	case t >= nalSlice && t < nalSTAPA:
		return info, i.look(payload)
	case t == nalSTAPA:
		return info, i.unpack(payload[1:])
	case t == nalFUA && len(payload) > 2:
		if payload[1]&fuStart != 0 {
			refusal = i.slice(payload[1]&nalTypeMask, payload[2:])
		}
		return info, refusal
	}
	return info, h264Refusal
}

// h264Info reads NAL units into what they say of their access unit.
type h264Info struct{ *unitInfo }

// unpack looks at the units of a STAP-A.
func (i h264Info) unpack(rest []byte) (refusal string) {
	for len(rest) > 0 && refusal == "" {
		if len(rest) < 3 {
			return h264Refusal
		}
		n := int(rest[0])<<8 | int(rest[1])
		if n == 0 || n > len(rest)-2 {
			return h264Refusal
		}
		refusal = i.look(rest[2 : 2+n])
		rest = rest[2+n:]
	}
	return refusal
}

func (i h264Info) look(nal []byte) (refusal string) {
	switch nal[0] & nalTypeMask {
	case nalSPS:
		i.sets[setSPS] = nal
	case nalPPS:
		i.sets[setPPS] = nal
	default:
		return i.slice(nal[0]&nalTypeMask, nal[1:])
	}
	return ""
}

func (i h264Info) slice(nalType byte, header []byte) (refusal string) {
	switch {
	case nalType == nalIDR:
		i.key = true
	case nalType == nalSlice && isB(header):
		return reorderRefusal
	case nalType == nalSubset || nalType == nalLayer:
		return layerRefusal
	}
	return ""
}

// isB reads first_mb_in_slice and slice_type of a slice header (H.264 §7.3.3).
func isB(header []byte) bool {
	r := bits{data: header}
	r.golomb()
	t := r.golomb()
	return t == 1 || t == 6
}

// bits reads numbers of a slice header or parameter set; beyond the end it reads
// zeros. In the first two codes of a slice header emulation prevention cannot
// occur unless the picture has over 2^15 macroblocks before it.
type bits struct {
	data []byte
	pos  int
	over bool // it was read beyond the end
}

func (b *bits) bit() uint32 {
	i := b.pos / 8
	if i >= len(b.data) {
		b.over = true
		return 0
	}
	v := b.data[i] >> (7 - b.pos%8) & 1
	b.pos++
	return uint32(v)
}

func (b *bits) skip(n int) { b.pos += n }

func (b *bits) read(n int) (v uint32) {
	for range n {
		v = v<<1 | b.bit()
	}
	return v
}

// golomb reads an Exp-Golomb code (H.264 §9.1).
func (b *bits) golomb() uint32 {
	zeros := 0
	for b.bit() == 0 {
		if zeros++; zeros > 24 {
			b.over = true
			return ^uint32(0)
		}
	}
	return 1<<zeros - 1 + b.read(zeros)
}

package core

import "github.com/bluenviron/gortsplib/v5/pkg/format"

// H.265 NAL unit types (ITU-T H.265 table 7-1) and RTP payload structures
// (RFC 7798 §4.4) that the forwarder looks at.
const (
	hevcLeading   = 6 // RADL and RASL pictures, up to 9: shown before the picture that they follow
	hevcLeadingTo = 9
	hevcIRAP      = 16 // BLA, IDR and CRA pictures, up to 21
	hevcIRAPTo    = 21
	hevcVPS       = 32
	hevcSPS       = 33
	hevcPPS       = 34
	hevcAP        = 48
	hevcFU        = 49

	hevcHeader   = 2 // bytes of a NAL unit's header
	hevcTypeMask = 0x3f
)

// Kinds of parameter sets, in the order in which they go before a key frame.
const (
	hevcSetVPS = iota
	hevcSetSPS
	hevcSetPPS
)

// h265 is a [codec]: RFC 7798 without decoding order numbers.
//
// B slices are no reason to refuse a stream: encoders of low delay use them with
// references to the past only. That nothing is reordered is what the sequence
// parameter set says, and that no leading pictures come.
type h265 struct{}

func (h265) clockRate() int64 { return videoRate }
func (h265) sound() bool      { return false }
func (h265) encoders() string { return "ffmpeg: -c:v libx265, GStreamer: x265enc" }

const (
	h265Refusal    = "an H.265 payload that is no NAL unit, aggregation or fragment of RFC 7798"
	h265DONRefusal = "H.265 is sent in another order than that of decoding; set sprop-max-don-diff to 0"
)

// describe implements [codec].
func (h265) describe(f format.Format) (m medium, refusal string, ok bool) {
	video, ok := f.(*format.H265)
	if !ok {
		return m, "", false
	}
	if video.MaxDONDiff != 0 {
		return m, h265DONRefusal, true
	}
	m.sets[hevcSetVPS], m.sets[hevcSetSPS], m.sets[hevcSetPPS] = video.VPS, video.SPS, video.PPS
	return m, "", true
}

// whole implements [codec].
func (h265) whole(p *parameterSets) bool {
	return p.sets[hevcSetVPS].n > 0 && p.sets[hevcSetSPS].n > 0 && p.sets[hevcSetPPS].n > 0
}

// learn implements [codec].
func (h265) learn(p *parameterSets, kind int, nal []byte) (refusal string) {
	if kind != hevcSetSPS {
		return ""
	}
	sps, ok := readHEVC(nal)
	switch {
	case !ok:
		return "a broken sequence parameter set"
	case sps.reorder > 0:
		return reorderRefusal
	}
	p.width, p.height = int32(sps.width), int32(sps.height)
	return ""
}

// look implements [codec]: it looks at the NAL units that begin in a payload.
func (h265) look(payload []byte) (info unitInfo, refusal string) {
	i := h265Info{&info}
	switch {
	case len(payload) <= hevcHeader:
		return info, h265Refusal
	case hevcType(payload) < hevcAP:
		return info, i.look(payload)
	case hevcType(payload) == hevcAP:
		return info, i.unpack(payload[hevcHeader:])
	case hevcType(payload) == hevcFU && len(payload) > hevcHeader+1:
		if layered(payload) {
			return info, layerRefusal
		}
		if fu := payload[hevcHeader]; fu&fuStart != 0 {
			refusal = i.picture(fu & hevcTypeMask)
		}
		return info, refusal
	}
	return info, h265Refusal
}

func hevcType(nal []byte) byte { return nal[0] >> 1 & hevcTypeMask }

// layered says that nuh_layer_id is not 0.
func layered(nal []byte) bool { return nal[0]&1 != 0 || nal[1]>>3 != 0 }

// h265Info reads NAL units into what they say of their access unit.
type h265Info struct{ *unitInfo }

// unpack looks at the units of an aggregation packet.
func (i h265Info) unpack(rest []byte) (refusal string) {
	for len(rest) > 0 && refusal == "" {
		if len(rest) < 2+hevcHeader {
			return h265Refusal
		}
		n := int(rest[0])<<8 | int(rest[1])
		if n <= hevcHeader || n > len(rest)-2 || hevcType(rest[2:]) >= hevcAP {
			return h265Refusal
		}
		refusal = i.look(rest[2 : 2+n])
		rest = rest[2+n:]
	}
	return refusal
}

func (i h265Info) look(nal []byte) (refusal string) {
	if layered(nal) {
		return layerRefusal
	}
	switch hevcType(nal) {
	case hevcVPS:
		i.sets[hevcSetVPS] = nal
	case hevcSPS:
		i.sets[hevcSetSPS] = nal
	case hevcPPS:
		i.sets[hevcSetPPS] = nal
	default:
		return i.picture(hevcType(nal))
	}
	return ""
}

func (i h265Info) picture(nalType byte) (refusal string) {
	switch {
	case nalType >= hevcIRAP && nalType <= hevcIRAPTo:
		i.key = true
	case nalType >= hevcLeading && nalType <= hevcLeadingTo:
		return reorderRefusal
	}
	return ""
}

// hevcSequence is what the forwarder reads of a sequence parameter set.
type hevcSequence struct {
	width, height uint32
	reorder       uint32 // sps_max_num_reorder_pics of the highest sub-layer
}

// readHEVC reads a sequence parameter set (H.265 §7.3.2.2) as far as it matters
// here; the library's reader refuses sets that decoders take.
func readHEVC(nal []byte) (s hevcSequence, ok bool) {
	var buf [maxSetBytes]byte
	if len(nal) <= hevcHeader || len(nal) > len(buf) {
		return s, false
	}
	r := bits{data: withoutEmulation(buf[:0], nal[hevcHeader:])}
	r.skip(4) // sps_video_parameter_set_id
	layers := r.read(3)
	r.skip(1)
	r.skipProfile(layers)
	r.golomb() // sps_seq_parameter_set_id
	chroma := r.golomb()
	if chroma == 3 {
		r.skip(1)
	}
	s.width, s.height = r.golomb(), r.golomb()
	if r.bit() == 1 { // conformance window, in units of chroma samples
		x, y := uint32(1), uint32(1)
		if chroma == 1 || chroma == 2 {
			x = 2
		}
		if chroma == 1 {
			y = 2
		}
		s.width -= x * (r.golomb() + r.golomb())
		s.height -= y * (r.golomb() + r.golomb())
	}
	r.golomb() // bit depths
	r.golomb()
	r.golomb() // log2_max_pic_order_cnt_lsb_minus4
	all := r.bit() == 1
	for n := uint32(0); n <= layers; n++ {
		if n > 0 && !all {
			break
		}
		r.golomb() // sps_max_dec_pic_buffering_minus1
		s.reorder = r.golomb()
		r.golomb()
	}
	const most = 1 << 14
	return s, !r.over && layers < 7 && chroma < 4 && s.width-1 < most && s.height-1 < most
}

// skipProfile skips profile_tier_level (H.265 §7.3.3).
func (b *bits) skipProfile(layers uint32) {
	b.skip(88 + 8)
	if layers == 0 {
		return
	}
	skip := 0
	for n := range uint32(8) {
		profile, level := b.bit(), b.bit()
		if n < layers {
			skip += int(profile)*88 + int(level)*8
		}
	}
	b.skip(skip)
}

// withoutEmulation appends a NAL unit's bytes without the ones that keep start
// codes out of it (H.264 §7.4.1, H.265 §7.4.2).
func withoutEmulation(dst, nal []byte) []byte {
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		dst = append(dst, b)
		zeros++
		if b != 0 {
			zeros = 0
		}
	}
	return dst
}

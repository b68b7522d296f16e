package live

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"slipstream/agent/wire"
	"slipstream/stream/orders"
)

// Kinds of units that pictures are made of (RFC 6184 §5.2, RFC 7798 §1.1.4).
const (
	h264IDR, h264SPS, h264PPS, h264Many, h264Part                        = 5, 7, 8, 24, 28
	h265IRAP, h265IRAPEnd, h265VPS, h265SPS, h265PPS, h265Many, h265Part = 16, 21, 32, 33, 34, 48, 49
)

// sets are a stream's parameter sets, in the order in which its SDP names them.
type sets [][]byte

// whole says whether a decoder has all that it needs.
func (s sets) whole() bool {
	for _, set := range s {
		if len(set) == 0 {
			return false
		}
	}
	return true
}

func newSets(codec string) sets {
	switch codec {
	case orders.H264:
		return make(sets, 2)
	case orders.H265:
		return make(sets, 3)
	}
	return nil
}

// look reads a payload: it notes the parameter sets in it, and says whether a key frame
// or what belongs before one begins in it. A malformed one says nothing.
func (s sets) look(codec string, payload []byte) (key bool) {
	if codec == orders.H265 {
		return s.lookH265(payload)
	}
	if len(payload) < 2 {
		return false
	}
	switch payload[0] & 0x1f {
	case h264Many:
		each(payload[1:], func(unit []byte) { key = s.unitH264(unit) || key })
	case h264Part:
		key = payload[1]&0x80 != 0 && payload[1]&0x1f == h264IDR
	default:
		key = s.unitH264(payload)
	}
	return key
}

func (s sets) unitH264(unit []byte) (key bool) {
	switch unit[0] & 0x1f {
	case h264SPS:
		if len(unit) >= 4 { // its profile and level stand in the SDP
			s[0] = bytes.Clone(unit)
		}
		return true
	case h264PPS:
		s[1] = bytes.Clone(unit)
	case h264IDR:
		return true
	}
	return false
}

func (s sets) lookH265(payload []byte) (key bool) {
	if len(payload) < 3 {
		return false
	}
	switch payload[0] >> 1 & 0x3f {
	case h265Many:
		each(payload[2:], func(unit []byte) { key = s.unitH265(unit) || key })
	case h265Part:
		kind := payload[2] & 0x3f
		key = payload[2]&0x80 != 0 && kind >= h265IRAP && kind <= h265IRAPEnd
	default:
		key = s.unitH265(payload)
	}
	return key
}

func (s sets) unitH265(unit []byte) (key bool) {
	switch kind := unit[0] >> 1 & 0x3f; {
	case kind == h265VPS || kind == h265SPS:
		s[kind-h265VPS] = bytes.Clone(unit)
		return true
	case kind == h265PPS:
		s[2] = bytes.Clone(unit)
	case kind >= h265IRAP && kind <= h265IRAPEnd:
		return true
	}
	return false
}

// each gives out the units of a packet that has several.
func each(rest []byte, take func([]byte)) {
	for len(rest) > 2 {
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || n > len(rest)-2 {
			return
		}
		take(rest[2 : 2+n])
		rest = rest[2+n:]
	}
}

// describe is the SDP of a track.
func describe(t wire.LegTrack, s sets) []byte {
	kind, format, params := "video", "", ""
	switch t.Codec {
	case orders.H264:
		format, params = "H264/90000", "packetization-mode=1;profile-level-id="+fmt.Sprintf("%x", s[0][1:4])+";sprop-parameter-sets="+text(s[0])+","+text(s[1])
	case orders.H265:
		format, params = "H265/90000", "sprop-vps="+text(s[0])+";sprop-sps="+text(s[1])+";sprop-pps="+text(s[2])
	case orders.Opus:
		kind, format, params = "audio", "opus/48000/2", "sprop-stereo=1"
	default:
		kind, format = "audio", strings.ToUpper(t.Codec)+"/8000"
	}
	sdp := fmt.Sprintf("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=%s 0 RTP/AVP %d\r\na=rtpmap:%[2]d %[3]s\r\n", kind, t.PayloadType, format)
	if params != "" {
		sdp += fmt.Sprintf("a=fmtp:%d %s\r\n", t.PayloadType, params)
	}
	return []byte(sdp)
}

func text(set []byte) string { return base64.StdEncoding.EncodeToString(set) }

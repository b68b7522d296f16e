package gateway

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"slipstream/stream/orders"
)

// maxFormats bounds the payload types of one section; Chromium offers about 40.
const maxFormats = 128

// payload is one payload type of a section of an SDP.
type payload struct {
	payloadType uint8
	codec       string // as in package orders
	rate        uint32 // of its RTP clock
	channels    uint16 // 0 for video
	fmtp        string // as written
	params      map[string]string
}

// known are the formats that may be played, by what SDP calls them.
var known = map[string]payload{
	"H264/90000":   {codec: orders.H264, rate: videoRate},
	"H265/90000":   {codec: orders.H265, rate: videoRate},
	"OPUS/48000/2": {codec: orders.Opus, rate: 48_000, channels: 2},
	"PCMU/8000":    {codec: orders.PCMU, rate: 8000, channels: 1},
	"PCMU/8000/1":  {codec: orders.PCMU, rate: 8000, channels: 1},
	"PCMA/8000":    {codec: orders.PCMA, rate: 8000, channels: 1},
	"PCMA/8000/1":  {codec: orders.PCMA, rate: 8000, channels: 1},
}

// fixed are payload types that need no rtpmap (RFC 3551 §6).
var fixed = map[string]string{"0": "PCMU/8000", "8": "PCMA/8000"}

// payloads lists the payload types of a section that may be played, in its order of
// preference.
func payloads(m *sdp.MediaDescription) []payload {
	var all []payload
	for _, name := range m.MediaName.Formats[:min(len(m.MediaName.Formats), maxFormats)] {
		pt, err := strconv.ParseUint(name, 10, 7)
		if err != nil || slices.ContainsFunc(all, func(f payload) bool { return f.payloadType == uint8(pt) }) {
			continue
		}
		called := attribute(m, "rtpmap", name)
		if called == "" {
			called = fixed[name]
		}
		f, ok := known[strings.ToUpper(called)]
		if !ok {
			continue
		}
		f.payloadType, f.fmtp = uint8(pt), attribute(m, "fmtp", name)
		f.params = fmtpParams(f.fmtp)
		all = append(all, f)
	}
	return all
}

// attribute returns what stands behind "KEY:FORMAT " in a section.
func attribute(m *sdp.MediaDescription, key, format string) string {
	for _, a := range m.Attributes {
		if name, rest, _ := strings.Cut(a.Value, " "); a.Key == key && name == format {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func fmtpParams(fmtp string) map[string]string {
	params := map[string]string{}
	for p := range strings.SplitSeq(fmtp, ";") {
		if key, value, _ := strings.Cut(strings.TrimSpace(p), "="); key != "" {
			params[strings.ToLower(key)] = value
		}
	}
	return params
}

// number is a parameter's value, or what it is when it is not there. A value that
// is none counts as none.
func (f payload) number(key string, absent int) int {
	text, ok := f.params[key]
	if !ok {
		return absent
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return absent
	}
	return int(n)
}

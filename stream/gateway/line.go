package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// line is what the forwarder's SDP says about a stream.
type line struct {
	sps, pps []byte  // nil when the stream carries them itself
	profile  profile // 0 when the SDP does not say
}

// parseLine reads the SDP of one medium.
func parseLine(text []byte) (line, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(text); err != nil {
		return line{}, fmt.Errorf("the stream's SDP: %w", err)
	}
	if len(s.MediaDescriptions) != 1 {
		return line{}, fmt.Errorf("the stream's SDP has %d media, not one", len(s.MediaDescriptions))
	}
	formats := h264Formats(s.MediaDescriptions[0])
	if len(formats) == 0 {
		return line{}, fmt.Errorf("the stream is not H.264")
	}
	l := line{profile: formats[0].profile}
	l.sps, l.pps = parameterSets(formats[0].params["sprop-parameter-sets"])
	if len(l.sps) >= 4 {
		l.profile = profileOf(l.sps[1], l.sps[2])
	}
	return l, nil
}

// parameterSets decodes sprop-parameter-sets (RFC 6184 §8.1).
func parameterSets(sprop string) (sps, pps []byte) {
	for set := range strings.SplitSeq(sprop, ",") {
		nal, err := base64.StdEncoding.DecodeString(set)
		if err != nil || len(nal) == 0 {
			continue
		}
		switch nal[0] & 0x1f {
		case 7:
			sps = nal
		case 8:
			pps = nal
		}
	}
	return sps, pps
}

// h264Format is one H.264 payload type of a medium.
type h264Format struct {
	payloadType uint8
	fmtp        string // as written
	params      map[string]string
	profile     profile
}

// h264Formats lists a medium's H.264 payload types in its order of preference.
func h264Formats(m *sdp.MediaDescription) []h264Format {
	var formats []h264Format
	for _, name := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(name, 10, 7)
		if err != nil || !strings.EqualFold(attribute(m, "rtpmap", name), "H264/90000") {
			continue
		}
		f := h264Format{payloadType: uint8(pt), fmtp: attribute(m, "fmtp", name)}
		f.params = fmtpParams(f.fmtp)
		if id, err := hex.DecodeString(f.params["profile-level-id"]); err == nil && len(id) == 3 {
			f.profile = profileOf(id[0], id[1])
		}
		formats = append(formats, f)
	}
	return formats
}

// attribute returns what stands behind "KEY:FORMAT " in a medium.
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
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		params[strings.ToLower(key)] = value
	}
	return params
}

package gateway

import "slices"

// profile is an H.264 profile as WebRTC tells them apart (RFC 6184 table 5).
type profile int

const (
	unknownProfile profile = iota
	constrainedBaseline
	baseline
	mainProfile
	constrainedHigh
	high
)

// profileOf maps profile_idc and the constraint flags to a profile.
func profileOf(idc, flags byte) profile {
	set0, set1 := flags&0x80 != 0, flags&0x40 != 0
	switch {
	case idc == 0x42 && set1, idc == 0x4d && set0, idc == 0x58 && set0 && set1:
		return constrainedBaseline
	case idc == 0x42, idc == 0x58 && set0:
		return baseline
	case idc == 0x4d:
		return mainProfile
	case idc == 0x64 && flags&0x0c == 0x0c:
		return constrainedHigh
	case idc == 0x64:
		return high
	}
	return unknownProfile
}

// decoders lists, best first, the profiles whose decoders play a profile. What
// cameras call baseline uses none of the tools that constrained baseline lacks.
var decoders = map[profile][]profile{
	constrainedBaseline: {constrainedBaseline, baseline, mainProfile, constrainedHigh, high},
	baseline:            {baseline, constrainedBaseline, mainProfile, constrainedHigh, high},
	mainProfile:         {mainProfile, high, constrainedHigh},
	constrainedHigh:     {constrainedHigh, high},
	high:                {high, constrainedHigh},
}

// choose picks the offered format that suits the stream. A viewer that offers
// none gets the best that it has: browsers offer fewer profiles than they
// decode, and read the real one from the stream.
func choose(offered []h264Format, stream profile) (h264Format, bool) {
	var usable []h264Format
	for _, f := range offered {
		if f.params["packetization-mode"] == "1" {
			usable = append(usable, f)
		}
	}
	if len(usable) == 0 {
		return h264Format{}, false
	}
	for _, p := range decoders[stream] {
		if i := slices.IndexFunc(usable, func(f h264Format) bool { return f.profile == p }); i >= 0 {
			return usable[i], true
		}
	}
	return slices.MaxFunc(usable, func(a, b h264Format) int { return int(a.profile) - int(b.profile) }), true
}

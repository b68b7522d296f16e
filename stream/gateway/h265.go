package gateway

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// Values of H.265's parameters that are not written (RFC 7798 §7.1).
const (
	h265Main  = 1 // profile-id
	h265Level = 93
)

// h265Main10 is the profile-id of Main 10, whose decoders play Main, too.
const h265Main10 = 2

// h265Envelope is a profile, a tier and a level of H.265; level 0 is unknown.
type h265Envelope struct {
	profile, tier, level int // level: general_level_idc, thirty times the level
}

// h265Of reads what a line's SDP says; the parameter set says it best.
func h265Of(line payload) h265Envelope {
	if sps, err := base64.StdEncoding.DecodeString(line.params["sprop-sps"]); err == nil {
		if e, ok := h265FromSPS(sps); ok {
			return e
		}
	}
	return h265Envelope{line.number("profile-id", h265Main), line.number("tier-flag", 0), line.number("level-id", 0)}
}

// h265FromSPS reads the general profile, tier and level (H.265 §7.3.2.2, §7.3.3),
// which stand at fixed places.
func h265FromSPS(nal []byte) (h265Envelope, bool) {
	const header, tier, level = 2, 3, 14
	nal = unescape(nal[:min(len(nal), 32)])
	if len(nal) <= level || nal[0]>>1&0x3f != 33 {
		return h265Envelope{}, false
	}
	return h265Envelope{int(nal[tier] & 0x1f), int(nal[tier] >> 5 & 1), int(nal[level])}, true
}

// unescape takes the emulation prevention bytes out of a NAL unit (H.265 §7.3.1.1).
func unescape(nal []byte) []byte {
	var out []byte
	for _, b := range nal {
		if n := len(out); b == 3 && n >= 2 && out[n-1] == 0 && out[n-2] == 0 {
			continue
		}
		out = append(out, b)
	}
	return out
}

func (e h265Envelope) String() string {
	tier := "main"
	if e.tier == 1 {
		tier = "high"
	}
	return fmt.Sprintf("H.265 profile %d, %s tier, level %d.%d", e.profile, tier, e.level/30, e.level%30/3)
}

// pick chooses the offered format that suits the stream.
func (e h265Envelope) pick(offered []payload) (payload, error) {
	var have []string
	for _, f := range offered {
		has := h265Envelope{f.number("profile-id", h265Main), f.number("tier-flag", 0), f.number("level-id", h265Level)}
		one := f.params["tx-mode"] == "" || f.params["tx-mode"] == "SRST" // all in one stream
		if one && has.decodes(e) {
			return f, nil
		}
		have = append(have, has.String())
	}
	return payload{}, fmt.Errorf("the stream is %s, and the offer has only %s", e, strings.Join(slices.Compact(have), "; "))
}

// decodes tells whether a decoder that has this plays a stream that is e.
func (has h265Envelope) decodes(e h265Envelope) bool {
	profile := has.profile == e.profile || has.profile == h265Main10 && e.profile == h265Main
	return profile && has.tier >= e.tier && has.level >= e.level
}

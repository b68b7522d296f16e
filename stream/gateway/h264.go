package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// h264Profile is a profile of H.264 as WebRTC tells them apart (RFC 6184 table 5).
type h264Profile int

const (
	unknownProfile h264Profile = iota
	constrainedBaseline
	baseline
	mainProfile
	constrainedHigh
	high
	high10
	high422
	high444
)

var h264Names = map[h264Profile]string{
	unknownProfile: "an unknown profile", constrainedBaseline: "Constrained Baseline", baseline: "Baseline", mainProfile: "Main",
	constrainedHigh: "Constrained High", high: "High", high10: "High 10", high422: "High 4:2:2", high444: "High 4:4:4 Predictive",
}

// profileOf maps profile_idc and the constraint flags to a profile.
func profileOf(idc, flags byte) h264Profile {
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
	case idc == 0x6e:
		return high10
	case idc == 0x7a:
		return high422
	case idc == 0xf4:
		return high444
	}
	return unknownProfile
}

// decoders lists, best first, the profiles whose decoders play a profile (H.264
// Annex A.2). What cameras call baseline uses none of the tools that constrained
// baseline lacks, and no stream here has the B-frames that constrained high lacks.
var decoders = map[h264Profile][]h264Profile{
	constrainedBaseline: {constrainedBaseline, baseline, mainProfile, constrainedHigh, high, high10, high422, high444},
	baseline:            {baseline, constrainedBaseline, mainProfile, constrainedHigh, high, high10, high422, high444},
	mainProfile:         {mainProfile, high, constrainedHigh, high10, high422, high444},
	constrainedHigh:     {constrainedHigh, high, high10, high422, high444},
	high:                {high, constrainedHigh, high10, high422, high444},
	high10:              {high10, high422, high444},
	high422:             {high422, high444},
	high444:             {high444},
}

// anyLevel is level 3.1: all browsers offer it, whatever they decode. Only a lower
// one is meant as a limit.
const anyLevel = 31

// h264Envelope is a profile and a level; of neither is something known if it is 0.
type h264Envelope struct {
	profile h264Profile
	level   byte // level_idc, ten times the level
}

// parseH264 reads a profile-level-id (RFC 6184 §8.1).
func parseH264(id string) h264Envelope {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 3 {
		return h264Envelope{}
	}
	return h264Envelope{profileOf(b[0], b[1]), b[2]}
}

// h264Of reads what a line's SDP says; the parameter set says it best.
func h264Of(line payload) h264Envelope {
	if sps := sequenceParameters(line.params["sprop-parameter-sets"]); len(sps) >= 4 {
		return h264Envelope{profileOf(sps[1], sps[2]), sps[3]}
	}
	return parseH264(line.params["profile-level-id"])
}

// sequenceParameters finds the sequence parameter set in sprop-parameter-sets (RFC 6184
// §8.1); nil: there is none.
func sequenceParameters(sprop string) []byte {
	for set := range strings.SplitSeq(sprop, ",") {
		if nal, err := base64.StdEncoding.DecodeString(set); err == nil && len(nal) > 0 && nal[0]&0x1f == 7 {
			return nal
		}
	}
	return nil
}

func (e h264Envelope) String() string {
	return fmt.Sprintf("H.264 %s, level %d.%d", h264Names[e.profile], e.level/10, e.level%10)
}

// h264Decoder is what an offered format promises. One that does not say is Baseline
// at level 1 (RFC 6184 §8.1).
func h264Decoder(f payload) h264Envelope {
	if f.params["profile-level-id"] == "" {
		return h264Envelope{baseline, 10}
	}
	return parseH264(f.params["profile-level-id"])
}

// pick chooses the offered format that suits the stream.
func (e h264Envelope) pick(offered []payload) (payload, error) {
	usable := slices.DeleteFunc(slices.Clone(offered), func(f payload) bool { return f.params["packetization-mode"] != "1" })
	if len(usable) == 0 {
		return payload{}, errors.New("the offer has no H.264 with packetization-mode=1")
	}
	if e.profile == unknownProfile { // it may be any; the best decoder is the best bet
		return slices.MaxFunc(usable, func(a, b payload) int {
			return int(h264Decoder(a).profile) - int(h264Decoder(b).profile)
		}), nil
	}
	for _, p := range decoders[e.profile] {
		for _, f := range usable {
			if has := h264Decoder(f); has.profile == p && has.level >= min(e.level, anyLevel) {
				return f, nil
			}
		}
	}
	if f, ok := e.silentBrowser(usable); ok {
		return f, nil
	}
	var have []string
	for _, f := range usable {
		have = append(have, h264Decoder(f).String())
	}
	return payload{}, fmt.Errorf("the stream is %s, and the offer has only %s", e, strings.Join(slices.Compact(have), "; "))
}

// silentBrowser finds the format for a viewer that offers Constrained Baseline at
// the level of browsers and nothing above it. Firefox does so and decodes High: its
// offer says what every WebRTC endpoint must have (RFC 7742 §6.2), not what it has.
// A viewer that names a profile above is taken at its word.
func (e h264Envelope) silentBrowser(usable []payload) (payload, bool) {
	above := func(f payload) bool { return h264Decoder(f).profile > baseline }
	if e.profile > high || slices.ContainsFunc(usable, above) {
		return payload{}, false
	}
	i := slices.IndexFunc(usable, func(f payload) bool {
		has := h264Decoder(f)
		return has.profile == constrainedBaseline && has.level >= anyLevel
	})
	if i < 0 {
		return payload{}, false
	}
	return usable[i], true
}

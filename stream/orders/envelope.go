package orders

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// h264Profiles are those of H.264 whose decoders take each other's streams, the least
// demanding one first (H.264 §A.2): Baseline as cameras send it, Main, High.
const h264Profiles = "\x42\x4d\x64"

// WithinProfile says whether a decoder of the declared profile-level-id (in hex) takes
// a stream of a profile and level. One that cannot be read declares nothing.
func WithinProfile(profile, level byte, declared string) bool {
	limit, err := hex.DecodeString(declared)
	if err != nil || len(limit) != 3 {
		return true
	}
	rank, most := strings.IndexByte(h264Profiles, profile), strings.IndexByte(h264Profiles, limit[0])
	below := rank >= 0 && most >= 0 && rank <= most
	return (profile == limit[0] || below) && level <= limit[2]
}

// keepsProfile says whether who decodes the profile-level-id "before" decodes "now".
func keepsProfile(now, before string) bool {
	id, err := hex.DecodeString(now)
	if err != nil || len(id) != 3 { // it may be any
		return before == ""
	}
	return WithinProfile(id[0], id[2], before)
}

// Strands says why those who agreed to watch another declaration of the stream cannot
// follow this one, as what the stream is now; "": they can. A larger picture of the
// same profile is none of their concern.
func (s *Stream) Strands(codec, profile string) string {
	switch {
	case s.Codec != codec:
		return fmt.Sprintf("%s and not %s", strings.ToUpper(s.Codec), strings.ToUpper(codec))
	case !keepsProfile(s.Profile, profile):
		return fmt.Sprintf("of %s and not within %s", profileName(s.Profile), profileName(profile))
	}
	return ""
}

// Leaves says how the stream leaves the envelope of an earlier declaration of it, as
// Strands does.
func (s *Stream) Leaves(before Stream) string {
	if what := s.Strands(before.Codec, before.Profile); what != "" {
		return what
	}
	beyond := func(now, limit int) bool { return limit > 0 && (now == 0 || now > limit) }
	if beyond(s.Width, before.Width) || beyond(s.Height, before.Height) {
		return fmt.Sprintf("%dx%d and not within %dx%d", s.Width, s.Height, before.Width, before.Height)
	}
	return ""
}

func profileName(id string) string {
	if id == "" {
		return "any profile"
	}
	return "the profile-level-id " + id
}

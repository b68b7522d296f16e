package gateway

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pion/sdp/v3"
)

// Candidate priorities, RFC 8445 §5.1.2.1: type host, component 1.
const (
	hostPreference  = 126 << 24
	localPreference = 65_535
	onlyComponent   = 256 - 1
)

// replaceCandidates lists the advertised addresses, best first, in place of the
// socket's own. An ICE-lite side needs no more than to be found there.
func replaceCandidates(answer string, advertise []netip.Addr, port uint16) (string, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("read own answer: %w", err)
	}
	for _, m := range s.MediaDescriptions {
		found := len(m.Attributes)
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == sdp.AttrKeyCandidate
		})
		if len(m.Attributes) == found {
			continue // a rejected section, or one that is bundled with another
		}
		for i, addr := range advertise {
			priority := hostPreference + (localPreference-i)<<8 + onlyComponent
			m.WithValueAttribute(sdp.AttrKeyCandidate,
				fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, priority, addr.Unmap().WithZone(""), port))
		}
	}
	text, err := s.Marshal()
	if err != nil {
		return "", fmt.Errorf("write own answer: %w", err)
	}
	return string(text), nil
}

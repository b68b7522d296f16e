package gateway

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pion/sdp/v3"
)

const (
	// maxOffer bounds an offer in bytes; Chromium's for one video is 4 KiB.
	maxOffer = 64 << 10

	// maxSections bounds an offer's media sections.
	maxSections = 8
)

// offer is a viewer's SDP after everything that no viewer of ours needs was
// refused or taken out; see the package comment for why.
type offer struct {
	sdp     string
	ufrag   string
	formats []h264Format // of its one video section
}

// parseOffer checks an offer before any WebRTC code sees it.
func parseOffer(text []byte) (offer, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(text); err != nil {
		return offer{}, fmt.Errorf("the offer is not SDP: %w", err)
	}
	if n := len(s.MediaDescriptions); n > maxSections {
		return offer{}, fmt.Errorf("the offer has %d media sections, the limit is %d", n, maxSections)
	}
	if _, lite := s.Attribute(sdp.AttrKeyICELite); lite {
		return offer{}, errors.New("the offer is from an ICE-lite peer; the gateway is one, and one side must check paths")
	}
	var o offer
	videos := 0
	for _, m := range s.MediaDescriptions {
		switch m.MediaName.Media {
		case "video":
			videos++
			if err := wantsVideo(&s, m); err != nil {
				return offer{}, err
			}
			o.formats = h264Formats(m)
			o.ufrag = ufrag(&s, m)
			reduce(m, sdp.AttrKeyRecvOnly)
		case "audio": // answered as rejected
			reduce(m, sdp.AttrKeyInactive)
		default:
			return offer{}, fmt.Errorf("the offer has a section %q; offer one video to receive and no data channel", m.MediaName.Media)
		}
		if err := activeSetup(&s, m); err != nil {
			return offer{}, err
		}
	}
	if videos != 1 {
		return offer{}, fmt.Errorf("the offer has %d video sections; a stream needs one", videos)
	}
	s.Attributes = slices.DeleteFunc(s.Attributes, unwanted)
	reduced, err := s.Marshal()
	if err != nil {
		return offer{}, fmt.Errorf("the offer is not SDP: %w", err)
	}
	o.sdp = string(reduced)
	return o, nil
}

// wantsVideo refuses a section in which the viewer would not receive.
func wantsVideo(s *sdp.SessionDescription, m *sdp.MediaDescription) error {
	direction := sdp.AttrKeySendRecv // RFC 8866 §6.7: the default
	for _, a := range slices.Concat(s.Attributes, m.Attributes) {
		if isDirection(a.Key) {
			direction = a.Key
		}
	}
	if m.MediaName.Port.Value == 0 || direction == sdp.AttrKeySendOnly || direction == sdp.AttrKeyInactive {
		return errors.New("the offer does not ask to receive video; use a recvonly transceiver")
	}
	return nil
}

// activeSetup makes sure that the gateway is the DTLS server.
func activeSetup(s *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, a := range slices.Concat(s.Attributes, m.Attributes) {
		if a.Key == sdp.AttrKeyConnectionSetup && a.Value != "actpass" && a.Value != "active" {
			return fmt.Errorf("the offer says setup:%.16s; the viewer must be the DTLS client", a.Value)
		}
	}
	return nil
}

// ufrag is the viewer's; whether it is one is WebRTC's to check.
func ufrag(s *sdp.SessionDescription, m *sdp.MediaDescription) string {
	if text, ok := m.Attribute("ice-ufrag"); ok {
		return text
	}
	text, _ := s.Attribute("ice-ufrag")
	return text
}

func isDirection(key string) bool {
	switch key {
	case sdp.AttrKeySendRecv, sdp.AttrKeySendOnly, sdp.AttrKeyRecvOnly, sdp.AttrKeyInactive:
		return true
	}
	return false
}

// unwanted tells the attributes of what the viewer would send, and of where it
// can be called on.
func unwanted(a sdp.Attribute) bool {
	switch a.Key {
	case sdp.AttrKeyCandidate, sdp.AttrKeyEndOfCandidates, "remote-candidates", "ice-options",
		sdp.AttrKeySSRC, sdp.AttrKeySSRCGroup, sdp.AttrKeyMsid, "rid", "simulcast", sdp.AttrKeyExtMap:
		return true
	}
	return isDirection(a.Key)
}

func reduce(m *sdp.MediaDescription, direction string) {
	m.Attributes = slices.DeleteFunc(m.Attributes, unwanted)
	m.Attributes = append(m.Attributes, sdp.NewPropertyAttribute(direction))
}

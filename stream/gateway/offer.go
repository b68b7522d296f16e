package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	session sdp.SessionDescription
	ufrag   string
	video   section
	audio   section
}

// section is what an offer has of one kind of media.
type section struct {
	media    *sdp.MediaDescription // nil: none in which the viewer would receive
	payloads []payload
}

// parseOffer checks an offer before any WebRTC code sees it.
func parseOffer(text []byte) (offer, error) {
	var o offer
	s := &o.session
	if err := s.Unmarshal(text); err != nil {
		return offer{}, fmt.Errorf("the offer is not SDP: %w", err)
	}
	if n := len(s.MediaDescriptions); n > maxSections {
		return offer{}, fmt.Errorf("the offer has %d media sections, the limit is %d", n, maxSections)
	}
	if _, lite := s.Attribute(sdp.AttrKeyICELite); lite {
		return offer{}, errors.New("the offer is from an ICE-lite peer; the gateway is one, and one side must check paths")
	}
	for _, m := range s.MediaDescriptions {
		if err := o.take(m); err != nil {
			return offer{}, err
		}
	}
	if o.video.media == nil && o.audio.media == nil {
		return offer{}, errors.New("the offer does not ask to receive video or audio; use a recvonly transceiver")
	}
	s.Attributes = slices.DeleteFunc(s.Attributes, unwanted)
	return o, nil
}

// take looks at one section of the offer.
func (o *offer) take(m *sdp.MediaDescription) error {
	if err := activeSetup(&o.session, m); err != nil {
		return err
	}
	of := map[string]*section{"video": &o.video, "audio": &o.audio}[m.MediaName.Media]
	if of == nil {
		return fmt.Errorf("the offer has a section %.32q; offer a video and an audio to receive and no data channel", m.MediaName.Media)
	}
	receives := receives(&o.session, m)
	m.Attributes = slices.DeleteFunc(m.Attributes, unwanted)
	if !receives {
		return nil
	}
	if of.media != nil {
		return fmt.Errorf("the offer has two %s sections in which to receive; a stream has one at most", m.MediaName.Media)
	}
	if err := bundled(&o.session, m); err != nil {
		return err
	}
	of.media, of.payloads = m, payloads(m)
	if o.ufrag == "" {
		o.ufrag = ufrag(&o.session, m)
	}
	return nil
}

// receives tells whether the viewer would receive in a section.
func receives(s *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	direction := sdp.AttrKeySendRecv // RFC 8866 §6.7: the default
	for _, a := range slices.Concat(s.Attributes, m.Attributes) {
		if isDirection(a.Key) {
			direction = a.Key
		}
	}
	_, only := m.Attribute("bundle-only") // with which the port is 0 (RFC 9143 §6)
	return (m.MediaName.Port.Value != 0 || only) && (direction == sdp.AttrKeySendRecv || direction == sdp.AttrKeyRecvOnly)
}

// bundled makes sure that one transport carries all: there is no other.
func bundled(s *sdp.SessionDescription, m *sdp.MediaDescription) error {
	if _, mux := m.Attribute(sdp.AttrKeyRTCPMux); !mux {
		return errors.New("the offer does not have rtcp-mux in each section")
	}
	mid, ok := m.Attribute(sdp.AttrKeyMID)
	group, _ := s.Attribute(sdp.AttrKeyGroup)
	tags := strings.Fields(group)
	if !ok || len(tags) < 2 || tags[0] != "BUNDLE" || !slices.Contains(tags[1:], mid) {
		return errors.New("the offer does not have all sections in one BUNDLE group")
	}
	return nil
}

// text writes the offer for WebRTC's library, which is to answer the sections of
// some kinds and reject the others.
func (o *offer) text(answered func(*sdp.MediaDescription) bool) (string, error) {
	for _, m := range o.session.MediaDescriptions {
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { return isDirection(a.Key) })
		if answered(m) {
			m.WithPropertyAttribute(sdp.AttrKeyRecvOnly)
		} else {
			m.WithPropertyAttribute(sdp.AttrKeyInactive)
		}
	}
	text, err := o.session.Marshal()
	if err != nil {
		return "", fmt.Errorf("the offer is not SDP: %w", err)
	}
	return string(text), nil
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

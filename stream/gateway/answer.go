package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// Candidate priorities, RFC 8445 §5.1.2.1: type host, component 1.
const (
	hostPreference  = 126 << 24
	localPreference = 65_535
	onlyComponent   = 256 - 1
)

// maxCandidates bounds what a viewer has to try.
const maxCandidates = 16

// ownAddresses lists the device's addresses as they are now; those that only the
// device itself can reach come last.
func ownAddresses(withIPv6 bool) []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the viewer does not connect, and its session ends
	}
	var out, loopback []netip.Addr
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		addr := prefix.Addr().Unmap()
		switch {
		case err != nil, addr.IsLinkLocalUnicast(), addr.Is6() && !withIPv6:
		case addr.IsLoopback():
			loopback = append(loopback, addr)
		default:
			out = append(out, addr)
		}
	}
	out = append(out, loopback...)
	return out[:min(len(out), maxCandidates)]
}

// candidates are the lines for the addresses at which viewers can reach the gateway,
// best first.
func candidates(addrs []netip.Addr, port int) (lines []string) {
	for i, addr := range addrs {
		priority := hostPreference + (localPreference-i)<<8 + onlyComponent
		lines = append(lines, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, priority, addr.Unmap().WithZone(""), port))
	}
	return lines
}

// finish makes the library's answer ours: where the gateway can be reached stands in
// place of what ICE knows, in the first section that is not rejected, to which the
// others are bundled; rejected ones say which of the offer's they are; and browsers are
// told of Opus in stereo.
func finish(answer string, offered []*sdp.MediaDescription, reachable []string, stereo bool) (string, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("read own answer: %w", err)
	}
	if len(s.MediaDescriptions) != len(offered) {
		return "", fmt.Errorf("own answer has %d sections, the offer %d", len(s.MediaDescriptions), len(offered))
	}
	for i, m := range s.MediaDescriptions {
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == sdp.AttrKeyCandidate || a.Key == sdp.AttrKeyEndOfCandidates
		})
		if m.MediaName.Port.Value == 0 {
			if mid, _ := offered[i].Attribute(sdp.AttrKeyMID); len(m.Attributes) == 0 {
				m.WithValueAttribute(sdp.AttrKeyMID, mid)
			}
			continue
		}
		for _, line := range reachable {
			m.WithValueAttribute(sdp.AttrKeyCandidate, line)
		}
		if reachable != nil {
			m.WithPropertyAttribute(sdp.AttrKeyEndOfCandidates)
		}
		reachable = nil
		if m.MediaName.Media == "audio" && stereo {
			playStereo(m)
		}
	}
	text, err := s.Marshal()
	if err != nil {
		return "", fmt.Errorf("write own answer: %w", err)
	}
	return string(text), nil
}

// playStereo says that two channels come and are to be played (RFC 7587 §7).
func playStereo(m *sdp.MediaDescription) {
	const both = "stereo=1;sprop-stereo=1"
	for i, a := range m.Attributes {
		if pt, params, ok := strings.Cut(a.Value, " "); a.Key == "fmtp" && ok {
			m.Attributes[i].Value = pt + " " + params + ";" + both
			return
		}
	}
	m.WithValueAttribute("fmtp", m.MediaName.Formats[0]+" "+both)
}

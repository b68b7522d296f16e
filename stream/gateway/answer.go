package gateway

import (
	"fmt"
	"net"
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

// listCandidates puts the addresses at which viewers can reach the gateway, best
// first, in place of those that ICE knows. An ICE-lite side needs no more than to
// be found there.
func listCandidates(answer string, addrs []netip.Addr, port int) (string, error) {
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
		for i, addr := range addrs {
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

package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"golang.org/x/sys/unix"
)

const (
	// pairTries bounds the search for a UDP port whose neighbour is free.
	pairTries = 100

	// maxTransports bounds the ways that a viewer may offer in one SETUP.
	maxTransports = 8
)

// transport is the way that a track's packets take.
type transport struct {
	channel uint8     // interleaved: of RTP; RTCP has the next one
	ports   [2]int    // UDP: the viewer's, for RTP and RTCP
	own     [2]socket // UDP: connected to these
	local   [2]int    // UDP: ours
	udp     bool
}

var errNoTransport = refuse(base.StatusUnsupportedTransport,
	"none of the transports is RTP/AVP over UDP unicast, with ports, or RTP/AVP/TCP with two free channels; to RTSPS viewers over TCP only")

// wishes lists the transports of a SETUP that we know, in the viewer's order.
func wishes(v base.HeaderValue) []headers.Transport {
	if len(v) != 1 {
		return nil
	}
	var all []headers.Transport
	for i, text := range strings.Split(v[0], ",") {
		var t headers.Transport
		if i == maxTransports {
			break
		}
		if t.Unmarshal(base.HeaderValue{strings.TrimSpace(text)}) == nil && usable(t) {
			all = append(all, t)
		}
	}
	return all
}

func usable(t headers.Transport) bool {
	return t.Profile == headers.TransportProfileAVP &&
		(t.Delivery == nil || *t.Delivery == headers.TransportDeliveryUnicast) &&
		(t.Mode == nil || *t.Mode == headers.TransportModePlay)
}

// choose takes the first way that can be gone. others are those of the session's
// other tracks, which go the same way; track numbers this one.
func chooseTransport(v base.HeaderValue, track int, others []transport, secure bool) (transport, bool) {
	for _, t := range wishes(v) {
		w, ok := wanted(t, track)
		if !ok || w.udp && secure {
			continue
		}
		if !clash(w, others) {
			return w, true
		}
	}
	return transport{}, false
}

func wanted(t headers.Transport, track int) (transport, bool) {
	if t.Protocol == headers.TransportProtocolUDP {
		ports := t.ClientPorts
		if ports == nil || !validPort(ports[0]) || !validPort(ports[1]) || ports[0] == ports[1] {
			return transport{}, false
		}
		return transport{udp: true, ports: *ports}, true
	}
	ids := t.InterleavedIDs
	if ids == nil {
		ids = &[2]int{2 * track, 2*track + 1}
	}
	if ids[0] < 0 || ids[0] > 254 || ids[1] != ids[0]+1 {
		return transport{}, false
	}
	return transport{channel: uint8(ids[0])}, true
}

func validPort(n int) bool { return n > 0 && n < 1<<16 }

func clash(w transport, others []transport) bool {
	for _, o := range others {
		if o.udp != w.udp {
			return true
		}
		for _, a := range w.used() {
			for _, b := range o.used() {
				if a == b {
					return true
				}
			}
		}
	}
	return false
}

// used are the channels or ports that no other track of the viewer may use.
func (t transport) used() [2]int {
	if t.udp {
		return t.ports
	}
	return [2]int{int(t.channel), int(t.channel) + 1}
}

// header is the Transport of the answer to SETUP (RFC 2326 §12.39).
func (t transport) header(ssrc uint32) base.HeaderValue {
	unicast := headers.TransportDeliveryUnicast
	h := headers.Transport{Protocol: headers.TransportProtocolTCP, Delivery: &unicast, SSRC: &ssrc}
	if t.udp {
		h.Protocol, h.ClientPorts, h.ServerPorts = headers.TransportProtocolUDP, &t.ports, &t.local
	} else {
		h.InterleavedIDs = &[2]int{int(t.channel), int(t.channel) + 1}
	}
	return h.Marshal()
}

// open makes the two sockets of a track over UDP: neighbouring ports, the first
// one even (RFC 3550 §11), at the address that the viewer knows, connected to the
// viewer's. Where the viewer sits behind a translation of ports nothing arrives;
// it has to use TCP.
func (t *transport) open(local, viewer netip.Addr) error {
	var err error
	for range pairTries {
		if err = t.bindPair(local); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("take two neighbouring UDP ports: %w", err)
	}
	return t.connect(viewer)
}

func (t *transport) connect(viewer netip.Addr) error {
	for i, s := range t.own {
		if err := unix.Connect(s.fd, sockaddr(netip.AddrPortFrom(viewer, uint16(t.ports[i])))); err != nil {
			t.close()
			return fmt.Errorf("connect a UDP socket to the viewer: %w", err)
		}
		s.empty()
	}
	return nil
}

func (t *transport) bindPair(local netip.Addr) error {
	a, first, err := bindUDP(netip.AddrPortFrom(local, 0))
	if err != nil {
		return err
	}
	b, second, err := bindUDP(netip.AddrPortFrom(local, first^1))
	if err != nil {
		a.close()
		return err
	}
	if first > second {
		a, b, first, second = b, a, second, first
	}
	t.own, t.local = [2]socket{a, b}, [2]int{int(first), int(second)}
	return nil
}

func bindUDP(at netip.AddrPort) (s socket, port uint16, err error) {
	family := unix.AF_INET6
	if at.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return socket{}, 0, err
	}
	s = socket{fd}
	if err = unix.Bind(fd, sockaddr(at)); err == nil {
		var sa unix.Sockaddr
		sa, err = unix.Getsockname(fd)
		if bound, ok := addrPort(sa); ok {
			return s, bound.Port(), nil
		}
	}
	s.close()
	return socket{}, 0, errors.Join(err, errors.New("bind a UDP socket"))
}

// empty takes out what came before the socket was connected, which may be anybody's.
func (s socket) empty() {
	var one [1]byte
	for range maxCaught {
		if _, _, err := unix.Recvfrom(s.fd, one[:], unix.MSG_DONTWAIT); err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNREFUSED) {
			return
		}
	}
}

// close gives the sockets of a track back.
func (t *transport) close() {
	if t.udp && t.local[0] != 0 {
		t.own[0].close()
		t.own[1].close()
		t.local = [2]int{}
	}
}

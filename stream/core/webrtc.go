package core

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

const (
	// ingressBatch bounds how much is taken from one viewer before the others
	// have their turn.
	ingressBatch = 32

	// maxDatagram bounds what a viewer has to say.
	maxDatagram = 2048

	// flightPause is the shortest time between two resends of the DTLS server's
	// last flight.
	flightPause = 50 * time.Millisecond

	dtlsHandshake = 22 // RFC 6347 §4.1: a record's first byte
)

// peer is a WebRTC viewer. The gateway has negotiated with it; from then on
// nobody but the core holds its keys' use, reads from its socket or sends on it.
//
// Its DTLS session stayed with the gateway, so a close_notify that arrives here
// cannot be read: a viewer that leaves without an RTCP BYE is noticed when its
// consent expires. All that is done for DTLS is to send the server's last flight
// again to a viewer that missed it.
type peer struct {
	viewer
	*peerState
	id      string
	address netip.AddrPort

	local, remote srtp
	ice           iceLite
	flight        []byte // the DTLS server's last one
}

// peerState is what changes of a peer, as plain data.
type peerState struct {
	reports   uint32 // index of the next SRTCP packet
	replays   replayWindows
	consentAt int64 // when the last valid check came
	flownAt   int64

	resends     int64 // since resendsFrom
	resendsFrom int64

	resent, refused uint64
	reception       reception
}

// newPeer makes a peer from what the gateway said of it, with its state in a record.
func newPeer(spec *handover.Viewer, r *record) (*peer, error) {
	p := &peer{id: spec.ID, ice: newICELite(spec.ICE), flight: spec.Flight, peerState: &r.peer}
	p.out, p.fd, p.record = p, -1, r
	var err error
	if p.local, err = newSRTP(spec.SRTP.Profile, spec.SRTP.LocalKey, spec.SRTP.LocalSalt); err != nil {
		return nil, err
	}
	if p.remote, err = newSRTP(spec.SRTP.Profile, spec.SRTP.RemoteKey, spec.SRTP.RemoteSalt); err != nil {
		return nil, err
	}
	for i := range spec.Tracks {
		p.tracks = append(p.tracks, &track{trackState: &r.tracks[i], viewer: &p.viewer})
	}
	return p, nil
}

// begin gives the tracks of a new peer their first numbers.
func (p *peer) begin(tracks []handover.Track) {
	base := rand.Uint64()
	for i, t := range p.tracks {
		t.ssrc, t.pt = tracks[i].SSRC, tracks[i].PayloadType
		// In the lower half, so that a viewer who misses the first packets does not
		// miss a wrap of the number with them (RFC 3711 §3.3.1).
		t.index, t.base = uint64(rand.Uint32N(1<<15)), uint32(base>>(32*i))
	}
}

// attach makes a socket that is connected to the viewer the one it is served on.
func (p *peer) attach(c *Core, fd int, now int64) error {
	address, err := connectedTo(fd)
	if err != nil {
		return err
	}
	if err := c.poll.add(fd, unix.EPOLLIN, p); err != nil {
		return err
	}
	if p.fd >= 0 {
		c.poll.close(p.fd)
	}
	p.fd, p.address, p.consentAt, p.blockedAt = fd, address, now, 0
	return nil
}

// connectedTo is the address that a UDP socket is connected to.
func connectedTo(fd int) (netip.AddrPort, error) {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_UDP {
		return netip.AddrPort{}, fmt.Errorf("the descriptor is no UDP socket")
	}
	name, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the socket is not connected: %w", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("the socket's address is of no known family")
}

// ready takes what the viewer sent, and goes on sending if its socket was full.
func (p *peer) ready(c *Core, now int64) {
	if p.blockedAt != 0 {
		p.unblock(c)
		if p.blockedAt == 0 {
			c.poll.again(p.fd, unix.EPOLLIN)
		}
	}
	for range ingressBatch {
		n, errno := receive(p.fd, c.scratch[:maxDatagram])
		if errno == eagain {
			break
		}
		// Any other error is one that the network reported: consent decides.
		if errno != 0 || n == 0 || n > maxDatagram || !p.take(c, c.scratch[:n], now) {
			p.refused++
		}
		if p.fd < 0 {
			return
		}
	}
	p.pump(c)
}

// take handles one datagram by its first byte (RFC 7983); it reports false for
// one that is of no use.
func (p *peer) take(c *Core, msg []byte, now int64) bool {
	switch {
	case msg[0] <= 3:
		return p.check(msg, now)
	case msg[0] == dtlsHandshake && len(p.flight) > 0:
		p.fly(now)
		return true
	case msg[0]>>6 == 2 && len(msg) > 1 && msg[1] >= 192 && msg[1] <= 223: // RFC 5761 §4
		return p.feedback(c, msg, now)
	}
	return false
}

// check answers a connectivity or consent check.
func (p *peer) check(msg []byte, now int64) bool {
	if !p.ice.authentic(msg) {
		return false
	}
	p.consentAt = now
	_ = sendDatagram(p.fd, p.ice.answer(msg, p.address)) // lost: the viewer asks again
	return true
}

// fly answers a handshake record. The viewer sends one only if it has not seen
// the end of the handshake, and what it has not seen may be sent as it was.
func (p *peer) fly(now int64) {
	if now-p.flownAt >= int64(flightPause) {
		p.flownAt = now
		_ = sendDatagram(p.fd, p.flight) // lost: the viewer asks again
	}
}

// feedback opens an SRTCP packet and obeys it once.
func (p *peer) feedback(c *Core, msg []byte, now int64) bool {
	plain, index, ok := p.remote.openRTCP(c.plain[:0], msg)
	if !ok || !p.replays.fresh(binary.BigEndian.Uint32(plain[4:]), index) {
		return false
	}
	p.obey(c, plain, now)
	return true
}

// obey does what a compound of RTCP packets asks for; what is not known, and what
// follows a packet that is not whole, is skipped.
func (p *peer) obey(c *Core, compound []byte, now int64) {
	for pkt, rest, ok := nextRTCP(compound); ok; pkt, rest, ok = nextRTCP(rest) {
		if pkt.kind == rtcpBye {
			c.closeViewer(&p.viewer, handover.EndedClosed, "")
			return
		}
		p.about(c, &pkt, now)
	}
}

// about takes what an RTCP packet says of each track.
func (p *peer) about(c *Core, pkt *rtcpPacket, now int64) {
	for _, t := range p.tracks {
		if pkt.lostPicture(t.ssrc) {
			t.replay(now)
		}
		if block := pkt.report(t.ssrc); block != nil {
			p.reception = readReception(block, c.ntp(now))
		}
		for pairs := pkt.lostPackets(t.ssrc); len(pairs) > 0; pairs = pairs[4:] {
			p.resendPair(c, t, binary.BigEndian.Uint16(pairs), binary.BigEndian.Uint16(pairs[2:]), now)
		}
	}
}

// seal protects a payload; the packet is valid until the next call.
func (p *peer) seal(c *Core, t *track, head *[rtpHeader]byte, payload []byte, index uint64) []byte {
	head[0] = 0x80
	head[1] |= t.pt
	binary.BigEndian.PutUint32(head[8:], t.ssrc)
	return p.local.sealRTP(c.sealed[:0], head[:], payload, index)
}

// sendUnit implements [egress].
func (p *peer) sendUnit(c *Core, t *track, u *unit) bool { return t.sendEach(c, u, p.send) }

// send seals a packet and sends it. One that left, or that the network refused, has
// used up its index, and the viewer may ask for it again.
func (p *peer) send(c *Core, t *track, head *[rtpHeader]byte, pkt []byte) unix.Errno {
	payload, _ := rtpPayload(pkt) // no packet without one gets into an arena
	sealed := p.seal(c, t, head, payload, t.index)
	errno := sendDatagram(p.fd, sealed)
	if errno == unix.ECONNREFUSED { // about an earlier packet
		errno = sendDatagram(p.fd, sealed)
	}
	switch errno {
	case eintr:
		return eintr
	case eagain:
		c.poll.again(p.fd, unix.EPOLLIN|unix.EPOLLOUT)
		return eagain
	}
	at := t.line.arena.unit(t.unit).first + uint64(t.packet)
	t.sent.note(t.onLine, t.index, at, t.ts, head[1]&rtpMarker != 0)
	t.packets++
	t.octets += uint64(len(payload))
	return 0
}

// described implements [egress]: what a WebRTC viewer may get was negotiated.
func (p *peer) described(*track) {}

// leaving implements [egress].
func (p *peer) leaving(c *Core, reason, _ string) {
	delete(c.peers, p.id)
	report := p.report()
	c.log.Info("viewer ended", "id", p.id, "reason", reason,
		"packets", report.Packets, "resent", report.Resent, "refused", report.Refused, "lost", report.Lost)
	c.answer(handover.Message{Ended: &handover.Ended{ID: p.id, Reason: reason, Report: report}})
}

// report is what is known of the connection.
func (p *peer) report() handover.Report {
	r := handover.Report{Resent: p.resent, Refused: p.refused, Lost: p.reception.lost}
	for _, t := range p.tracks {
		r.Packets += t.packets
	}
	r.JitterMS = float64(p.reception.jitter) * 1000 / videoRate
	r.RoundTrip = float64(p.reception.trip) * 1000 / 65536
	return r
}

package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
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
	*flow   // of a framed leg
	kind    recordKind
	id      string
	spec    handover.Viewer
	address netip.AddrPort

	local, remote srtp
	ice           iceLite
	earlier       *iceLite // from before ICE was restarted, until the viewer uses the new one
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

// newPeer makes a peer from what the gateway said of it, with its state at a place.
func newPeer(spec *handover.Viewer, kind recordKind, at place) (*peer, error) {
	p := &peer{id: spec.ID, spec: *spec, kind: kind, ice: newICELite(spec.ICE), peerState: &at.peer, flow: &at.flow}
	p.out, p.fd, p.place = p, -1, at
	var err error
	if p.local, err = newSRTP(spec.SRTP.Profile, spec.SRTP.LocalKey, spec.SRTP.LocalSalt); err != nil {
		return nil, err
	}
	if p.remote, err = newSRTP(spec.SRTP.Profile, spec.SRTP.RemoteKey, spec.SRTP.RemoteSalt); err != nil {
		return nil, err
	}
	for i := range spec.Tracks {
		p.tracks = append(p.tracks, &track{trackState: &at.record.tracks[i], viewer: &p.viewer})
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

// renew takes new credentials of ICE. Checks with those before are answered until
// the viewer uses the new ones (RFC 8445 §9).
func (p *peer) renew(ice handover.ICE) error {
	spec := p.spec
	spec.ICE = ice
	if err := p.place.remember(&spec); err != nil {
		return err
	}
	before := p.ice
	p.spec, p.earlier, p.ice = spec, &before, newICELite(ice)
	return nil
}

// attach makes a socket that is connected to the viewer the one it is served on.
func (p *peer) attach(c *Core, fd int, now int64) error {
	far := connectedTo
	if p.kind == framedRecord {
		far = streamTo
	}
	address, err := far(fd)
	if err != nil {
		return err
	}
	if err := c.poll.add(fd, unix.EPOLLIN, p); err != nil {
		return err
	}
	if p.fd >= 0 {
		c.poll.close(p.fd)
	}
	c.keeper.keep(p.place.descriptor(0), fd)
	p.fd, p.address, p.consentAt, p.blockedAt = fd, address, now, 0
	p.segments = c.cuts(fd)
	return nil
}

// connectedTo is the address that a UDP socket is connected to.
func connectedTo(fd int) (netip.AddrPort, error) {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_UDP {
		return netip.AddrPort{}, errors.New("the descriptor is no UDP socket")
	}
	address, err := farEnd(fd)
	if err == nil && !address.IsValid() {
		err = errors.New("the socket's address is of no known family")
	}
	return address, err
}

// streamTo is the address that a stream socket is connected to; it is not valid if
// that is no address of the Internet.
func streamTo(fd int) (netip.AddrPort, error) {
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return netip.AddrPort{}, errors.New("the descriptor is no stream socket")
	}
	return farEnd(fd)
}

func farEnd(fd int) (netip.AddrPort, error) {
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
	return netip.AddrPort{}, nil
}

// ready takes what the viewer sent, and goes on sending if its socket was full.
func (p *peer) ready(c *Core, now int64) {
	if p.blockedAt != 0 {
		p.unblock(c)
		if p.blockedAt == 0 {
			c.poll.again(p.fd, unix.EPOLLIN)
		}
	}
	read := p.readDatagrams
	if p.kind == framedRecord {
		read = p.readStream
	}
	if read(c, now) {
		p.pump(c)
	}
}

// readDatagrams takes what came on a socket of its own; it reports false when the
// viewer is closed.
func (p *peer) readDatagrams(c *Core, now int64) bool {
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
			return false
		}
	}
	return true
}

// take handles one datagram by its first byte (RFC 7983); it reports false for
// one that is of no use.
func (p *peer) take(c *Core, msg []byte, now int64) bool {
	switch {
	case msg[0] <= 3:
		return p.check(c, msg, now)
	case msg[0] == dtlsHandshake && len(p.spec.Flight) > 0:
		p.fly(c, now)
		return true
	case msg[0]>>6 == 2 && len(msg) > 1 && msg[1] >= 192 && msg[1] <= 223: // RFC 5761 §4
		return p.feedback(c, msg, now)
	}
	return false
}

// check answers a connectivity or consent check.
func (p *peer) check(c *Core, msg []byte, now int64) bool {
	ice := &p.ice
	switch {
	case ice.authentic(msg):
		p.earlier = nil
	case p.earlier != nil && p.earlier.authentic(msg):
		ice = p.earlier
	default:
		return false
	}
	p.consentAt = now
	_ = p.emit(c, ice.answer(msg, p.address)) // lost: the viewer asks again
	return true
}

// fly answers a handshake record. The viewer sends one only if it has not seen
// the end of the handshake, and what it has not seen may be sent as it was.
func (p *peer) fly(c *Core, now int64) {
	if now-p.flownAt >= int64(flightPause) {
		p.flownAt = now
		_ = p.emit(c, p.spec.Flight) // lost: the viewer asks again
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
		if block := pkt.report(t.ssrc); block != nil && t == p.tracks[0] { // jitter is told in units of one clock
			p.reception = readReception(block, c.ntp(now))
		}
		for pairs := pkt.lostPackets(t.ssrc); len(pairs) > 0; pairs = pairs[4:] {
			p.resendPair(c, t, binary.BigEndian.Uint16(pairs), binary.BigEndian.Uint16(pairs[2:]), now)
		}
	}
}

// pack implements [packer]: it protects a payload.
func (p *peer) pack(dst []byte, head *[rtpHeader]byte, payload []byte, index uint64) []byte {
	return p.local.sealRTP(dst, head[:], payload, index)
}

// give implements [packer].
func (p *peer) give(c *Core, _ *track) (done int, full bool) { return c.burst.send(p.fd) }

// sendUnit implements [egress].
func (p *peer) sendUnit(c *Core, t *track, u *unit) bool {
	if p.kind == framedRecord {
		return t.sendEach(c, u, p.send)
	}
	if !t.sendBursts(c, u, p) {
		c.poll.again(p.fd, unix.EPOLLIN|unix.EPOLLOUT)
		return false
	}
	return true
}

// send seals a packet and sends it on a stream. One that was begun has used up its
// index.
func (p *peer) send(c *Core, t *track, head *[rtpHeader]byte, pkt []byte) unix.Errno {
	payload, _ := rtpPayload(pkt) // no packet without one gets into an arena
	t.sign(head)
	errno := p.emit(c, p.pack(c.sealed[:0], head, payload, t.index))
	if errno == eagain {
		c.poll.again(p.fd, unix.EPOLLIN|unix.EPOLLOUT)
	}
	if errno != 0 {
		return errno
	}
	at := t.line.arena.unit(t.unit).first + uint64(t.packet)
	t.sent.note(sentRun{line: t.onLine, index: t.index, packet: at, ts: t.ts, count: 1, marked: head[1]&rtpMarker != 0})
	t.packets++
	t.octets += uint64(len(payload))
	return 0
}

// described implements [egress]: what a WebRTC viewer may get was negotiated.
func (p *peer) described(*track) {}

// leaving implements [egress].
func (p *peer) leaving(c *Core, reason, sentence string) {
	delete(c.peers, p.id)
	p.sayGoodbye(c, sentence)
	report := p.report()
	c.log.Info("viewer ended", "id", p.id, "reason", reason,
		"packets", report.Packets, "resent", report.Resent, "refused", report.Refused, "lost", report.Lost)
	ended := &handover.Ended{ID: p.id, Reason: reason, Detail: sentence, Report: report}
	if p.isLeg() {
		c.tell(orders.Message{LegEnded: ended})
	}
	c.answer(handover.Message{Ended: ended})
}

// report is what is known of the connection.
func (p *peer) report() handover.Report {
	r := p.reception.report()
	r.Packets, r.Resent, r.Refused = p.sent(), p.resent, p.refused
	return r
}

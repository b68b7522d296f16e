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
	// askPatience is how long the gateway may take to answer a request.
	askPatience = 10 * time.Second

	// unsentLimit is what the kernel may hold for a viewer beyond what is on its way:
	// more would be pictures of the past.
	unsentLimit = 512 << 10

	playerEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET
)

// player is an RTSP viewer from its PLAY on. Its connection (fd) has packets on it
// and replies between them; over UDP (RFC 2326 §10.12 has both) the packets go
// their own ways, and the connection is there for requests.
//
// OPTIONS, GET_PARAMETER, SET_PARAMETER and TEARDOWN are answered here. All else
// is passed to the gateway, one request at a time: those behind it wait.
type player struct {
	viewer
	*playerState
	*flow
	id, session string
	spec        []handover.Track
	channels    [handover.MaxTracks]byte // of RTP; RTCP has the next one
	paths       []playerPath             // for each track; none: interleaved
	timeoutMS   int64
	address     netip.AddrPort
	passedTo    *gatewayConn // who has the request that waits
}

// playerState is what changes of a player, as plain data.
type playerState struct {
	askedAt   int64 // since when the request at the front of in waits for the gateway; 0: none does
	heardAt   int64
	parting   bool // it said goodbye, and is closed once that is answered
	refused   uint64
	reception reception
}

// servePlayer takes an RTSP viewer, answers its PLAY, and shows it its first picture.
func (c *Core) servePlayer(spec *handover.Player, fds []int, now int64) error {
	p, err := c.takePlayer(spec, fds, now)
	if err != nil {
		return err
	}
	c.players[p.id] = p
	p.place.kind = playerRecord
	c.answer(handover.Message{Taken: p.id})
	p.kept.add(spec.Reply)
	p.greet(c, now)
	p.in.have = int32(copy(p.in.buf[:], spec.Unread))
	p.ready(c, now)
	return nil
}

// takePlayer makes a viewer and puts it on its streams.
func (c *Core) takePlayer(spec *handover.Player, fds []int, now int64) (*player, error) {
	if c.viewerOf(spec.ID) != nil {
		return nil, fmt.Errorf("viewer %q is served already", spec.ID)
	}
	kept := *spec
	kept.Reply, kept.Unread = nil, nil
	at, err := c.records.take(&kept)
	if err != nil {
		return nil, err
	}
	p := newPlayer(spec, at)
	p.begin(spec.Tracks)
	p.countFrom(fds[0])
	p.heardAt = now
	if err := p.attach(c, fds); err != nil {
		at.free()
		return nil, err
	}
	if err := c.admitAll(&p.viewer, spec.Tracks, now); err != nil {
		p.closePaths(c)
		return nil, err
	}
	return p, nil
}

// newPlayer makes a player from what the gateway said of it, with its state at a
// place.
func newPlayer(spec *handover.Player, at place) *player {
	p := &player{id: spec.ID, session: spec.Session, spec: spec.Tracks, timeoutMS: spec.TimeoutMS, playerState: &at.player, flow: &at.flow}
	p.out, p.fd, p.place = p, -1, at
	for i, t := range spec.Tracks {
		p.channels[i] = t.Channel
		p.tracks = append(p.tracks, &track{trackState: &at.record.tracks[i], viewer: &p.viewer})
	}
	if spec.UDP {
		p.paths = make([]playerPath, len(spec.Tracks))
	}
	return p
}

// begin gives the tracks of a new player their first numbers.
func (p *player) begin(tracks []handover.Track) {
	for i, t := range p.tracks {
		t.ssrc, t.pt = tracks[i].SSRC, tracks[i].PayloadType
		t.index, t.base = uint64(tracks[i].Seq), rand.Uint32()
	}
}

// attach takes the descriptors: the connection, and over UDP two sockets for each
// track. Those that are kept are set to −1, all or none.
func (p *player) attach(c *Core, fds []int) error {
	address, err := streamTo(fds[0])
	if err != nil {
		return err
	}
	for _, fd := range fds[1:] {
		if _, err := connectedTo(fd); err != nil {
			return err
		}
	}
	// Neither can fail on a TCP socket, nor matters on another.
	_ = unix.SetsockoptInt(fds[0], unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fds[0], unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
	p.address = address
	handlers := p.handlers(fds)
	for i, fd := range fds {
		if err := c.poll.add(fd, playerEvents, handlers[i]); err != nil {
			for _, fd := range fds[:i] {
				c.poll.forget(fd)
			}
			return err
		}
	}
	p.fd = fds[0]
	p.segments = p.paths != nil && c.cuts(fds[1])
	for i, fd := range fds {
		c.keeper.keep(p.place.descriptor(i), fd)
		fds[i] = -1
	}
	return nil
}

// sendUnit implements [egress].
func (p *player) sendUnit(c *Core, t *track, u *unit) bool {
	if p.parting {
		return false
	}
	if p.paths != nil {
		return t.sendBursts(c, u, p)
	}
	for t.packet < u.count {
		if !p.flush(c) {
			return false
		}
		number := p.number(t)
		c.gather(t, u, p.channels[number])
		p.try(t, number)
		n, errno := c.batch.send(p.fd)
		p.took(c, t, n)
		if errno != 0 && !p.mayGoOn(c, errno) {
			return false
		}
	}
	return p.flush(c)
}

// number is which of the viewer's tracks it is.
func (p *player) number(t *track) int {
	if t == p.tracks[0] {
		return 0
	}
	return 1
}

// gather makes the batch of what is left of a unit, as far as it has room.
func (c *Core) gather(t *track, u *unit, channel byte) {
	c.batch.reset()
	for n := t.packet; n < u.count && !c.batch.full(); n++ {
		payload, _ := rtpPayload(t.line.arena.bytes(u.first + uint64(n))) // as no packet without one gets into an arena
		head := c.batch.add(payload)
		head[0], head[1] = '$', channel
		binary.BigEndian.PutUint16(head[2:], uint16(rtpHeader+len(payload)))
		rtp := header(t.index+uint64(n-t.packet), t.ts, u.marks(n))
		t.sign(&rtp)
		copy(head[interleavedHeader:], rtp[:])
	}
}

// took moves the cursor behind the packets of the batch that the viewer has taken
// n bytes of, and returns how many those are. A packet that was cut counts: what it
// left goes before all else.
func (p *player) took(c *Core, t *track, n int) (counted int) {
	b := &c.batch
	for i := 0; i < b.n && n > 0; i++ {
		if size := b.size(i); n < size {
			b.rest(i, n, &p.kept)
		}
		c.markFirst()
		t.packets++
		t.octets += uint64(b.payload(i))
		t.index++
		t.packet++
		counted += min(n, b.size(i))
		n -= b.size(i)
	}
	p.noted(counted)
	return counted
}

// flush writes what has to go before the next packet; it reports false while there
// is some of it left, and when the viewer is closed.
func (p *player) flush(c *Core) bool {
	errno := p.flow.flush(p.fd)
	if errno != 0 && !p.mayGoOn(c, errno) {
		return false
	}
	if p.parting {
		c.closeViewer(&p.viewer, handover.EndedAsked, "")
		return false
	}
	return true
}

// mayGoOn handles an error of the connection; one that does not pass ends the
// viewer. Over UDP a connection that is full keeps no packet waiting.
func (p *player) mayGoOn(c *Core, errno unix.Errno) bool {
	switch errno {
	case eintr:
		return true
	case eagain:
		if p.paths == nil {
			p.blockedAt = c.now()
		}
	default:
		c.closeViewer(&p.viewer, handover.EndedClosed, "")
	}
	return false
}

// tellTime sends each track's sender report, unless something else is waiting: the
// next one is as good.
func (p *player) tellTime(c *Core, now int64) {
	for i, t := range p.tracks {
		switch {
		case !t.begun:
		case p.paths != nil:
			_ = sendDatagram(p.paths[i].rtcp.fd, t.report(c, now).append(c.plain[:0]))
		case p.blockedAt != 0 || !p.kept.empty() || p.parting:
			return
		default:
			p.keepReport(c, i, now)
			if !p.flush(c) {
				return
			}
		}
	}
}

// greet sends each track's sender report before the first packet. Players that learn
// only later how picture and sound belong together jump when they do.
func (p *player) greet(c *Core, now int64) {
	for i, t := range p.tracks {
		if p.paths != nil {
			_ = sendDatagram(p.paths[i].rtcp.fd, t.report(c, now).append(c.plain[:0])) // the next one is as good
			continue
		}
		p.keepReport(c, i, now)
	}
}

// keepReport has a track's sender report written next. There is room for one of
// each track.
func (p *player) keepReport(c *Core, i int, now int64) {
	framed := p.tracks[i].report(c, now).append(append(c.plain[:0], '$', p.channels[i]+1, 0, 0))
	binary.BigEndian.PutUint16(framed[2:], uint16(len(framed)-interleavedHeader))
	p.kept.add(framed)
}

// described implements [egress]: RTSP has no word for it, and what a viewer may
// get was declared.
func (p *player) described(*track) {}

// tendPlayer ends a viewer over UDP that is not heard of any more, answers for a
// gateway that does not, and sends a sender report.
func (c *Core) tendPlayer(p *player, now int64) {
	if p.paths != nil && now-p.heardAt > p.timeoutMS*int64(time.Millisecond) {
		c.closeViewer(&p.viewer, handover.EndedSilent, "")
		return
	}
	if p.askedAt != 0 && (p.passedTo != c.gateway || now-p.askedAt > int64(askPatience)) {
		p.unanswered(c, now)
	}
	if p.fd >= 0 {
		p.tellTime(c, now)
	}
}

// leaving implements [egress].
func (p *player) leaving(c *Core, reason, sentence string) {
	delete(c.players, p.id)
	if reason == handover.EndedStuck {
		// What it has not taken is of no use to it any more, and need not be kept.
		_ = unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	p.sayGoodbye(c, sentence)
	p.closePaths(c)
	report := p.report()
	c.log.Info("viewer ended", "id", p.id, "reason", reason, "packets", report.Packets, "refused", report.Refused, "lost", report.Lost)
	c.answer(handover.Message{Ended: &handover.Ended{ID: p.id, Reason: reason, Detail: sentence, Report: report}})
}

// report is what is known of the connection.
func (p *player) report() handover.Report {
	r := p.reception.report()
	r.Packets, r.Refused = p.sent(), p.refused
	return r
}

// checkPlayer refuses what is no RTSP session.
func checkPlayer(p *handover.Player) error {
	switch {
	case !sessionID.MatchString(p.Session):
		return fmt.Errorf("viewer %q: session %q", p.ID, p.Session)
	case len(p.Reply) == 0 || len(p.Reply) > maxReply || len(p.Unread) > maxInflow:
		return fmt.Errorf("viewer %q: a reply of %d bytes and %d bytes behind it", p.ID, len(p.Reply), len(p.Unread))
	case p.UDP && (p.TimeoutMS < 1000 || p.TimeoutMS > maxTimeoutMS), p.TimeoutMS < 0:
		return fmt.Errorf("viewer %q: a timeout of %d ms", p.ID, p.TimeoutMS)
	}
	for i, t := range p.Tracks {
		if p.UDP {
			continue
		}
		for _, other := range p.Tracks[:i] {
			if apart := int(t.Channel) - int(other.Channel); apart >= -1 && apart <= 1 {
				return fmt.Errorf("viewer %q has two tracks on one channel", p.ID)
			}
		}
		if t.Channel == 255 {
			return fmt.Errorf("viewer %q: no channel for the reports of channel 255", p.ID)
		}
	}
	return checkTracks(p.ID, p.Tracks)
}

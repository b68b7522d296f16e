package core

import (
	"fmt"
	"regexp"

	"slipstream/stream/handover"
)

// requestBatch bounds how often a viewer's connection is read before the others have
// their turn, each time at most [maxInflow].
const requestBatch = 4

// maxTimeoutMS is a day.
const maxTimeoutMS = 24 * 60 * 60 * 1000

// sessionID is what a session may be called (RFC 2326 §3.4), and a little more: it
// becomes part of replies.
var sessionID = regexp.MustCompile(`^[A-Za-z0-9$._+-]{1,128}$`)

// ready goes on writing, then takes what the viewer has sent.
func (p *player) ready(c *Core, now int64) {
	p.goOn(c)
	if p.fd < 0 || !p.take(c, now) {
		return
	}
	for range requestBatch {
		if p.in.full() { // the gateway's answer is waited for
			return
		}
		n, errno := p.in.read(p.fd)
		switch {
		case errno == eagain:
			return
		case errno == eintr:
			continue
		case errno != 0 || n == 0:
			c.closeViewer(&p.viewer, handover.EndedClosed, "")
			return
		}
		if !p.take(c, now) {
			return
		}
	}
	c.poll.again(p.fd, playerEvents)
}

// goOn writes what could not be written before, and then what is new. A viewer
// that has taken nothing of it is blocked for as long as it was.
func (p *player) goOn(c *Core) {
	if p.paths != nil {
		p.flush(c)
		return
	}
	since, written := p.blockedAt, p.written
	p.blockedAt = 0
	if p.flush(c) {
		p.pump(c)
	}
	if p.fd >= 0 && p.blockedAt != 0 && since != 0 && p.written == written {
		p.blockedAt = since
	}
}

// take handles all that is whole of what was read; it reports false when the
// viewer is closed. A request has to wait for the answer to the one before it,
// and for room for its own.
func (p *player) take(c *Core, now int64) bool {
	for p.askedAt == 0 && !p.parting && p.kept.room(maxReply) {
		it := nextRTSP(p.in.waiting())
		switch it.kind {
		case rtspNothing:
			p.in.pass(it.size)
			return true
		case rtspBroken:
			c.closeViewer(&p.viewer, handover.EndedBroken, "")
			return false
		case rtspFrame:
			p.frame(c, &it, now)
		case rtspOversize, rtspAnswers:
			p.refused++
		case rtspAsks:
			p.heardAt = now
			p.request(c, &it.request, now)
		}
		if p.fd < 0 {
			return false
		}
		if p.askedAt == 0 {
			p.in.pass(it.size)
		}
	}
	return true
}

// request answers one, or passes it on.
func (p *player) request(c *Core, r *rtspRequest, now int64) {
	switch a := r.answer(p.session, p.timeoutMS); {
	case a.text != "":
		p.parting = a.leave
		p.say(c, a.text)
	case c.gateway == nil:
		p.say(c, r.reply(rtspUnavailable, ""))
	default:
		p.askedAt, p.passedTo = now, c.gateway
		c.answer(handover.Message{Asked: &handover.Asked{ID: p.id, Request: r.raw}})
	}
}

// say puts a reply between two packets.
func (p *player) say(c *Core, reply string) {
	p.kept.add([]byte(reply))
	if p.blockedAt == 0 {
		p.flush(c)
	}
}

// reply is the gateway's answer to the request that waits for it.
func (p *player) reply(c *Core, reply []byte, now int64) error {
	switch {
	case p.askedAt == 0 || p.passedTo != c.gateway:
		return fmt.Errorf("viewer %q has asked nothing", p.id)
	case len(reply) == 0 || len(reply) > maxReply:
		p.unanswered(c, now)
		return fmt.Errorf("viewer %q: a reply of %d bytes", p.id, len(reply))
	}
	p.answered(c, string(reply), now)
	return nil
}

// unanswered is the reply in place of the gateway's.
func (p *player) unanswered(c *Core, now int64) {
	it := nextRTSP(p.in.waiting())
	p.answered(c, it.request.reply(rtspUnavailable, ""), now)
}

// answered ends the wait for the gateway, and goes on with what has come since.
func (p *player) answered(c *Core, reply string, now int64) {
	p.in.pass(nextRTSP(p.in.waiting()).size)
	p.askedAt, p.passedTo = 0, nil
	p.say(c, reply)
	if p.fd >= 0 {
		p.ready(c, now)
	}
}

// frame takes a packet that came on the connection.
func (p *player) frame(c *Core, it *rtspItem, now int64) {
	for i := range p.tracks {
		switch it.channel {
		case p.channels[i]: // what some clients send to open a way for the packets
			return
		case p.channels[i] + 1:
			p.hear(c, it.body, now)
			return
		}
	}
	p.refused++
}

// hear takes RTCP: reports, a lost picture, goodbye.
func (p *player) hear(c *Core, compound []byte, now int64) {
	pkt, rest, ok := nextRTCP(compound)
	if !ok {
		p.refused++
		return
	}
	p.heardAt = now
	for ; ok; pkt, rest, ok = nextRTCP(rest) {
		if pkt.kind == rtcpBye {
			c.closeViewer(&p.viewer, handover.EndedClosed, "")
			return
		}
		for _, t := range p.tracks {
			if pkt.lostPicture(t.ssrc) {
				t.replay(now)
			}
			if block := pkt.report(t.ssrc); block != nil && t == p.tracks[0] { // jitter is told in units of one clock
				p.reception = readReception(block, c.ntp(now))
			}
		}
	}
}

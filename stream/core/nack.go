package core

import "time"

const (
	// sentRuns is how many access units back a viewer may ask for lost packets:
	// four seconds at 30 frames a second.
	sentRuns = 128

	// resendLimit and resendWindow bound what one viewer may have looked for and sent
	// again.
	resendLimit  = 256
	resendWindow = 100 * time.Millisecond
)

// sentRun is a run of packets that a viewer was sent: part of one access unit,
// with indices and places in the arena that count up together. The line is
// part of it: a packet is never looked for among another version's.
type sentRun struct {
	line   uint64 // its number
	index  uint64 // of the first packet
	packet uint64 // its number in the line's arena
	ts     uint32
	count  uint32
	marked bool // the last packet ended its unit
}

// sentLog remembers where the packets that a viewer was sent lie, so that they
// can be sealed again. It keeps no packet.
type sentLog struct {
	runs [sentRuns]sentRun
	head uint64 // runs kept: up to sentRuns before head
}

// note adds packets that were sent by one call. Those of which some are there already
// become a run of their own, which is looked at before the one that has these.
func (s *sentLog) note(next sentRun) {
	if s.head > 0 {
		r := &s.runs[(s.head-1)%sentRuns]
		n := uint64(r.count)
		if r.line == next.line && r.ts == next.ts && !r.marked && r.index+n == next.index && r.packet+n == next.packet {
			r.count += next.count
			r.marked = next.marked
			return
		}
	}
	s.runs[s.head%sentRuns] = next
	s.head++
}

// find returns the packet with an index as it was sent, if it is still there.
func (s *sentLog) find(lines map[uint64]*line, index uint64) (pkt []byte, ts uint32, marked, ok bool) {
	for n := s.head; n > 0 && s.head-n < sentRuns; n-- {
		r := &s.runs[(n-1)%sentRuns]
		if index >= r.index+uint64(r.count) {
			break // never sent
		}
		if index < r.index {
			continue
		}
		at, l := r.packet+index-r.index, lines[r.line]
		if l == nil || at < l.arena.packetTail || at >= l.arena.packetHead {
			break
		}
		return l.arena.bytes(at), r.ts, r.marked && index == r.index+uint64(r.count)-1, true
	}
	return nil, 0, false, false
}

// indexOf is the index of the newest packet before next with a sequence number.
func indexOf(seq uint16, next uint64) uint64 {
	return next - 1 - uint64(uint16(next-1)-seq)
}

// resendPair sends the packets of one NACK pair again (RFC 4585 §6.2.1).
func (p *peer) resendPair(c *Core, t *track, seq, following uint16, now int64) {
	if now-p.resendsFrom > int64(resendWindow) {
		p.resends, p.resendsFrom = 0, now
	}
	for ; ; seq, following = seq+1, following>>1 {
		p.resend(c, t, seq)
		for ; following != 0 && following&1 == 0; following >>= 1 {
			seq++
		}
		if following == 0 {
			return
		}
	}
}

// sendDoubtful sends again what was on its way when the process before ended.
func (p *peer) sendDoubtful(c *Core) {
	for _, t := range p.tracks {
		w := &t.onWay
		if !w.doubt {
			continue
		}
		for n := range w.count {
			p.resend(c, t, uint16(w.index+uint64(n)))
		}
		w.doubt = false
	}
}

// resend sends a packet again, byte for byte: the same header and payload under
// the same index.
func (p *peer) resend(c *Core, t *track, seq uint16) {
	if p.resends >= resendLimit || p.blockedAt != 0 {
		return
	}
	p.resends++ // found or not: looking for it costs, too
	index := indexOf(seq, t.index)
	pkt, ts, marked, ok := t.sent.find(c.lines, index)
	if !ok {
		return
	}
	payload, _ := rtpPayload(pkt) // as it was sent
	c.head = header(index, ts, marked)
	t.sign(&c.head)
	if p.emit(c, p.pack(c.sealed[:0], &c.head, payload, index)) == 0 {
		p.resent++
	}
}

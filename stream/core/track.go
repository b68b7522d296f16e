package core

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

const (
	eagain = unix.EAGAIN
	eintr  = unix.EINTR

	// kickAfter is how long a viewer may take nothing before it is closed.
	kickAfter = 5 * time.Second

	// freshKey is how old a key frame may be to answer a picture loss with.
	freshKey = 300 * time.Millisecond

	// replayPause is the shortest time between two replays to one viewer.
	replayPause = 100 * time.Millisecond

	// joinStep spaces the frames between a new viewer's first picture and now:
	// they are to be decoded at once, not played as the past.
	joinSteps = 1000 // a second
)

// egress is a viewer's way out: what differs between the kinds of viewers.
type egress interface {
	// sendUnit gives the rest of a unit away, from the track's packet on, and moves
	// the track's cursor behind what has left (see [track.sendEach], and
	// [track.sendBursts] for many packets at a time). It reports false
	// if the viewer takes no more for now, or is closed.
	sendUnit(c *Core, t *track, u *unit) bool
	// described is called after a switch that changed the stream's SDP.
	described(t *track)
	// leaving is called right before the viewer's socket is closed, with one of
	// the reasons of [handover.Ended] and, if there is one to tell, a sentence.
	leaving(c *Core, reason, sentence string)
}

// viewer is whoever plays: what all kinds of viewers have in common.
type viewer struct {
	out       egress
	fd        int      // −1: closed
	tracks    []*track // one for each stream that it gets
	place     place    // in memory that outlives the process; zero: it ends with the forwarder
	blockedAt int64    // when the socket became full; 0: it is not
	segments  bool     // what goes to it by datagrams may be cut by the kernel (see [burst])
}

// track is a viewer's cursor into the arena of the line that a stream follows. It
// moves to another line only between access units.
type track struct {
	*trackState
	viewer *viewer
	stream *stream // nil until it is admitted to one
	line   *line   // whose units it is at; nil: waits for a key frame
	rate   int64   // of the RTP clock, in Hz
	agreed agreement
}

// trackState is a track as plain data.
type trackState struct {
	ssrc  uint32
	pt    uint8
	codec text // of its stream, by its name in package orders

	onLine uint64 // the line's number; 0: none
	unit   uint64 // next one to send, in line's arena
	packet uint32 // next one of that unit
	index  uint64 // of the next packet: its sequence number and, above it, how often that wrapped
	base   uint32 // added to the capture time
	ts     uint32 // of the unit being sent
	last   uint32 // of the last unit sent
	begun  bool   // last is valid

	onWay onWay

	catchUp struct { // units that are sent at once, their times spread over (last, to]
		left uint32
		to   uint32
	}
	lastReplay int64

	packets, octets uint64 // sent, without the resent ones
	sent            sentLog
}

// onWay are the packets that are given to the kernel by one call, noted before and
// after it. A process can die at any moment in between, and then nobody knows which
// of them have left.
type onWay struct {
	open   bool   // set last, cleared first
	doubt  bool   // they were when another process ended, and have yet to be sent again
	marked bool   // the last one ends its unit
	packet uint32 // the first one's number in its unit, as below
	count  uint32
	index  uint64
	place  uint64 // in the arena
}

// leaves notes that the next n packets are about to be sent.
func (t *track) leaves(u *unit, n uint32) {
	w := &t.onWay
	w.marked, w.packet, w.count, w.index, w.place = u.marks(t.packet+n-1), t.packet, n, t.index, u.first+uint64(t.packet)
	w.open = true
}

// countOnWay takes the packets that were on their way when another process ended as
// sent: their indices are used up. What the track would send under them now may be
// other packets, because another line is followed, or the same one at another time.
// The viewer is sent them again as some that it has lost, byte for byte.
func (t *track) countOnWay() {
	w := &t.onWay
	if !w.open {
		return
	}
	t.sent.note(sentRun{line: t.onLine, index: w.index, packet: w.place, ts: t.ts, count: w.count, marked: w.marked})
	t.index, t.packet = w.index+uint64(w.count), w.packet+w.count
	w.doubt = true
	w.open = false
}

// at puts the cursor on a line; nil: it waits for a key frame.
func (t *track) at(l *line) {
	t.line, t.onLine = l, 0
	if l != nil {
		t.onLine = l.number
	}
}

// replay answers a lost picture from the arena if a key frame is fresh, else by
// asking the app for one.
func (t *track) replay(now int64) {
	l := t.stream.followed
	if l == nil || l.codec.sound() {
		return
	}
	a := l.arena
	if !a.hasKey || now-a.unit(a.key).arrival > int64(freshKey) {
		l.wishKey(now)
		return
	}
	if t.line == l && t.packet == 0 && now-t.lastReplay > int64(replayPause) {
		t.lastReplay = now
		t.start(l, l.arena.key, now)
	}
}

// start puts the cursor on a key frame of the line; what has come since is sent
// at once, its times spread up to now. Now is what the line's next frame could be
// captured at if it is as late as the last one was: its own time then follows
// without a step. A key frame that is gone is replaced by the last one.
func (t *track) start(l *line, key uint64, now int64) {
	if l.codec.sound() {
		t.hear(l, now)
		return
	}
	a := l.arena
	t.at(l)
	t.packet = 0
	if !a.hasKey {
		t.at(nil)
		return
	}
	t.unit = key
	if key < a.unitTail || key > a.key {
		t.unit = a.key
	}
	n := uint32(a.unitHead - t.unit)
	newest := a.unit(a.unitHead - 1)
	to := t.base + ticks(newest.capture+max(now-newest.arrival, 0), t.rate)
	if !t.begun {
		t.last, t.begun = to-n*uint32(t.rate/joinSteps), true
	}
	t.catchUp.left, t.catchUp.to = n, to
}

// begin puts the cursor on the line that the stream follows: a viewer who comes
// from another line where all of them went on, unless that is long ago; a new one
// at the last key frame. A line that has ended is not begun with: its pictures
// are of the past, and nothing would follow them.
func (t *track) begin(now int64) {
	l := t.stream.followed
	if !l.alive() {
		t.at(nil)
		return
	}
	key := l.arena.key
	if t.line != nil && l.arena.unitHead-t.stream.entry <= maxReplayFrames {
		key = t.stream.entry
	}
	t.start(l, key, now)
}

// stamp is the RTP time of the unit that the cursor is at: its capture time,
// except that time never goes back.
func (t *track) stamp(u *unit) uint32 {
	ts := t.base + ticks(u.capture, t.rate)
	if left := t.catchUp.left; left > 0 {
		t.catchUp.left--
		room := int32(t.catchUp.to - t.last)
		ts = t.last + uint32(max(room, 0))/left
	}
	if t.begun && int32(ts-t.last) <= 0 {
		ts = t.last + 1
	}
	t.begun = true
	return ts
}

// unblock goes on sending to a viewer whose socket was full and may have room.
func (v *viewer) unblock(c *Core) {
	since, sent := v.blockedAt, v.progress()
	v.blockedAt = 0
	v.pump(c)
	if v.blockedAt != 0 && since != 0 && v.progress() == sent {
		v.blockedAt = since // it took nothing
	}
}

// progress counts what the viewer has taken.
func (v *viewer) progress() (n uint64) {
	for _, t := range v.tracks {
		n += t.index
	}
	return n
}

// sent counts the packets, without the resent ones.
func (v *viewer) sent() (n uint64) {
	for _, t := range v.tracks {
		n += t.packets
	}
	return n
}

// pump lets all of the viewer's tracks go on.
func (v *viewer) pump(c *Core) {
	for _, t := range v.tracks {
		t.pump(c)
	}
}

// pump sends whole units until there is no more or the socket is full.
func (t *track) pump(c *Core) {
	if t.stream == nil || t.viewer.blockedAt != 0 {
		return
	}
	for {
		if t.packet == 0 && t.line != t.stream.followed && t.stream.followed != nil {
			t.begin(c.now())
		}
		if t.line == nil {
			return
		}
		a := t.line.arena
		if t.unit < a.unitTail { // lapped: what it would have seen is gone
			t.start(t.line, t.line.arena.key, c.now())
			continue
		}
		if t.unit >= a.unitHead {
			return
		}
		u := a.unit(t.unit)
		if t.packet == 0 && t.heardBefore(u) {
			t.unit++
			continue
		}
		if t.packet == 0 {
			t.ts = t.stamp(u)
		}
		if !t.viewer.out.sendUnit(c, t, u) {
			return
		}
		t.stream.handed(c, t.line, t.unit)
		t.last, t.packet = t.ts, 0
		t.unit++
		c.shown = true
	}
}

// sendEach is an egress' sendUnit, packet by packet. Send is given each packet of the
// arena under a new header, of which the sequence number, the time and the marker
// are set and all else is 0. EAGAIN says that nothing left, and that the viewer is
// unblocked when it can.
func (t *track) sendEach(c *Core, u *unit, send func(c *Core, t *track, head *[rtpHeader]byte, pkt []byte) unix.Errno) bool {
	head := &c.head
	for t.packet < u.count {
		pkt := t.line.arena.bytes(u.first + uint64(t.packet))
		*head = header(t.index, t.ts, u.marks(t.packet))
		t.leaves(u, 1)
		switch errno := send(c, t, head, pkt); errno {
		case 0:
		case eagain:
			t.onWay.open = false
			t.viewer.blockedAt = c.now()
			return false
		case eintr:
			continue
		default:
			c.closeViewer(t.viewer, handover.EndedClosed, "")
			return false
		}
		c.markFirst()
		t.index++
		t.packet++
		t.onWay.open = false
	}
	return true
}

func header(index uint64, ts uint32, marker bool) (head [rtpHeader]byte) {
	if marker {
		head[1] = rtpMarker
	}
	binary.BigEndian.PutUint16(head[2:], uint16(index))
	binary.BigEndian.PutUint32(head[4:], ts)
	return head
}

// sign completes a header with what the viewer knows the track by.
func (t *track) sign(head *[rtpHeader]byte) {
	head[0] = 0x80
	head[1] |= t.pt
	binary.BigEndian.PutUint32(head[8:], t.ssrc)
}

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
	joinStep = videoRate / 1000
)

// egress is a viewer's way out: what differs between the kinds of viewers.
type egress interface {
	// send gives a packet of the arena away under a new header, of which the
	// sequence number, the time and the marker are set and all else is 0. EAGAIN
	// says that nothing left, and that the viewer's pump is called when it can.
	send(c *Core, head *[rtpHeader]byte, pkt []byte) unix.Errno
	// described is called after a switch that changed the stream's SDP.
	described()
	// leaving is called right before the viewer's socket is closed, with one of
	// the reasons of [handover.Ended] and, if there is one to tell, a sentence.
	leaving(c *Core, reason, sentence string)
}

// viewer is a cursor into the arena of the line that its stream follows. It
// moves to another line only between access units.
type viewer struct {
	out    egress
	fd     int
	stream *stream // nil until it is admitted to one
	line   *line   // whose units it is at; nil: waits for a key frame

	unit   uint64 // next one to send, in line's arena
	packet uint32 // next one of that unit
	index  uint64 // of the next packet: its sequence number and, above it, how often that wrapped
	base   uint32 // added to the capture time
	ts     uint32 // of the unit being sent
	last   uint32 // of the last unit sent
	begun  bool   // last is valid

	catchUp struct { // units that are sent at once, their times spread over (last, to]
		left uint32
		to   uint32
	}
	blockedAt  int64 // when the socket became full; 0: it is not
	lastReplay int64
}

// replay answers a lost picture from the arena if a key frame is fresh, else by
// asking the app for one.
func (v *viewer) replay(now int64) {
	l := v.stream.followed
	if l == nil {
		return
	}
	a := l.arena
	if !a.hasKey || now-a.unit(a.key).arrival > int64(freshKey) {
		l.wishKey(now)
		return
	}
	if v.line == l && v.packet == 0 && now-v.lastReplay > int64(replayPause) {
		v.lastReplay = now
		v.start(l, l.arena.key, now)
	}
}

// start puts the cursor on a key frame of the line; what has come since is sent
// at once, its times spread up to now. Now is what the line's next frame could be
// captured at if it is as late as the last one was: its own time then follows
// without a step. A key frame that is gone is replaced by the last one.
func (v *viewer) start(l *line, key uint64, now int64) {
	a := l.arena
	v.line, v.packet = l, 0
	if !a.hasKey {
		v.line = nil
		return
	}
	v.unit = key
	if key < a.unitTail || key > a.key {
		v.unit = a.key
	}
	n := uint32(a.unitHead - v.unit)
	newest := a.unit(a.unitHead - 1)
	to := v.base + ticks(newest.capture+max(now-newest.arrival, 0))
	if !v.begun {
		v.last, v.begun = to-n*joinStep, true
	}
	v.catchUp.left, v.catchUp.to = n, to
}

// begin puts the cursor on the line that the stream follows: a viewer who comes
// from another line where all of them went on, unless that is long ago; a new one
// at the last key frame. A line that has ended is not begun with: its pictures
// are of the past, and nothing would follow them.
func (v *viewer) begin(now int64) {
	l := v.stream.followed
	if !l.alive() {
		v.line = nil
		return
	}
	key := l.arena.key
	if v.line != nil && l.arena.unitHead-v.stream.entry <= maxReplayFrames {
		key = v.stream.entry
	}
	v.start(l, key, now)
}

// stamp is the RTP time of the unit that the cursor is at: its capture time,
// except that time never goes back.
func (v *viewer) stamp(u *unit) uint32 {
	ts := v.base + ticks(u.capture)
	if left := v.catchUp.left; left > 0 {
		v.catchUp.left--
		room := int32(v.catchUp.to - v.last)
		ts = v.last + uint32(max(room, 0))/left
	}
	if int32(ts-v.last) <= 0 {
		ts = v.last + 1
	}
	return ts
}

// unblock goes on sending to a viewer whose socket was full and may have room.
func (v *viewer) unblock(c *Core) {
	since, index := v.blockedAt, v.index
	v.blockedAt = 0
	v.pump(c)
	if v.blockedAt != 0 && since != 0 && v.index == index {
		v.blockedAt = since // it took nothing
	}
}

// pump sends whole units until there is no more or the socket is full.
func (v *viewer) pump(c *Core) {
	if v.stream == nil || v.blockedAt != 0 {
		return
	}
	for {
		if v.packet == 0 && v.line != v.stream.followed && v.stream.followed != nil {
			v.begin(c.now())
		}
		if v.line == nil {
			return
		}
		a := v.line.arena
		if v.unit < a.unitTail { // lapped: what it would have seen is gone
			v.start(v.line, v.line.arena.key, c.now())
			continue
		}
		if v.unit >= a.unitHead {
			return
		}
		u := a.unit(v.unit)
		if v.packet == 0 {
			v.ts = v.stamp(u)
		}
		if !v.sendUnit(c, u) {
			return
		}
		v.unit, v.packet, v.last = v.unit+1, 0, v.ts
	}
}

// sendUnit sends the rest of a unit; it reports false if the viewer cannot take
// more or is closed.
func (v *viewer) sendUnit(c *Core, u *unit) bool {
	head := &c.head
	for v.packet < u.count {
		pkt := v.line.arena.bytes(u.first + uint64(v.packet))
		*head = header(v.index, v.ts, v.packet == u.count-1)
		switch errno := v.out.send(c, head, pkt); errno {
		case 0:
		case eagain:
			v.blockedAt = c.now()
			return false
		case eintr:
			continue
		default:
			c.closeViewer(v, handover.EndedClosed, "")
			return false
		}
		c.markFirst()
		v.index++
		v.packet++
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

package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const (
	// readBatch bounds how much is taken from one publisher before the others
	// have their turn.
	readBatch = 256

	// readTurn bounds the same in time: every packet goes to every viewer. It is
	// looked at each readStride packets.
	readTurn   = 5 * time.Millisecond
	readStride = 16

	// keyWish is the shortest time between two key frame requests to one line.
	keyWish = 200 * time.Millisecond

	rtpHeader = 12
	rtpMarker = 0x80

	// Bounds of a frame interval that is believed, for bounds counted in frames.
	minInterval     = 8 * time.Millisecond
	maxInterval     = 200 * time.Millisecond
	defaultInterval = 40 * time.Millisecond
)

// line is one stream of one source: a publisher's connection and its arena. The
// arena outlives the connection, and both outlive the process.
type line struct {
	*lineState
	memory memory[lineMemory]
	source *source
	stream *stream
	spec   orders.Stream
	codec  codec
	fd     int // −1 once the publisher is gone
	lock   *lockWatch
	arena  *arena
	sdp    []byte
	endAt  int64 // when the publisher was gone
}

// lineMemory is a line as it lies in memory that outlives the process.
type lineMemory struct {
	line  lineState
	arena arena
	sdp   struct {
		n     uint32
		bytes [publish.MaxHello]byte
	}
}

// lineState is what a line knows of itself, as plain data.
type lineState struct {
	number         uint64 // names the line, and is never used twice by a forwarder and its successors
	sourceID, name text

	clock  captureClock
	steady steadyClock // of sound
	params parameterSets
	pt     uint8
	rate   int64 // of the RTP clock, in Hz

	ts       uint32 // of the open unit
	setsSeen bool   // the open unit brought its own parameter sets
	seq      uint16 // next one expected
	started  bool

	interval    int64 // between the last two frames, as captured
	lastUnit    int64 // arrival of the last whole unit
	lastCapture int64
	lastWish    int64
	gaps        gapMeter
	stall       stallJudge

	frames, keyFrames, octets, missed, foreign uint64
	holes                                      holeCounter

	meter   meter
	resumed int64 // when the source was thawed; 0 once a frame came that counts
}

// newLine makes a line in memory of its own.
func (c *Core) newLine(src *source, spec orders.Stream) (*line, error) {
	codec, err := c.codecFor(src, spec)
	if err != nil {
		return nil, &mediaError{err}
	}
	m, err := newMemory[lineMemory]("line")
	if err != nil {
		return nil, err
	}
	m.data.line.number = c.records.nextLine()
	m.data.line.sourceID.set(string(src.spec.ID))
	m.data.line.name.set(spec.Name)
	l := lineOf(m, src, c.streams[spec.Name], spec, codec)
	l.takeUpPast()
	return l, nil
}

// codecFor is the codec of a new line. Viewers of a stream have agreed to one, and to a
// profile, so a version that is beyond them is refused here unless it says that it
// breaks with them; the permanent one may have been the first. No picture becomes a
// sound.
func (c *Core) codecFor(src *source, spec orders.Stream) (codec, error) {
	codec, err := codecOf(spec.Codec)
	if err != nil {
		return nil, err
	}
	its := c.streams[spec.Name].codec
	before := orders.Stream{Codec: codecName(its)}
	if permanent := c.sources[c.permanent]; permanent != nil && its == codec {
		if declared, ok := permanent.stream(spec.Name); ok {
			before = declared
		}
	}
	now := spec.Strands(before.Codec, before.Profile)
	switch {
	case its.sound() != codec.sound():
		return nil, fmt.Errorf("stream %s is %s; give it another name", spec.Name, now)
	case now != "" && !spec.Breaks && src.spec.ID != c.permanent:
		return nil, fmt.Errorf("stream %s is %s, which those who watch it cannot follow; give it another name, or have the manifest name it in app.breaks", spec.Name, now)
	}
	return codec, nil
}

func lineOf(m memory[lineMemory], src *source, s *stream, spec orders.Stream, codec codec) *line {
	if m.data.line.rate == 0 {
		m.data.line.rate = codec.clockRate()
	}
	m.data.arena.small = codec.sound()
	return &line{lineState: &m.data.line, memory: m, source: src, stream: s, spec: spec, codec: codec, fd: -1, arena: &m.data.arena}
}

func (l *line) alive() bool { return l.fd >= 0 }

// ready takes what the publisher sent.
func (l *line) ready(c *Core, now int64) {
	for i := range readBatch {
		if i%readStride == readStride-1 && c.now()-now > int64(readTurn) {
			return // epoll says again that there is more
		}
		buf := l.arena.space()
		n, errno := receive(l.fd, buf)
		switch {
		case errno == eagain || errno == eintr:
			return
		case errno == errRights:
			c.ban(l.source)
			c.refuse(l, "a message with descriptors that nobody has asked for")
			return
		case errno != 0 || n == 0:
			if c.ignores(orders.ByEOF) {
				c.poll.mute(l.fd)
				return
			}
			c.endLine(l, orders.CauseEOF, orders.ByEOF, "the publisher closed its connection", c.now())
			return
		case n > len(buf):
			c.refuse(l, fmt.Sprintf("a message of %d bytes is over the limit of %d", n, len(buf)))
			return
		}
		if reason := l.take(c, buf[:n]); reason != "" {
			c.refuse(l, reason)
			return
		}
	}
}

// take handles one message, which lies in the arena's free space. It returns
// why the line must be refused, or "".
func (l *line) take(c *Core, msg []byte) (refusal string) {
	switch {
	case msg[0]>>6 == 2 && len(msg) >= rtpHeader:
		return l.packet(c, msg)
	case msg[0] == publish.MsgClock && len(msg) == publish.ClockSize:
		ts := binary.BigEndian.Uint32(msg[1:])
		if l.clock.tell(ts, int64(binary.BigEndian.Uint64(msg[5:])), c.now()) {
			l.holes.told(binary.BigEndian.Uint64(msg[13:]), l.frames)
		}
		return ""
	}
	return "a message that is neither RTP nor a capture clock"
}

func (l *line) packet(c *Core, pkt []byte) (refusal string) {
	payload, ok := rtpPayload(pkt)
	if !ok {
		return "a malformed RTP packet"
	}
	if pkt[1]&^rtpMarker != l.pt {
		l.foreign++
		return ""
	}
	seq, ts := binary.BigEndian.Uint16(pkt[2:]), binary.BigEndian.Uint32(pkt[4:])
	if l.started {
		l.missed += uint64(seq - l.seq)
	}
	l.seq, l.started = seq+1, true
	info, refusal := l.codec.look(payload)
	if refusal != "" {
		return refusal
	}
	now := c.now()
	a := l.arena
	if a.open.count > 0 && ts != l.ts {
		l.finish(c, now) // the publisher left out the marker
	}
	if a.open.count == 0 {
		a.begin(l.captured(ts, now), now)
		l.ts, l.setsSeen = ts, false
	}
	if refusal := l.parameterSets(info); refusal != "" {
		return refusal
	}
	if info.key && !a.open.key {
		a.open.key = true
		pkt = l.prependSets(c, pkt)
	}
	a.append(len(pkt))
	a.open.marked = pkt[1]&rtpMarker != 0 || !l.codec.sound()
	l.octets += uint64(len(pkt))
	if a.tooLarge() {
		return fmt.Sprintf("a frame of more than %d bytes or %d packets", maxUnitBytes, maxUnitPackets)
	}
	if pkt[1]&rtpMarker != 0 || l.codec.sound() {
		l.finish(c, now)
	}
	return ""
}

// captured is the capture time of the unit that begins with RTP time ts.
func (l *line) captured(ts uint32, now int64) int64 {
	mono := l.clock.at(ts, l.rate, now)
	if l.codec.sound() {
		mono = l.steady.at(ts, l.rate, mono)
	}
	return mono
}

// parameterSets keeps what a payload, or the SDP, brought of them.
func (l *line) parameterSets(info unitInfo) (refusal string) {
	for kind, set := range info.sets {
		if len(set) == 0 {
			continue
		}
		fresh := !bytes.Equal(set, l.params.sets[kind].get())
		if fresh && kind == setSPS && l.spec.Profile != "" && l.codec == (h264{}) {
			refusal = beyondProfile(set, l.spec.Profile)
		}
		if fresh && refusal == "" {
			refusal = l.params.set(l.codec, kind, set)
		}
		if refusal != "" {
			return refusal
		}
		l.setsSeen = true
	}
	if info.width > 0 {
		l.params.width, l.params.height, l.params.step = info.width, info.height, info.step
	}
	if p, d := &l.params, &l.spec; !p.fit(d.Width, d.Height) {
		return fmt.Sprintf("stream %s is %dx%d, the manifest declares %dx%d", d.Name, p.width, p.height, d.Width, d.Height)
	}
	return ""
}

// prependSets puts the parameter sets in front of a key frame that came without
// them, so that every one can be decoded by a viewer who saw nothing before it, or
// another version's sets. It returns where the picture's packet lies now.
func (l *line) prependSets(c *Core, pkt []byte) []byte {
	if l.setsSeen || !l.codec.whole(&l.params) {
		return pkt
	}
	l.arena.open.injected = true
	picture := c.scratch[:copy(c.scratch[:], pkt)]
	for i := range l.params.sets {
		set := l.params.sets[i].get()
		if len(set) == 0 {
			continue
		}
		buf := l.arena.space()
		copy(buf, picture[:rtpHeader])
		buf[0], buf[1] = 0x80, l.pt
		l.arena.append(rtpHeader + copy(buf[rtpHeader:], set))
	}
	buf := l.arena.space()
	return buf[:copy(buf, picture)]
}

// finish shows the open unit to whoever follows the line.
func (l *line) finish(c *Core, now int64) {
	u := l.arena.finish()
	if l.resumed != 0 && l.stale(u, now) {
		l.arena.forget()
		return
	}
	if l.frames > 0 && l.resumed == 0 {
		l.interval = min(max(u.capture-l.lastCapture, int64(minInterval)), int64(maxInterval))
		l.gaps.add(now-l.lastUnit, now)
	}
	l.frames++
	if u.key {
		l.keyFrames++
	}
	l.lastUnit, l.lastCapture, l.resumed = now, u.capture, 0
	l.stall.heard(now)
	l.meter.add(u, now)
	c.unitDone(l)
}

// frameInterval is the time between frames, for bounds counted in frames.
func (l *line) frameInterval() int64 {
	if l.interval == 0 {
		return int64(defaultInterval)
	}
	return l.interval
}

// wishKey asks the publisher for a key frame unless it was asked just now.
func (l *line) wishKey(now int64) {
	if !l.alive() || l.codec.sound() || l.source.frozen() || now-l.lastWish < int64(keyWish) {
		return
	}
	l.lastWish = now
	if wish := l.source.wish; wish != nil {
		wish(l.spec.Name)
	}
	// A publisher that does not read its wishes keeps its own key frame interval.
	_ = sendControl(l.fd, []byte{publish.MsgKeyFrame})
}

func (l *line) status(now int64) orders.LineStatus {
	return orders.LineStatus{
		Source: l.source.spec.ID, Alive: l.alive(), Codec: l.spec.Codec, Frames: l.frames, KeyFrames: l.keyFrames, Bytes: l.octets,
		LastFrame: l.lastUnit, LongestGapMS: milliseconds(l.gaps.longest(now)),
		Missed: l.missed, Holes: l.holes.count, Width: int(l.params.width), Height: int(l.params.height),
	}
}

// rtpPayload returns a packet's payload (RFC 3550 §5.1), not empty.
func rtpPayload(pkt []byte) ([]byte, bool) {
	at := rtpHeader + 4*int(pkt[0]&0x0f)
	if pkt[0]&0x10 != 0 {
		if len(pkt) < at+4 {
			return nil, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(pkt[at+2:]))
	}
	end := len(pkt)
	if pkt[0]&0x20 != 0 {
		end -= int(pkt[end-1])
	}
	if at >= end {
		return nil, false
	}
	return pkt[at:end], true
}

// holeCounter finds frames that were captured and never sent, from the capture
// counter that comes with the clock.
type holeCounter struct {
	set              bool
	captured, frames uint64
	count            uint64
}

// told takes the capture counter at a moment when so many frames had been received.
func (h *holeCounter) told(captured, frames uint64) {
	if h.set && captured > h.captured {
		took, got := captured-h.captured, frames-h.frames
		if took > got {
			h.count += took - got
		}
	}
	h.set, h.captured, h.frames = true, captured, frames
}

func milliseconds(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }

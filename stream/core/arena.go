package core

import "slipstream/stream/publish"

// Sizes of one line's arena. 3 MiB keep 3 s of an 8 Mbit/s stream.
const (
	arenaBytes   = 3 << 20
	soundBytes   = 1 << 18 // of them, for sound: more is not touched
	arenaPackets = 1 << 12
	arenaUnits   = 1 << 9

	// maxUnitBytes and maxUnitPackets bound one access unit, so that a whole one
	// and the key frame before it always fit.
	maxUnitBytes   = arenaBytes / 3
	maxUnitPackets = arenaPackets / 3
)

// packet is one RTP packet's place in the arena.
type packet struct {
	off uint32
	len uint16
}

// unit is one access unit: packets first … first+count−1.
type unit struct {
	first   uint64
	count   uint32
	bytes   uint32
	capture int64 // CLOCK_MONOTONIC ns
	arrival int64 // of its first packet
	key     bool  // holds a key frame
	// injected says that the key frame was given its parameter sets here.
	injected bool
	marked   bool // the last packet has the marker bit
}

// marks says that the unit's n-th packet has the marker bit. A picture's last one
// has it, whatever its publisher did; sound keeps what it came with.
func (u *unit) marks(n uint32) bool { return u.marked && n == u.count-1 }

// arena keeps the newest packets of one line, in the order of arrival, with an
// index of whole access units. It is the GOP cache, the store for lost packets and
// the first picture of a new viewer in one. Packets and units are named by numbers
// that only grow; the newest unit is open until its last packet is in and is not
// shown to viewers, so that a source that dies in the middle of a frame leaves no
// half frame.
//
// It allocates nothing, and is plain data: it may lie in memory that outlives the
// process. Each counter is set after what it counts.
type arena struct {
	write int64 // where the next packet goes
	small bool  // for sound

	packetTail, packetHead uint64 // packets kept: tail … head−1
	unitTail, unitHead     uint64 // whole units kept: tail … head−1

	open   unit // being received; count 0: none
	key    uint64
	hasKey bool // unit key is whole, holds a key frame and is still kept

	packets [arenaPackets]packet
	units   [arenaUnits]unit
	buf     [arenaBytes]byte
}

// sound says that what the arena says of itself can be true: nothing in it points
// outside of it. It is asked once, about the arena of a process that has died.
func (a *arena) sound() bool {
	if a.packetTail > a.packetHead || a.packetHead-a.packetTail > arenaPackets ||
		a.unitTail > a.unitHead || a.unitHead-a.unitTail > arenaUnits ||
		a.write < 0 || a.write > arenaBytes || a.hasKey && (a.key < a.unitTail || a.key >= a.unitHead) {
		return false
	}
	for n := a.packetTail; n < a.packetHead; n++ {
		if p := a.packet(n); int(p.off)+int(p.len) > arenaBytes || p.len < rtpHeader {
			return false
		}
	}
	for n := a.unitTail; n < a.unitHead; n++ {
		if u := a.unit(n); u.first < a.packetTail || u.first+uint64(u.count) > a.packetHead || u.count == 0 {
			return false
		}
	}
	o := &a.open
	return o.count == 0 || o.first >= a.packetTail && o.first+uint64(o.count) <= a.packetHead
}

// mend undoes what a process had begun when it died: a packet that no unit has, and
// a unit that is whole and still open.
func (a *arena) mend() {
	if o := &a.open; o.count > 0 {
		a.packetHead = o.first + uint64(o.count)
		if a.unitHead > a.unitTail && a.unit(a.unitHead-1).first == o.first {
			a.open = unit{}
		}
	}
}

func (a *arena) packet(n uint64) *packet { return &a.packets[n%arenaPackets] }
func (a *arena) unit(n uint64) *unit     { return &a.units[n%arenaUnits] }

// bytes returns packet n; it stays valid until the next call of space.
func (a *arena) bytes(n uint64) []byte {
	p := a.packet(n)
	return a.buf[p.off : p.off+uint32(p.len)]
}

// space returns room for the next packet, dropping the oldest ones for it.
func (a *arena) space() []byte {
	size := int64(arenaBytes)
	if a.small {
		size = soundBytes
	}
	if a.write+publish.MaxPacket > size {
		a.write = 0
	}
	end := a.write + publish.MaxPacket
	for a.packetTail < a.packetHead {
		p := a.packet(a.packetTail)
		full := a.packetHead-a.packetTail == arenaPackets
		if !full && (int64(p.off) >= end || int64(p.off)+int64(p.len) <= a.write) {
			break
		}
		a.dropPacket()
	}
	return a.buf[a.write:end]
}

// dropPacket gives up the oldest packet and with it the unit that it is part of.
func (a *arena) dropPacket() {
	for a.unitTail < a.unitHead && a.unit(a.unitTail).first <= a.packetTail {
		a.dropUnit()
	}
	a.packetTail++
}

func (a *arena) dropUnit() {
	if a.hasKey && a.key == a.unitTail {
		a.hasKey = false
	}
	a.unitTail++
}

// append makes the first n bytes of the last space the open unit's next packet.
func (a *arena) append(n int) {
	*a.packet(a.packetHead) = packet{off: uint32(a.write), len: uint16(n)}
	if a.open.count == 0 {
		a.open.first = a.packetHead
	}
	a.write += int64(n)
	a.open.bytes += uint32(n)
	a.packetHead++
	a.open.count++
}

// begin opens a unit.
func (a *arena) begin(capture, arrival int64) {
	a.open = unit{capture: capture, arrival: arrival}
}

// tooLarge says that the open unit has outgrown its bounds.
func (a *arena) tooLarge() bool {
	return a.open.bytes > maxUnitBytes || a.open.count > maxUnitPackets
}

// finish closes the open unit and shows it to viewers.
func (a *arena) finish() *unit {
	if a.unitHead-a.unitTail == arenaUnits {
		a.dropUnit()
	}
	u := a.unit(a.unitHead)
	*u = a.open
	a.unitHead++
	if u.key {
		a.key, a.hasKey = a.unitHead-1, true
	}
	a.open = unit{}
	return u
}

// sinceKey counts the units from the last key frame on, that one included;
// 0 if no key frame is kept.
func (a *arena) sinceKey() uint64 {
	if !a.hasKey {
		return 0
	}
	return a.unitHead - a.key
}

// keyUpTo is the newest key frame that was captured at a time or before, if what
// has come since may be sent again at once; else the last key frame.
func (a *arena) keyUpTo(capture, now int64) uint64 {
	for n := a.unitHead; n > a.unitTail && a.unitHead-n < maxReplayFrames; {
		n--
		u := a.unit(n)
		if now-u.arrival > int64(maxReplayTime) {
			break
		}
		if u.key && u.capture <= capture {
			return n
		}
	}
	return a.key
}

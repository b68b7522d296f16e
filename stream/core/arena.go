package core

import "slipstream/stream/publish"

// Sizes of one line's arena. 3 MiB keep 3 s of an 8 Mbit/s stream.
const (
	arenaBytes   = 3 << 20
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
	key     bool  // holds an IDR picture
}

// arena keeps the newest packets of one line, in the order of arrival, with an
// index of whole access units. It is the GOP cache and the first picture of a
// new viewer in one. Packets and units are named by numbers that only grow; the
// newest unit is open until its last packet is in and is not shown to viewers,
// so that a source that dies in the middle of a frame leaves no half frame.
//
// It allocates nothing after newArena.
type arena struct {
	buf     []byte
	packets []packet
	units   []unit
	write   int // where the next packet goes

	packetTail, packetHead uint64 // packets kept: tail … head−1
	unitTail, unitHead     uint64 // whole units kept: tail … head−1

	open   unit // being received; count 0: none
	key    uint64
	hasKey bool // unit key is whole, holds an IDR and is still kept
}

func newArena() *arena {
	return &arena{
		buf:     make([]byte, arenaBytes),
		packets: make([]packet, arenaPackets),
		units:   make([]unit, arenaUnits),
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
	if a.write+publish.MaxPacket > len(a.buf) {
		a.write = 0
	}
	end := a.write + publish.MaxPacket
	for a.packetTail < a.packetHead {
		p := a.packet(a.packetTail)
		full := a.packetHead-a.packetTail == arenaPackets
		if !full && (int(p.off) >= end || int(p.off)+int(p.len) <= a.write) {
			break
		}
		a.dropPacket()
	}
	return a.buf[a.write:end]
}

// dropPacket gives up the oldest packet and with it the unit that it is part of.
func (a *arena) dropPacket() {
	a.packetTail++
	for a.unitTail < a.unitHead && a.unit(a.unitTail).first < a.packetTail {
		a.dropUnit()
	}
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
	a.open.count++
	a.open.bytes += uint32(n)
	a.packetHead++
	a.write += n
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
	if u.key {
		a.key, a.hasKey = a.unitHead, true
	}
	a.unitHead++
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

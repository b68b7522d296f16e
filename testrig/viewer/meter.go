package viewer

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"slipstream/testrig/camera"
)

// Meter takes the times of a stream's packets and little else, so that a hundred
// of them fit into one process: use it as a [Sink]. It is safe for concurrent use.
type Meter struct {
	mu    sync.Mutex // guards what follows
	begun bool
	next  uint16
	ts    uint32
	first time.Duration // arrival of the unit's first packet
	stamp camera.Stamp
	known bool // the unit's stamp was seen
	idr   bool
	keyAt time.Duration
	total Measured
}

// Measured is what a meter has taken.
type Measured struct {
	Packets int
	Lost    int             // numbers that were skipped
	First   []time.Duration // from the stamp to a unit's first packet
	Whole   []time.Duration // from the stamp to its last one
}

// Packet takes a packet that arrived at a CLOCK_MONOTONIC time.
func (m *Meter) Packet(at time.Duration, p *rtp.Packet) {
	c := inspect(p.Payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if skipped := int16(p.SequenceNumber - m.next); m.begun && skipped > 0 {
		m.total.Lost += int(skipped)
	}
	if !m.begun || p.Timestamp != m.ts {
		m.first, m.known, m.idr = at, false, false
	}
	m.begun, m.next, m.ts = true, p.SequenceNumber+1, p.Timestamp
	m.total.Packets++
	m.idr = m.idr || c.idr
	if c.stamped {
		m.stamp, m.known = c.stamp, true
	}
	if !p.Marker {
		return
	}
	if m.idr && m.keyAt == 0 {
		m.keyAt = at
	}
	if m.known {
		m.total.First = append(m.total.First, m.first-m.stamp.Captured)
		m.total.Whole = append(m.total.Whole, at-m.stamp.Captured)
	}
}

// KeyAt is when the first whole key frame had come; 0: none has.
func (m *Meter) KeyAt() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keyAt
}

// Take returns what was measured since the last call.
func (m *Meter) Take() Measured {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.total
	m.total = Measured{}
	return taken
}

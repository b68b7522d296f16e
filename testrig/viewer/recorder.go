package viewer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"slipstream/testrig/camera"
)

// maxUnits bounds a recorder: the newest two hours at 30 frames a second.
const maxUnits = 2 * 60 * 60 * camera.FrameRate

// seenPackets is how far back a sequence number is known again as a duplicate.
const seenPackets = 1024

// Unit is one access unit as it arrived.
type Unit struct {
	First, Last time.Duration // arrival of its first and last packet, CLOCK_MONOTONIC
	Stamp       camera.Stamp
	IDR         bool

	time     int64 // RTP time, counted on over its wrap
	complete bool
	verdict
}

// fault is a defect of one packet.
type fault struct {
	at        time.Duration
	duplicate bool // otherwise a sequence break
}

// Recorder writes down one stream's packets. It is safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex // guards what follows
	units  []Unit
	faults []fault
	judge  judge
	wake   chan struct{} // closed and replaced with each unit

	started  bool
	nextSeq  uint16
	seen     [seenPackets]uint16
	seenLen  int
	lastTS   uint32
	extTS    int64
	open     *Unit
	openTS   uint32
	hasSlice bool
	stamped  bool
	stamps   bool // a stamp was seen: every unit must have one
}

// NewRecorder is empty.
func NewRecorder() *Recorder { return &Recorder{wake: make(chan struct{})} }

// Packet takes a packet that arrived at a CLOCK_MONOTONIC time.
func (r *Recorder) Packet(at time.Duration, p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sequence(at, p.SequenceNumber) {
		return
	}
	if r.open != nil && p.Timestamp != r.openTS {
		r.open.complete = false // its marker never came
		r.close()
	}
	if r.open == nil {
		r.begin(at, p.Timestamp)
	}
	c := inspect(p.Payload)
	r.open.Last = at
	r.open.IDR = r.open.IDR || c.idr
	r.hasSlice = r.hasSlice || c.slice
	if c.stamped {
		r.open.Stamp, r.stamped = c.stamp, true
	}
	if p.Marker {
		r.close()
	}
}

// sequence judges a packet's number; false if the packet is of no use any more.
func (r *Recorder) sequence(at time.Duration, seq uint16) bool {
	if !r.started {
		r.started, r.nextSeq = true, seq
	}
	step := int16(seq - r.nextSeq)
	if step < 0 && r.known(seq) {
		r.faults = append(r.faults, fault{at, true})
		return false
	}
	if step != 0 {
		r.faults = append(r.faults, fault{at, false})
		if r.open != nil {
			r.open.complete = false
		}
	}
	r.seen[r.seenLen%seenPackets] = seq
	r.seenLen++
	if step < 0 {
		return false // late: its access unit is judged already
	}
	r.nextSeq = seq + 1
	return true
}

func (r *Recorder) known(seq uint16) bool {
	return slices.Contains(r.seen[:min(r.seenLen, seenPackets)], seq)
}

func (r *Recorder) begin(at time.Duration, ts uint32) {
	if len(r.units) == 0 {
		r.lastTS = ts
	}
	r.extTS += int64(int32(ts - r.lastTS))
	r.lastTS, r.openTS = ts, ts
	r.open = &Unit{First: at, Last: at, time: r.extTS, complete: true}
	r.hasSlice, r.stamped = false, false
}

func (r *Recorder) close() {
	u := *r.open
	r.open = nil
	r.stamps = r.stamps || r.stamped
	u.complete = u.complete && r.hasSlice && (r.stamped || !r.stamps)
	u.verdict = r.judge.unit(u, r.stamped)
	if len(r.units) == maxUnits {
		r.units = append(r.units[:0], r.units[maxUnits/2:]...)
	}
	r.units = append(r.units, u)
	close(r.wake)
	r.wake = make(chan struct{})
}

// Wait returns the first unit for which found holds, seen already or to come.
func (r *Recorder) Wait(ctx context.Context, what string, found func(Unit) bool) (Unit, error) {
	for {
		r.mu.Lock()
		wake, at := r.wake, slices.IndexFunc(r.units, found)
		if at >= 0 {
			defer r.mu.Unlock()
			return r.units[at], nil
		}
		r.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return Unit{}, fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// WaitVersion returns the first unit of a version that began at or after an instant.
func (r *Recorder) WaitVersion(ctx context.Context, version string, after time.Duration) (Unit, error) {
	return r.Wait(ctx, "a picture of version "+version, func(u Unit) bool {
		return u.Stamp.Version == version && u.First >= after
	})
}

package viewer

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

const (
	askEach = 20 * time.Millisecond // a lost packet is asked for so often
	giveUp  = 2 * time.Second       // and then taken as lost
	maxHeld = 4096                  // packets behind a lost one
)

// repairer puts packets in order and asks for those that are missing.
type repairer struct {
	mu    sync.Mutex // guards what follows
	sink  func(time.Duration, *rtp.Packet)
	begun bool
	next  uint16 // the number that is due
	since time.Time
	held  map[uint16]*rtp.Packet
	last  uint16 // the newest number that came
	asked map[uint16]bool
	total int
}

func newRepairer() *repairer {
	return &repairer{held: map[uint16]*rtp.Packet{}, asked: map[uint16]bool{}}
}

// run asks until the returned function is called.
func (r *repairer) run(pc *webrtc.PeerConnection, track *webrtc.TrackRemote, sink func(time.Duration, *rtp.Packet)) (stop func()) {
	r.sink = sink
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(askEach)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if missing := r.missing(); len(missing) > 0 {
				_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{ // asked again soon
					MediaSSRC: uint32(track.SSRC()), Nacks: rtcp.NackPairsFromSequenceNumbers(missing),
				}})
			}
		}
	}()
	return func() { close(quit); <-done }
}

// packet takes a packet as it comes.
func (r *repairer) packet(at time.Duration, p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seq := p.SequenceNumber
	if !r.begun {
		r.begun, r.next, r.last = true, seq, seq
	}
	if int16(seq-r.next) < 0 || r.held[seq] != nil {
		return // a copy
	}
	if int16(seq-r.last) > 0 {
		r.last = seq
	}
	if len(r.held) == 0 {
		r.since = time.Now()
	}
	r.held[seq] = p
	r.deliver(at)
}

// deliver passes on what is in order.
func (r *repairer) deliver(at time.Duration) {
	for {
		p := r.held[r.next]
		if p == nil {
			return
		}
		delete(r.held, r.next)
		delete(r.asked, r.next)
		r.next++
		r.since = time.Now()
		r.sink(at, p)
	}
}

// missing are the numbers to ask for now.
func (r *repairer) missing() (seqs []uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held) == 0 {
		return nil
	}
	if time.Since(r.since) > giveUp || len(r.held) > maxHeld {
		for r.held[r.next] == nil {
			r.next++
		}
		r.deliver(now())
	}
	for seq := r.next; int16(r.last-seq) > 0; seq++ {
		if r.held[seq] != nil {
			continue
		}
		seqs = append(seqs, seq)
		if !r.asked[seq] {
			r.asked[seq] = true
			r.total++
		}
	}
	return seqs
}

func (r *repairer) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

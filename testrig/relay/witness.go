package relay

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"sync"

	"golang.org/x/sys/unix"
)

// Witness writes down what a server sends: which RTP packet had which index. An
// index is a synchronisation source and a sequence number that is counted on over
// its wraps, which is what SRTP's nonces are made of (RFC 3711 §3.3.1), and can be
// read without a key.
type Witness struct {
	mu      sync.Mutex // guards what follows
	seed    maphash.Seed
	sources map[uint32]*seen
}

// seen are one source's packets.
type seen struct {
	newest  int64
	packets map[int64]uint64
	again   int
	reused  []int64
}

// NewWitness has seen nothing.
func NewWitness() *Witness {
	return &Witness{seed: maphash.MakeSeed(), sources: map[uint32]*seen{}}
}

const (
	rtpHeader = 12
	firstRTCP = 192 // packet types of RTCP beside RTP, RFC 5761 §4
	lastRTCP  = 223
)

// Packet takes a packet; what is no RTP is none of its business.
func (w *Witness) Packet(b []byte) {
	if len(b) < rtpHeader || b[0]>>6 != 2 || b[1] >= firstRTCP && b[1] <= lastRTCP {
		return
	}
	seq, ssrc := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:])
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sources[ssrc]
	if s == nil {
		s = &seen{newest: int64(seq), packets: map[int64]uint64{}}
		w.sources[ssrc] = s
	}
	index := s.newest + int64(int16(seq-uint16(s.newest)))
	s.newest = max(s.newest, index)
	sum := maphash.Bytes(w.seed, b)
	switch before, known := s.packets[index]; {
	case !known:
		s.packets[index] = sum
	case before == sum:
		s.again++
	default:
		s.reused = append(s.reused, index)
	}
}

// Testimony is what a witness has to say.
type Testimony struct {
	Sources int // synchronisation sources
	Packets int // different ones
	Again   int // that came again, byte for byte
	Reused  int // that had the index of another packet
	Missing int // indices between the first and the last that no packet had
}

// Say sums up what was seen.
func (w *Witness) Say() (t Testimony) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Sources = len(w.sources)
	for _, s := range w.sources {
		first := s.newest
		for index := range s.packets {
			first = min(first, index)
		}
		t.Packets += len(s.packets)
		t.Again += s.again
		t.Reused += len(s.reused)
		t.Missing += int(s.newest-first) + 1 - len(s.packets)
	}
	return t
}

func refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

package core

import (
	"encoding/json"
	"errors"
	"fmt"

	"slipstream/stream/handover"
)

const (
	// maxRecords bounds the viewers of all streams together, those that the gateway
	// carries aside.
	maxRecords = 1024

	// maxSpec bounds what a viewer was handed over with.
	maxSpec = 8 << 10
)

// record is one viewer as plain data, in memory that outlives the process: what it
// was handed over with, and how far it has come.
type record struct {
	kind recordKind // set last, cleared first
	spec struct {
		n     uint32
		bytes [maxSpec]byte // JSON of what the gateway or the agent has sent
	}
	tracks [handover.MaxTracks]trackState
	peer   peerState
	player playerState
	flow   flow // of an RTSP viewer, or a framed leg
}

// recordKind says whose record it is.
type recordKind uint32

const (
	freeRecord recordKind = iota
	peerRecord
	playerRecord
	legRecord
	framedRecord // a leg, too
)

// ledger is all that a forwarder must remember to go on where another one ended.
// Whoever has it has the keys of all viewers: it is given to the agent and to a
// successor, and to nobody else.
type ledger struct {
	lines   uint64 // numbers given to lines
	keys    keyRing
	records [maxRecords]record
}

// records gives out the ledger's places.
type records struct {
	memory memory[ledger]
	search int // where the search for a free place begins
}

func newRecords() (*records, error) {
	m, err := newMemory[ledger]("ledger")
	if err != nil {
		return nil, err
	}
	return &records{memory: m}, nil
}

func (r *records) nextLine() uint64 {
	r.memory.data.lines++
	return r.memory.data.lines
}

var errNoRecord = fmt.Errorf("there are %d viewers already", maxRecords)

// take gives out a place for a viewer that was handed over with spec. It is the
// caller's to mark as used once the viewer is whole, or to free.
func (r *records) take(spec any) (*record, error) {
	for range maxRecords {
		r.search = (r.search + 1) % maxRecords
		if one := &r.memory.data.records[r.search]; one.kind == freeRecord {
			return one, one.remember(spec)
		}
	}
	return nil, errNoRecord
}

// remember keeps what a viewer was handed over with, in place of what there was.
func (one *record) remember(spec any) error {
	body, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if len(body) > maxSpec {
		return errors.New("what the viewer was handed over with is too long")
	}
	one.spec.n = uint32(copy(one.spec.bytes[:], body))
	return nil
}

// free forgets a viewer, with its keys; nil is none.
func (r *records) free(one *record) {
	if one == nil {
		return
	}
	one.kind = freeRecord
	*one = record{}
}

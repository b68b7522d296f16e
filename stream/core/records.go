package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
	"strconv"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
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
	layout  uint64 // of everything that outlives the process
	lines   uint64 // numbers given to lines
	book    book
	ended   keptEndings
	keys    keyRing
	records [maxRecords]record
}

// book holds the agent's last orders. The page that is current is always whole.
type book struct {
	current uint32
	pages   [2]struct {
		n     uint32
		bytes [orders.MaxMessage]byte
	}
}

func (b *book) write(body []byte) {
	next := 1 - b.current&1
	page := &b.pages[next]
	page.n = uint32(copy(page.bytes[:], body))
	b.current = next
}

func (b *book) read() []byte {
	page := &b.pages[b.current&1]
	return page.bytes[:min(int(page.n), len(page.bytes))]
}

// layout tells this program's form of what outlives it from that of another one
// which must not read it.
var layout = layoutOf(reflect.TypeFor[ledger](), reflect.TypeFor[lineMemory]())

func layoutOf(types ...reflect.Type) uint64 {
	h := fnv.New64a()
	for _, t := range types {
		describeLayout(h, t)
	}
	return h.Sum64()
}

func describeLayout(w io.Writer, t reflect.Type) {
	fmt.Fprintf(w, "%s %d;", t.Kind(), t.Size())
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.Fields() {
			fmt.Fprintf(w, "%s %d:", f.Name, f.Offset)
			describeLayout(w, f.Type)
		}
	case reflect.Array:
		describeLayout(w, t.Elem())
	}
}

// records gives out the ledger's places.
type records struct {
	memory memory[ledger]
}

func newRecords() (*records, error) {
	m, err := newMemory[ledger]("ledger")
	if err != nil {
		return nil, err
	}
	m.data.layout = layout
	return &records{memory: m}, nil
}

// errLayout says that two forwarders cannot read each other's records.
var errLayout = errors.New("the forwarder before keeps its records in another form; its viewers have to come back")

// openRecords takes over an earlier forwarder's. The descriptor stays the caller's on
// an error.
func openRecords(fd int) (*records, error) {
	m, err := openMemory[ledger](fd)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errLayout, err)
	}
	if m.data.layout != layout {
		m.unmap()
		return nil, errLayout
	}
	return &records{memory: m}, nil
}

func (r *records) nextLine() uint64 {
	r.memory.data.lines++
	return r.memory.data.lines
}

var errNoRecord = fmt.Errorf("there are %d viewers already", maxRecords)

// take gives out the first free place to a viewer that was handed over with spec: as
// much memory is touched as there ever were viewers at once. It is the caller's to
// mark as used once the viewer is whole, or to free.
func (r *records) take(spec any) (place, error) {
	for n := range maxRecords {
		if at := r.place(n); at.kind == freeRecord {
			*at.record = record{} // a process may have died while it forgot a viewer
			return at, at.remember(spec)
		}
	}
	return place{}, errNoRecord
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

// written is what a viewer was handed over with.
func (one *record) written(into any) error {
	return json.Unmarshal(one.spec.bytes[:min(int(one.spec.n), maxSpec)], into)
}

// whose is the name of the viewer whose record it is, with its key if it has one; "":
// nobody's.
func (one *record) whose() string {
	var spec handover.Viewer // of a player, the name is the same
	if one.kind == freeRecord || one.written(&spec) != nil {
		return ""
	}
	return spec.ID + string(spec.SRTP.LocalKey)
}

// place is a record and the name by which its viewer's descriptors are kept.
type place struct {
	*record
	name   string
	number int
}

func (r *records) place(n int) place {
	return place{&r.memory.data.records[n], "viewer." + strconv.Itoa(n), n}
}

// descriptor is the name of the viewer's n-th descriptor.
func (p place) descriptor(n int) string { return p.name + "." + strconv.Itoa(n) }

// maxDescriptors is how many descriptors a viewer may have: a connection, and two
// sockets for each track.
const maxDescriptors = 1 + 2*handover.MaxTracks

// free forgets a viewer, with its keys; the zero place is none.
func (p place) free() {
	if p.record != nil {
		p.kind = freeRecord
		*p.record = record{}
	}
}

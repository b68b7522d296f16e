package trust

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"time"

	"slipstream/verify"
)

// Format of a copy on disk, drawn in the package comment.
const (
	magic      = "SLIPTRS\n"
	format     = 1
	headerSize = len(magic) + 12
	maxFile    = 8 << 20 // bytes; the chains of roots are the most of it
)

// The years that a stored time can be in.
const minYear, maxYear = 2020, 2300

// document is the state as it is written. Later versions add members at its top
// and change none: what an older agent does not know it keeps in others.
type document struct {
	Generation uint64               `json:"generation"`
	Floors     map[string]int64     `json:"floors,omitempty"` // releaseCounter, by product
	Epoch      int64                `json:"epoch,omitempty"`  // securityEpoch
	Vendor     [][]byte             `json:"vendor,omitempty"` // roots that follow the factory's, base64
	Fleet      *fleet               `json:"fleet,omitempty"`
	Left       string               `json:"left,omitempty"` // digest of the configured fleet root that was left
	Time       moment               `json:"time,omitzero"`
	Slots      map[string]Installed `json:"slots,omitempty"`

	others map[string]json.RawMessage
}

// fleet is the fleet that the device belongs to.
type fleet struct {
	Root     []byte   `json:"root"` // that was enrolled
	Steps    [][]byte `json:"steps,omitempty"`
	Sequence int64    `json:"sequence,omitempty"` // of the newest order
	Newest   string   `json:"newest,omitempty"`   // its digest
}

// moment is secure time when the document was written.
type moment struct {
	Own   time.Time `json:"own,omitzero"`   // from the build and from releases
	Fleet time.Time `json:"fleet,omitzero"` // from the fleet's freshness key
	Boot  string    `json:"boot,omitempty"` // boot id, and the time since that boot
	Since int64     `json:"since,omitempty"`
}

// Installed is a version that was verified and is whole in a slot.
type Installed struct {
	Product string `json:"product"`
	Digest  string `json:"digest"` // of its package
	Counter int64  `json:"counter"`
	Epoch   int64  `json:"epoch,omitempty"`
}

func (d *document) clone() *document {
	c := *d
	c.Floors, c.Slots = maps.Clone(d.Floors), maps.Clone(d.Slots)
	if d.Fleet != nil {
		f := *d.Fleet
		c.Fleet = &f
	}
	return &c
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal writes the document down.
func (d *document) seal() ([]byte, error) {
	known, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the trust state: %w", err)
	}
	members := maps.Clone(d.others)
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	if err := json.Unmarshal(known, &members); err != nil {
		return nil, fmt.Errorf("encode the trust state: %w", err)
	}
	doc, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encode the trust state: %w", err)
	}
	if len(doc) > maxFile-headerSize {
		return nil, fmt.Errorf("the trust state has %d bytes, the limit is %d", len(doc), maxFile-headerSize)
	}
	return sealText(doc), nil
}

func sealText(doc []byte) []byte {
	raw := []byte(magic)
	raw = binary.BigEndian.AppendUint32(raw, format)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(doc)))
	raw = binary.BigEndian.AppendUint32(raw, checksum(raw[len(magic):], doc))
	return append(raw, doc...)
}

// checksum covers all that the magic does not.
func checksum(numbers, doc []byte) uint32 {
	return crc32.Update(crc32.Checksum(numbers, castagnoli), castagnoli, doc)
}

// unseal reads a copy. Any fault in it makes it a lost one.
func unseal(raw []byte) (*document, error) {
	if len(raw) < headerSize || len(raw) > maxFile || !bytes.HasPrefix(raw, []byte(magic)) {
		return nil, errors.New("not a trust state")
	}
	numbers, doc := raw[len(magic):headerSize-4], raw[headerSize:]
	switch {
	case uint64(binary.BigEndian.Uint32(numbers[4:])) != uint64(len(doc)):
		return nil, fmt.Errorf("torn: it has %d bytes and says %d", len(doc), binary.BigEndian.Uint32(numbers[4:]))
	case checksum(numbers, doc) != binary.BigEndian.Uint32(raw[headerSize-4:]):
		return nil, errors.New("damaged: wrong checksum")
	case binary.BigEndian.Uint32(numbers) != format:
		return nil, fmt.Errorf("format %d is unknown", binary.BigEndian.Uint32(numbers))
	}
	d := &document{}
	if err := json.Unmarshal(doc, d); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if err := json.Unmarshal(doc, &d.others); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	for _, name := range members {
		delete(d.others, name)
	}
	return d, d.validate()
}

// members are the names that document's own fields have.
var members = []string{"generation", "floors", "epoch", "vendor", "fleet", "left", "time", "slots"}

func (d *document) validate() error {
	for _, t := range []time.Time{d.Time.Own, d.Time.Fleet} {
		if !t.IsZero() && (t.Year() < minYear || t.Year() > maxYear) {
			return fmt.Errorf("a time of the year %d", t.Year())
		}
	}
	for product, floor := range d.Floors {
		if floor < 0 || floor > verify.MaxJSONInteger {
			return fmt.Errorf("the floor %d of product %q", floor, product)
		}
	}
	for slot, v := range d.Slots {
		if !isDigest(v.Digest) || v.Counter < 0 || v.Epoch < 0 {
			return fmt.Errorf("the content of slot %q", slot)
		}
	}
	if d.Epoch < 0 || d.Epoch > verify.MaxJSONInteger || d.Time.Since < 0 {
		return errors.New("a negative number")
	}
	return nil
}

func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == s
}

func copyName(i int) string { return fmt.Sprintf("state.%d", i) }

var (
	errNone = errors.New("there is no trust state")
	errLost = errors.New("no copy of the trust state is readable")
)

// load returns the newest whole copy, the number of the one to overwrite first,
// and what is wrong with the other.
func load(d disk) (doc *document, older int, damage error, err error) {
	var copies [2]*document
	var faults [2]error
	for i := range copies {
		raw, err := d.Read(copyName(i))
		if errors.Is(err, fs.ErrPermission) {
			return nil, 0, nil, err // it is there, for others
		}
		if err == nil {
			copies[i], err = unseal(raw)
		}
		if err != nil {
			copies[i], faults[i] = nil, fmt.Errorf("%s: %w", copyName(i), err)
		}
	}
	switch {
	case copies[0] != nil && copies[1] != nil:
		if copies[0].Generation > copies[1].Generation {
			return copies[0], 1, nil, nil
		}
		return copies[1], 0, nil, nil
	case copies[0] != nil:
		return copies[0], 1, damageOf(copies[0], faults[1]), nil
	case copies[1] != nil:
		return copies[1], 0, damageOf(copies[1], faults[0]), nil
	case errors.Is(faults[0], fs.ErrNotExist) && errors.Is(faults[1], fs.ErrNotExist):
		return nil, 0, nil, errNone
	}
	return nil, 0, nil, fmt.Errorf("%w: %w", errLost, errors.Join(faults[:]...))
}

// damageOf is what is wrong with one copy when the other is whole. The very first
// change may have been cut off before there was a second copy.
func damageOf(whole *document, fault error) error {
	if whole.Generation == 1 && errors.Is(fault, fs.ErrNotExist) {
		return nil
	}
	return fault
}

// store writes both copies. The first is the commit; the second guards against
// bad blocks only, and is written first the next time if it fails now.
func store(d disk, doc *document, older int) (next int, err error) {
	raw, err := doc.seal()
	if err != nil {
		return older, err
	}
	if err := replace(d, copyName(older), raw); err != nil {
		return older, err
	}
	if err := replace(d, copyName(1-older), raw); err != nil {
		return 1 - older, nil
	}
	return older, nil
}

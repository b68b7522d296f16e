package slots

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"reflect"
)

const (
	recordMagic  = "SLIPREC\n"
	recordFormat = 1
	recordHeader = len(recordMagic) + 12
	maxRecord    = 64 << 10 // bytes of one copy
)

var (
	// ErrNoRecord means that this device has never had a permanent version.
	ErrNoRecord = errors.New("there is no active record")
	// ErrRecordLost means that there was a record and no copy can be read. What
	// is permanent is then unknown, which is not the same as none.
	ErrRecordLost = errors.New("the active record is lost: no copy is readable")
	// ErrUntouched means that a record could not be replaced, and that nothing of it was:
	// what Load returned before it returns now, and after a reboot.
	ErrUntouched = errors.New("the active record stays as it was")
)

// Record says what is permanent on this device.
type Record struct {
	Generation uint64          `json:"generation"` // counted up by Replace
	System     string          `json:"system"`     // system slot in use
	Live       map[string]Live `json:"live"`       // by system slot: what was permanent with it

	Systems map[string]System  `json:"systems,omitempty"` // by system slot: what is in it
	Runtime map[string]Runtime `json:"runtime,omitempty"` // by system slot: what was permanent with it
}

// System is the version of a system slot that was permanent, now or before.
type System struct {
	Digest  string `json:"digest"`
	Version string `json:"version"`
	Counter int64  `json:"counter"`
}

// Runtime is the permanent version of Slipstream's own programs. Without one the
// copy that is built into the system slot runs.
type Runtime struct {
	Slot     string    `json:"slot"` // of the class runtime; "": the copy built in, to which the device has returned
	Digest   string    `json:"digest"`
	Version  string    `json:"version"`
	Counter  int64     `json:"counter"` // the floor
	Previous *Previous `json:"previous,omitempty"`
}

// Live is the permanent live version.
type Live struct {
	Slot     string    `json:"slot"`
	Digest   string    `json:"digest"`
	Version  string    `json:"version"`
	Counter  int64     `json:"counter"` // its releaseCounter: the floor
	Previous *Previous `json:"previous,omitempty"`
}

// Previous is the version that was permanent before, still whole in its slot.
type Previous struct {
	Slot    string `json:"slot"`
	Digest  string `json:"digest"`
	Version string `json:"version"`
	Counter int64  `json:"counter"`
}

// RecordFile is the active record on disk. One goroutine at a time may use it.
type RecordFile struct {
	root *os.Root
	disk disk
}

// OpenRecord opens the record kept in dir as record.0 and record.1.
func OpenRecord(dir string) (*RecordFile, error) {
	return openRecord(dir, func(d rootDisk) disk { return d })
}

func openRecord(dir string, wrap func(rootDisk) disk) (*RecordFile, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, fmt.Errorf("slots: open the active record: %w", err)
	}
	return &RecordFile{root: d.root, disk: wrap(d)}, nil
}

// Close releases the directory.
func (f *RecordFile) Close() error { return f.disk.Close() }

// Load returns the newest copy that is whole.
func (f *RecordFile) Load() (Record, error) {
	newest, _, err := f.load()
	if err != nil {
		return Record{}, fmt.Errorf("slots: %w", err)
	}
	return newest.Record, nil
}

// Replace makes r permanent, with a generation one above the newest. After nil
// it is what Load returns for ever. After an error Load may return either
// record, now and after a reboot, unless it is [ErrUntouched]: ask it before acting.
//
// What a newer agent has written and this one does not know stays in the record,
// except in what is said of a version that another has replaced.
func (f *RecordFile) Replace(r Record) error {
	raw, older, err := f.prepare(r)
	if err != nil {
		return fmt.Errorf("slots: %w: %w", ErrUntouched, err)
	}
	if err := putFile(f.disk, copyName(older)); err != nil {
		return fmt.Errorf("slots: replace the active record: %w", err)
	}
	// The commit point has passed. The second copy only guards against bad
	// blocks; if it cannot be written now, the next Replace writes it first.
	_ = replaceFile(f.disk, copyName(1-older), raw)
	return nil
}

// prepare does all of that but the replacing of the older copy, of which it returns the
// number.
func (f *RecordFile) prepare(r Record) (raw []byte, older int, err error) {
	newest, older, err := f.load()
	if err != nil && !errors.Is(err, ErrNoRecord) && !errors.Is(err, ErrRecordLost) {
		return nil, older, err
	}
	r.Generation = newest.Generation + 1
	if raw, err = encodeRecord(r, newest.doc); err != nil {
		return nil, older, err
	}
	return raw, older, prepareFile(f.disk, copyName(older), raw)
}

// recordCopy is one copy as it was read.
type recordCopy struct {
	Record
	doc []byte // its JSON
}

// load returns the newest record and the number of the copy to overwrite next:
// one that cannot be read, else the older.
func (f *RecordFile) load() (newest recordCopy, older int, err error) {
	var copies [2]recordCopy
	var faults [2]error
	for i := range copies {
		copies[i], faults[i] = f.readCopy(i)
	}
	switch {
	case faults[0] == nil && faults[1] == nil:
		if copies[0].Generation > copies[1].Generation {
			return copies[0], 1, nil
		}
		return copies[1], 0, nil
	case faults[0] == nil:
		return copies[0], 1, nil
	case faults[1] == nil:
		return copies[1], 0, nil
	case errors.Is(faults[0], fs.ErrNotExist) && errors.Is(faults[1], fs.ErrNotExist):
		return recordCopy{}, 0, ErrNoRecord
	}
	return recordCopy{}, 0, fmt.Errorf("%w: %w", ErrRecordLost, errors.Join(faults[:]...))
}

func (f *RecordFile) readCopy(i int) (recordCopy, error) {
	file, err := f.root.Open(copyName(i))
	if err != nil {
		return recordCopy{}, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return recordCopy{}, err
	}
	r, err := decodeRecord(raw)
	if err != nil {
		return recordCopy{}, fmt.Errorf("%s: %w", copyName(i), err)
	}
	return recordCopy{r, raw[recordHeader:]}, nil
}

func copyName(i int) string { return fmt.Sprintf("record.%d", i) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeRecord writes a record that takes the place of another, whose JSON is
// given; nil: of none.
func encodeRecord(r Record, before []byte) ([]byte, error) {
	doc, err := json.Marshal(r)
	if err == nil && before != nil {
		doc, err = carryOver(doc, before, reflect.TypeFor[Record]())
	}
	if err != nil {
		return nil, err
	}
	if len(doc) > maxRecord-recordHeader {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(doc), maxRecord-recordHeader)
	}
	return sealRecord(doc), nil
}

func sealRecord(doc []byte) []byte {
	raw := []byte(recordMagic)
	raw = binary.BigEndian.AppendUint32(raw, recordFormat)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(doc)))
	raw = binary.BigEndian.AppendUint32(raw, recordSum(raw[len(recordMagic):], doc))
	return append(raw, doc...)
}

// recordSum covers all that the magic does not.
func recordSum(numbers, doc []byte) uint32 {
	return crc32.Update(crc32.Checksum(numbers, castagnoli), castagnoli, doc)
}

func decodeRecord(raw []byte) (Record, error) {
	var r Record
	if len(raw) < recordHeader || len(raw) > maxRecord || !bytes.HasPrefix(raw, []byte(recordMagic)) {
		return r, errors.New("not a record")
	}
	numbers, doc := raw[len(recordMagic):recordHeader-4], raw[recordHeader:]
	format, length := binary.BigEndian.Uint32(numbers), binary.BigEndian.Uint32(numbers[4:])
	switch {
	case uint64(length) != uint64(len(doc)):
		return r, fmt.Errorf("torn: %d bytes of %d", len(doc), length)
	case recordSum(numbers, doc) != binary.BigEndian.Uint32(raw[recordHeader-4:]):
		return r, errors.New("damaged: wrong checksum")
	case format != recordFormat:
		return r, fmt.Errorf("format %d is unknown", format)
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		return Record{}, fmt.Errorf("decode: %w", err)
	}
	return r, nil
}

package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The format is that of Linux' dm-log-writes, which QEMU's blklogwrites writes too: a
// superblock, and then each entry in a sector of its own with its data behind it. All
// numbers are little endian.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	superSize  = 28
	entrySize  = 32

	flagFlush   = 1
	flagFUA     = 2
	flagDiscard = 4
	flagMark    = 8
)

// Bounds of what is believed.
const (
	maxEntries = 1 << 20
	maxWrite   = 64 << 20 // bytes of one entry
	maxLogUnit = 4096
)

// Sector is what a disk writes whole or not at all, in bytes.
const Sector = 512

// Entry is one thing that a disk was told.
type Entry struct {
	Off     int64 // on the disk, in bytes
	Len     int64
	Flush   bool // all that was answered before is on storage when it is answered
	FUA     bool // it is itself
	Discard bool

	at int64 // of its data in the log
}

// Log is what a disk was told, in the order in which it answered.
type Log struct {
	Entries []Entry
	file    io.ReaderAt
}

// ReadLog reads the list of a log, up to the end that its superblock names.
func ReadLog(file io.ReaderAt) (*Log, error) {
	count, unit, err := readSuper(file)
	if err != nil {
		return nil, fmt.Errorf("log of writes: %w", err)
	}
	l := &Log{file: file}
	for at := unit; len(l.Entries) < count; {
		e, next, err := readEntry(file, at, unit)
		if err != nil {
			return nil, fmt.Errorf("log of writes: entry %d of %d: %w", len(l.Entries), count, err)
		}
		l.Entries = append(l.Entries, e)
		at = next
	}
	return l, nil
}

// Count is how many entries a log has by now, that is being written.
func Count(file io.ReaderAt) (int, error) {
	count, _, err := readSuper(file)
	return count, err
}

func readSuper(file io.ReaderAt) (count int, unit int64, err error) {
	var raw [superSize]byte
	if _, err := file.ReadAt(raw[:], 0); err != nil {
		return 0, 0, fmt.Errorf("superblock: %w", err)
	}
	le := binary.LittleEndian
	magic, version, entries := le.Uint64(raw[:]), le.Uint64(raw[8:]), le.Uint64(raw[16:])
	unit = int64(le.Uint32(raw[24:]))
	switch {
	case magic != logMagic:
		return 0, 0, errors.New("it does not begin as one")
	case version != logVersion:
		return 0, 0, fmt.Errorf("version %d is unknown", version)
	case entries > maxEntries:
		return 0, 0, fmt.Errorf("%d entries are more than %d", entries, maxEntries)
	case unit < Sector || unit > maxLogUnit || unit%Sector != 0:
		return 0, 0, fmt.Errorf("its sectors have %d bytes", unit)
	}
	return int(entries), unit, nil
}

func readEntry(file io.ReaderAt, at, unit int64) (e Entry, next int64, err error) {
	var raw [entrySize]byte
	if _, err := file.ReadAt(raw[:], at); err != nil {
		return e, 0, err
	}
	le := binary.LittleEndian
	sector, sectors, flags, length := le.Uint64(raw[:]), le.Uint64(raw[8:]), le.Uint64(raw[16:]), le.Uint64(raw[24:])
	if flags&^(flagFlush|flagFUA|flagDiscard|flagMark) != 0 || sector > 1<<40 || sectors > 1<<30 {
		return e, 0, fmt.Errorf("it says sector %d, %d sectors, flags %#x", sector, sectors, flags)
	}
	e = Entry{
		Off: int64(sector) * unit, Len: int64(sectors) * unit, at: at + unit,
		Flush: flags&flagFlush != 0, FUA: flags&flagFUA != 0, Discard: flags&flagDiscard != 0,
	}
	next = e.at + e.Len
	switch {
	case flags&flagMark != 0: // its text is as long as it says, and for people
		if length > maxLogUnit {
			return e, 0, fmt.Errorf("a mark of %d bytes", length)
		}
		return Entry{}, e.at + (int64(length)+unit-1)/unit*unit, nil
	case e.Discard:
		return e, e.at, nil
	case e.Len > maxWrite:
		return e, 0, fmt.Errorf("a write of %d bytes is longer than %d", e.Len, maxWrite)
	}
	return e, next, nil
}

// data is what an entry writes. What is discarded reads as zeros or as before; a disk
// may do either, and both are tried.
func (l *Log) data(e Entry) ([]byte, error) {
	data := make([]byte, e.Len)
	if e.Discard {
		return data, nil
	}
	if _, err := l.file.ReadAt(data, e.at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("log of writes: %w", err)
	}
	return data, nil
}

// appendSuper and appendEntry are the other direction, for tests and for disks of ours
// that keep a log.
func appendSuper(raw []byte, entries int) []byte {
	le := binary.LittleEndian
	raw = le.AppendUint64(raw, logMagic)
	raw = le.AppendUint64(raw, logVersion)
	raw = le.AppendUint64(raw, uint64(entries))
	raw = le.AppendUint32(raw, Sector)
	return append(raw, bytes.Repeat([]byte{0}, Sector-superSize)...)
}

package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"
)

const (
	gptMagic     = "EFI PART"
	gptHeader    = 92
	gptEntry     = 128
	maxPartition = 128
)

// partitionNames are what a machine of the rig has.
var partitionNames = []string{"bootsel", "ubstate", "system-a", "system-b", "recovery", "data"}

// readTable reads a disk's table of partitions, which must be whole.
func readTable(d *disk) (map[string]part, error) {
	parts, err := tableIn(&State{disk: d})
	if err != nil {
		return nil, fmt.Errorf("table of partitions: %w", err)
	}
	for _, name := range partitionNames {
		if parts[name].size == 0 {
			return nil, fmt.Errorf("table of partitions: there is no %s", name)
		}
	}
	return parts, nil
}

func tableIn(s *State) (map[string]part, error) {
	head := make([]byte, Sector)
	if _, err := s.ReadAt(head, Sector); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if !bytes.HasPrefix(head, []byte(gptMagic)) || le.Uint32(head[12:]) != gptHeader {
		return nil, errors.New("there is none")
	}
	sum := le.Uint32(head[16:])
	le.PutUint32(head[16:], 0)
	if crc32.ChecksumIEEE(head[:gptHeader]) != sum {
		return nil, errors.New("its head is damaged")
	}
	count, size := le.Uint32(head[80:]), le.Uint32(head[84:])
	if count == 0 || count > maxPartition || size != gptEntry {
		return nil, fmt.Errorf("%d entries of %d bytes are not known here", count, size)
	}
	list := make([]byte, count*size)
	if _, err := s.ReadAt(list, int64(le.Uint64(head[72:]))*Sector); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(list) != le.Uint32(head[88:]) {
		return nil, errors.New("its entries are damaged")
	}
	parts := map[string]part{}
	for ; len(list) > 0; list = list[gptEntry:] {
		name, p := tableEntry(list[:gptEntry])
		if p.size <= 0 {
			continue
		}
		if !s.disk.holds(p.from, p.size) {
			return nil, fmt.Errorf("%s: %w", name, io.ErrUnexpectedEOF)
		}
		parts[name] = p
	}
	return parts, nil
}

func tableEntry(raw []byte) (name string, p part) {
	le := binary.LittleEndian
	first, last := int64(le.Uint64(raw[32:])), int64(le.Uint64(raw[40:]))
	if first <= 0 || last < first || last > 1<<40 {
		return "", part{}
	}
	units := make([]uint16, 36)
	for i := range units {
		units[i] = le.Uint16(raw[56+2*i:])
	}
	name, _, _ = strings.Cut(string(utf16.Decode(units)), "\x00")
	return name, part{first * Sector, (last - first + 1) * Sector}
}

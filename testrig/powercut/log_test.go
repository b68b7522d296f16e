package powercut

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// logOf makes a log as blklogwrites does.
func logOf(entries ...Entry) []byte {
	raw := appendSuper(nil, len(entries))
	for _, e := range entries {
		var flags uint64
		for flag, is := range map[uint64]bool{flagFlush: e.Flush, flagFUA: e.FUA, flagDiscard: e.Discard} {
			if is {
				flags |= flag
			}
		}
		var head []byte
		for _, n := range []uint64{uint64(e.Off) / Sector, uint64(e.Len) / Sector, flags, 0} {
			head = binary.LittleEndian.AppendUint64(head, n)
		}
		raw = append(raw, append(head, make([]byte, Sector-len(head))...)...)
		if !e.Discard {
			raw = append(raw, bytes.Repeat([]byte{byte(e.at)}, int(e.Len))...)
		}
	}
	return raw
}

func TestLog(t *testing.T) {
	t.Parallel()
	raw := logOf(
		Entry{Off: Sector, Len: 2 * Sector, at: 1},
		Entry{Flush: true},
		Entry{Off: 0, Len: 8 * Sector, Discard: true},
		Entry{Off: 4 * Sector, Len: Sector, FUA: true, at: 2},
	)
	l, err := ReadLog(bytes.NewReader(raw))
	must(t, err)
	if len(l.Entries) != 4 || !l.Entries[1].Flush || !l.Entries[2].Discard || !l.Entries[3].FUA {
		t.Fatalf("entries: %+v", l.Entries)
	}
	for i, want := range map[int]byte{0: 1, 2: 0, 3: 2} {
		data, err := l.data(l.Entries[i])
		must(t, err)
		if int64(len(data)) != l.Entries[i].Len || !bytes.Equal(data, bytes.Repeat([]byte{want}, len(data))) {
			t.Errorf("entry %d has %d bytes, the first is %d", i, len(data), data[0])
		}
	}
	if n, err := Count(bytes.NewReader(raw)); err != nil || n != 4 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestLogsThatAreRefused(t *testing.T) {
	t.Parallel()
	good := logOf(Entry{Off: Sector, Len: Sector, at: 1})
	set := func(at int, n uint64, size int) []byte {
		raw := bytes.Clone(good)
		for i := range size {
			raw[at+i] = byte(n >> (8 * i))
		}
		return raw
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"empty":        {nil, "superblock"},
		"magic":        {set(0, 1, 8), "begin"},
		"version":      {set(8, 2, 8), "version 2"},
		"endless":      {set(16, 1<<40, 8), "more than"},
		"odd sectors":  {set(24, 100, 4), "100 bytes"},
		"cut off":      {set(16, 3, 8), "entry 1 of 3"},
		"flags":        {set(Sector+16, 1<<20, 8), "flags"},
		"huge":         {set(Sector+8, 1<<20, 8), "longer than"},
		"far away":     {set(Sector, 1<<50, 8), "sector"},
		"a long mark":  {bytes.Clone(set(Sector+16, flagMark, 8)), ""},
		"a lying mark": {lyingMark(set(Sector+16, flagMark, 8)), "a mark of"},
	} {
		_, err := ReadLog(bytes.NewReader(c.raw))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func lyingMark(raw []byte) []byte {
	binary.LittleEndian.PutUint64(raw[Sector+24:], 1<<50)
	return raw
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package core

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// TestSentLog sends units of two lines at random, broken off or whole, beside a
// plain list of what was sent: what is found is that, with its time and marker,
// and what the log's length still covers is found.
func TestSentLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type packet struct {
			body   []byte
			ts     uint32
			marked bool
			run    int
			line   *line
			at     uint64
		}
		var log sentLog
		var all []packet
		first := rapid.Uint64Range(0, 1<<20).Draw(t, "first")
		lines := []*line{bareLine(1), bareLine(2)}
		numbered := map[uint64]*line{1: lines[0], 2: lines[1]}
		for unit := range rapid.IntRange(1, 200).Draw(t, "units") {
			l := lines[rapid.IntRange(0, 1).Draw(t, "line")]
			size := rapid.IntRange(1, 12).Draw(t, "size")
			sent := rapid.IntRange(1, size).Draw(t, "sent")
			ts := uint32(rapid.IntRange(unit, unit+1).Draw(t, "ts")) // two may share it
			for i := range size {
				body := binary.BigEndian.AppendUint32([]byte{byte(unit)}, uint32(i))
				at := l.arena.packetHead
				copy(l.arena.space(), body)
				l.arena.append(len(body))
				if i < sent {
					marked := i == size-1 && rapid.Bool().Draw(t, "marked")
					log.note(sentRun{line: l.number, index: first + uint64(len(all)), packet: at, ts: ts, count: 1, marked: marked})
					all = append(all, packet{body, ts, marked, unit, l, at})
				}
			}
			l.arena.finish()
		}
		for range rapid.IntRange(0, arenaPackets).Draw(t, "later packets") {
			clear(lines[0].arena.space())
			lines[0].arena.append(100)
		}
		for i, want := range all {
			body, ts, marked, ok := log.find(numbered, first+uint64(i))
			kept := want.at >= want.line.arena.packetTail
			if !ok && kept && all[len(all)-1].run-want.run < sentRuns-1 {
				t.Fatalf("packet %d of %d is not found", i, len(all))
			}
			if ok && !kept {
				t.Fatalf("packet %d is found, and its bytes are another's", i)
			}
			if ok && (!bytes.Equal(body, want.body) || ts != want.ts || marked != want.marked) {
				t.Fatalf("packet %d is %x at %d, marked %v; want %+v", i, body, ts, marked, want)
			}
		}
		for _, index := range []uint64{first - 1, first + uint64(len(all)), first + 1<<32} {
			if _, _, _, ok := log.find(numbered, index); ok {
				t.Fatalf("packet %d was never sent and is found", index)
			}
		}
	})
}

func TestIndexOf(t *testing.T) {
	for _, c := range []struct {
		seq  uint16
		next uint64
		want uint64
	}{
		{9, 10, 9}, {0, 10, 0}, {4460, 70_001, 69_996}, {4465, 70_001, 4465}, {65535, 65536, 65535}, {65535, 65540, 65535},
	} {
		if got := indexOf(c.seq, c.next); got != c.want {
			t.Errorf("sequence %d before %d is %d, want %d", c.seq, c.next, got, c.want)
		}
	}
}

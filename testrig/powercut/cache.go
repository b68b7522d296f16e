package powercut

import (
	"encoding/binary"
	"math/rand/v2"
)

// write is one that a disk has answered and not yet flushed.
type write struct {
	off  int64
	data []byte
}

// cache is what a disk holds in memory that forgets.
type cache struct {
	writes []write
	coarse part // where nothing is torn but at coarseUnit
}

// coarseUnit is what ext4 takes to be written whole: its superblock, which no journal
// covers. In two halves of which one is old it cannot be mounted.
const coarseUnit = 2

func (c *cache) add(off int64, data []byte) { c.writes = append(c.writes, write{off, data}) }

// sectors are what is to be laid over a disk: by number.
type sectors map[int64][]byte

// put keeps those of a write that keep says, of which it is asked for each unit of so
// many; nil is all of them.
func (s sectors) put(w write, unit int, keep func(i int) bool) {
	for from := 0; from*Sector < len(w.data); from += unit {
		if keep != nil && !keep(from) {
			continue
		}
		for i := from; i < from+unit && i*Sector < len(w.data); i++ {
			s[w.off/Sector+int64(i)] = w.data[i*Sector : (i+1)*Sector]
		}
	}
}

// fate is what becomes of a cache when the power fails.
type fate struct {
	Name string
	pick func(c *cache, r *rand.Rand) sectors
}

// The fates that are tried: the borders, and what chance leaves. A write is kept, lost
// or torn between sectors, whatever became of those before and after it; of two to one
// sector that are both kept the later one counts.
var (
	fateNone = fate{"lost", func(*cache, *rand.Rand) sectors { return sectors{} }}
	fateAll  = fate{"kept", func(c *cache, _ *rand.Rand) sectors { return c.each(func(int) func(int) bool { return nil }) }}
	fateLast = fate{"only the last kept", func(c *cache, _ *rand.Rand) sectors {
		s := sectors{}
		s.put(c.writes[len(c.writes)-1], 1, nil)
		return s
	}}
	fateTorn = fate{"the last torn", func(c *cache, r *rand.Rand) sectors {
		last := c.writes[len(c.writes)-1]
		n := r.IntN(max(1, len(last.data)/Sector))
		return c.each(func(i int) func(int) bool {
			if i < len(c.writes)-1 {
				return nil
			}
			return func(sector int) bool { return sector < n }
		})
	}}
	fateSome = fate{"some kept", func(c *cache, r *rand.Rand) sectors {
		return c.each(func(int) func(int) bool {
			switch r.IntN(5) {
			case 0, 1:
				return nil
			case 2, 3:
				return func(int) bool { return false }
			}
			return func(int) bool { return r.IntN(2) == 0 }
		})
	}}
)

// each puts all writes in their order, each as far as it is kept; nil is all of it.
func (c *cache) each(keep func(i int) func(sector int) bool) sectors {
	s := sectors{}
	for i, w := range c.writes {
		unit := 1
		if c.coarse.has(w.off) {
			unit = coarseUnit
		}
		s.put(w, unit, keep(i))
	}
	return s
}

// fates are those of one instant: few where there is little to choose from.
func (c *cache) fates(flushed bool, chance int) (list []fate) {
	if flushed {
		list = append(list, fateNone)
	}
	if len(c.writes) == 0 {
		return list
	}
	list = append(list, fateAll, fateTorn)
	if len(c.writes) > 1 {
		list = append(list, fateLast)
		for range chance {
			list = append(list, fateSome)
		}
	}
	return list
}

// random is a source of its own for one instant, so that one can be tried again alone.
func random(seed uint64, cut int) *rand.Rand {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(cut))
	return rand.New(rand.NewChaCha8(key))
}

// forget drops what a write that is certain has written over.
func (c *cache) forget(over sectors) {
	var left []write
	for _, w := range c.writes {
		begin := 0
		for i := 0; i*Sector < len(w.data); i++ {
			if _, gone := over[w.off/Sector+int64(i)]; gone {
				if i > begin {
					left = append(left, write{w.off + int64(begin)*Sector, w.data[begin*Sector : i*Sector]})
				}
				begin = i + 1
			}
		}
		if begin*Sector < len(w.data) {
			left = append(left, write{w.off + int64(begin)*Sector, w.data[begin*Sector:]})
		}
	}
	c.writes = left
}

package powercut

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
)

// Tally counts. Cuts are the instants at which the power was cut, states what was found
// on the disk then: those that are the same are looked at once.
type Tally struct{ Cuts, States, Bad int }

// Bad is a state that a device must not be found in.
type Bad struct {
	Cut  int    // entries of the log before it
	Fate string // of what was not flushed
	Err  error
}

func (b Bad) Error() string {
	return fmt.Sprintf("power cut behind entry %d of the log, what was not flushed is %s: %v", b.Cut, b.Fate, b.Err)
}

// Explorer cuts the power at each entry of a log.
type Explorer struct {
	Seed    uint64
	Chance  int // how many states of an instant are chosen at random
	Workers int
	MaxBad  int // ends the search
	Every   int // cuts are made at each so many entries; 0 is at each
}

// search is one run of an Explorer.
type search struct {
	Explorer
	disk    *disk
	story   Story
	look    *looker
	least   int // index in the story that is certain on disk
	flushes int
	seen    map[stateKey]bool

	mu    sync.Mutex // guards what follows
	tally Tally
	bad   []Bad
}

// stateKey names what is looked at, and what it is judged by.
type stateKey struct {
	flushes int
	mark    Mark
	over    [sha256.Size]byte
}

// Explore replays a log over the image that the disk was before it.
func (e Explorer) Explore(ctx context.Context, base string, log *Log, story Story) (Tally, []Bad, error) {
	scratch, err := os.MkdirTemp("/dev/shm", "slip-cut-")
	if err != nil {
		return Tally{}, nil, err
	}
	defer os.RemoveAll(scratch)
	look, err := newLooker(scratch)
	if err != nil {
		return Tally{}, nil, err
	}
	d, err := openDisk(base)
	if err != nil {
		return Tally{}, nil, err
	}
	r := &search{Explorer: e, disk: d, story: story, look: look, seen: map[stateKey]bool{}}
	err = r.run(ctx, log)
	return r.tally, r.bad, errors.Join(err, d.close())
}

func (r *search) run(ctx context.Context, log *Log) error {
	c := cache{coarse: r.disk.parts["data"]}
	if err := r.cut(ctx, 0, &c, true); err != nil {
		return err
	}
	for i, e := range log.Entries {
		if !r.disk.holds(e.Off, e.Len) {
			return fmt.Errorf("entry %d writes behind the disk's end", i)
		}
		data, err := log.data(e)
		if err != nil {
			return err
		}
		changed := r.step(&c, e, data)
		if r.Every > 1 && i%r.Every != 0 {
			continue
		}
		if err := r.cut(ctx, i+1, &c, changed); err != nil || r.enough() {
			return err
		}
	}
	return ctx.Err()
}

// step is what an entry does; it says whether more is certain now.
func (r *search) step(c *cache, e Entry, data []byte) (certain bool) {
	if e.Flush && len(c.writes) > 0 {
		r.disk.put(fateAll.pick(c, nil))
		c.writes = nil
		certain = true
	}
	switch {
	case len(data) == 0:
	case e.FUA:
		over := sectors{}
		over.put(write{e.Off, data}, 1, nil)
		r.disk.put(over)
		c.forget(over)
		certain = true
	default:
		c.add(e.Off, data)
	}
	if certain {
		r.flushes++
	}
	return certain
}

// cut looks at what may be found after so many entries.
func (r *search) cut(ctx context.Context, entries int, c *cache, certain bool) error {
	mark := r.story.after(entries)
	mark.Least = max(mark.Least, r.least)
	rand := random(r.Seed, entries)
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(1, r.Workers))
	for _, f := range c.fates(certain, r.Chance) {
		state := &State{r.disk, f.pick(c, rand)}
		key := stateKey{r.flushes, mark, state.name()}
		if r.seen[key] {
			continue
		}
		r.seen[key] = true
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.try(ctx, state, mark, entries, f.Name, len(state.over) == 0)
		})
	}
	wg.Wait()
	r.tally.Cuts++
	return ctx.Err()
}

// try looks at one state. What is certain by now is never to be otherwise again.
func (r *search) try(ctx context.Context, s *State, mark Mark, entries int, fate string, certain bool) {
	found, err := r.look.look(ctx, s)
	at := 0
	if err == nil {
		at, err = r.story.judge(mark, found)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.States++
	if err != nil && ctx.Err() == nil {
		r.tally.Bad++
		r.bad = append(r.bad, Bad{entries, fate, err})
		return
	}
	if certain {
		r.least = max(r.least, at)
	}
}

func (r *search) enough() bool { return r.MaxBad > 0 && r.tally.Bad >= r.MaxBad }

// name is a hash of what lies over the disk and is not there anyway.
func (s *State) name() (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(s.over)) {
		if data := s.over[n]; string(data) != string(s.disk.bytes[n*Sector:][:Sector]) {
			var number [8]byte
			binary.LittleEndian.PutUint64(number[:], uint64(n))
			hash.Write(number[:])
			hash.Write(data)
		} else {
			delete(s.over, n)
		}
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

package powercut

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
)

var (
	// Full is the flag that asks tests for everything, however long it takes.
	Full = flag.Bool("powercut.full", false, "try many more states of each power cut")
	// Seed is the flag that repeats what a test has chosen at random.
	Seed = flag.Uint64("powercut.seed", 1, "seed of the states that are chosen at random")
)

// Explorer starts the code again in the states that a power cut may leave.
type Explorer struct {
	// Check starts it in a directory that holds such a state, and says what is
	// wrong. It is told what was marked before the cut. It may run in several
	// goroutines.
	Check func(dir string, told []string) error
	// Limit is how many states of one instant are tried.
	Limit int
	// Restarts is how many states are tried in all, chosen at random; 0 is each of
	// them. States that were not chosen count as good from then on.
	Restarts int
	// Within is how many operations after a flush that the disk does not hear the
	// power may fail; 0 is to the log's end.
	Within int
	// Workers is how many checks run at the same time, 1 if it is 0.
	Workers int

	good map[key]bool // that were tried, or not chosen
}

// key is what a check depends on.
type key struct {
	disk [sha256.Size]byte
	told int
}

// Tally counts. States that are the same on disk are tried once.
type Tally struct{ Cuts, States, Restarts, Bad int }

func (t Tally) String() string {
	return fmt.Sprintf("cuts=%d states=%d restarts=%d bad=%d", t.Cuts, t.States, t.Restarts, t.Bad)
}

// BadState is a state in which the code did not come up as it must.
type BadState struct {
	Cut    int  // operations before the power cut
	Before []Op // the last of them
	State  *State
	Err    error
}

func (b *BadState) Error() string {
	var out strings.Builder
	fmt.Fprintf(&out, "power cut after operation %d: %v\n", b.Cut, b.Err)
	for _, o := range b.Before {
		fmt.Fprintf(&out, "    %v\n", o)
	}
	fmt.Fprintf(&out, "and of what was not flushed is\n    %s", strings.ReplaceAll(b.State.String(), "\n", "\n    "))
	return out.String()
}

func (b *BadState) Unwrap() error { return b.Err }

// Run tries the states of every instant from the first operation on, and returns
// at the first bad one, which is a [BadState].
func (e *Explorer) Run(log Log, first int) (Tally, error) {
	var tally Tally
	unknown, err := e.unknown(log, first, &tally)
	if err != nil || len(unknown) == 0 {
		return tally, err
	}
	chosen := e.choose(unknown)
	var wg sync.WaitGroup
	var once sync.Once
	var bad *BadState
	room, failed := make(chan struct{}, max(1, e.Workers)), make(chan struct{})
	err = each(log, first, e.Limit, func(at instant, s *State) error {
		k := key{s.Hash(), len(at.told)}
		if !chosen[k] {
			return nil
		}
		select {
		case room <- struct{}{}:
		case <-failed:
			return errStop
		}
		delete(chosen, k)
		tally.Restarts++
		wg.Go(func() {
			defer func() { <-room }()
			if err := e.try(s, at.told); err != nil {
				once.Do(func() {
					bad = &BadState{Cut: at.cut, Before: log.Ops[max(0, at.cut-8):at.cut], State: s, Err: err}
					close(failed)
				})
			}
		})
		return nil
	})
	wg.Wait()
	if bad != nil {
		tally.Bad++
		e.forget(unknown) // not all of them were tried
		return tally, bad
	}
	return tally, err
}

// instant is when the power fails.
type instant struct {
	cut  int // operations before it
	told []string
}

// each calls yield with the states of every instant, each time the same ones.
func each(log Log, first, limit int, yield func(instant, *State) error) error {
	m, told := newModel(log.Base), []string(nil)
	for cut := 0; cut <= len(log.Ops); cut++ {
		if cut > 0 {
			o := log.Ops[cut-1]
			m.step(o)
			if o.Kind == Mark {
				told = append(told, o.Name)
			}
		}
		if cut < first {
			continue
		}
		at := instant{cut, slices.Clip(told)}
		r := rand.New(rand.NewPCG(*Seed, uint64(cut)))
		if err := m.states(limit, r, func(s *State) error { return yield(at, s) }); err != nil {
			return err
		}
	}
	return nil
}

// unknown lists the states that were not tried before, each once.
func (e *Explorer) unknown(log Log, first int, tally *Tally) (all []key, err error) {
	tally.Cuts = len(log.Ops) + 1 - first
	err = each(log, first, e.Limit, func(at instant, s *State) error {
		tally.States++
		if k := (key{s.Hash(), len(at.told)}); !e.known(k) {
			all = append(all, k)
		}
		return nil
	})
	return all, err
}

// choose is as many of the states as are to be tried.
func (e *Explorer) choose(all []key) map[key]bool {
	if e.Restarts > 0 && len(all) > e.Restarts {
		r := rand.New(rand.NewPCG(*Seed, 0))
		all = slices.Clone(all)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:e.Restarts]
	}
	chosen := make(map[key]bool, len(all))
	for _, k := range all {
		chosen[k] = true
	}
	return chosen
}

// errStop ends the search; the bad state that was found is told instead.
var errStop = errors.New("a bad state was found")

// known says whether a state was tried before, and notes that it is.
func (e *Explorer) known(k key) bool {
	if e.good == nil {
		e.good = map[key]bool{}
	}
	was := e.good[k]
	e.good[k] = true
	return was
}

func (e *Explorer) forget(all []key) {
	for _, k := range all {
		delete(e.good, k)
	}
}

// memory is where states are written: they are many, and small.
const memory = "/dev/shm"

func (e *Explorer) try(s *State, told []string) error {
	dir, err := os.MkdirTemp(memory, "state")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.Write(dir); err != nil {
		return err
	}
	return e.Check(dir, told)
}

func (t *Tally) add(more Tally) {
	t.Cuts, t.States, t.Restarts, t.Bad = t.Cuts+more.Cuts, t.States+more.States, t.Restarts+more.Restarts, t.Bad+more.Bad
}

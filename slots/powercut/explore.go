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
	// Workers is how many checks run at the same time, 1 if it is 0.
	Workers int

	mu   sync.Mutex // guards what follows
	good map[key]bool
}

// key is what a check depends on.
type key struct {
	disk [sha256.Size]byte
	told int
}

// Tally counts. States are those that differ, and so the restarts are as many.
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
	r := rand.New(rand.NewPCG(*Seed, uint64(first)))
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
		tally.Cuts++
		if err := e.cut(m, told, r, &tally); err != nil {
			if bad, ok := errors.AsType[*BadState](err); ok {
				tally.Bad++
				bad.Cut, bad.Before = cut, log.Ops[max(0, cut-8):cut]
			}
			return tally, err
		}
	}
	return tally, nil
}

// cut tries the states of one instant.
func (e *Explorer) cut(m *model, told []string, r *rand.Rand, tally *Tally) error {
	var wg sync.WaitGroup
	var once sync.Once
	var bad error
	slots := make(chan struct{}, max(1, e.Workers))
	failed := make(chan struct{})
	told = slices.Clip(told)
	err := m.states(e.Limit, r, func(s *State) error {
		tally.States++
		k := key{s.Hash(), len(told)}
		if e.known(k) {
			return nil
		}
		select {
		case slots <- struct{}{}:
		case <-failed:
			return errStop
		}
		tally.Restarts++
		wg.Go(func() {
			defer func() { <-slots }()
			if err := e.try(s, told); err != nil {
				e.forget(k)
				once.Do(func() { bad = err; close(failed) })
			}
		})
		return nil
	})
	wg.Wait()
	if bad != nil {
		return bad
	}
	return err
}

// errStop ends the search; the bad state that was found is told instead.
var errStop = errors.New("a bad state was found")

// known says whether a state was tried before, and notes that it is.
func (e *Explorer) known(k key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.good == nil {
		e.good = map[key]bool{}
	}
	was := e.good[k]
	e.good[k] = true
	return was
}

func (e *Explorer) forget(k key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.good, k)
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
	if err := e.Check(dir, told); err != nil {
		return &BadState{State: s, Err: err}
	}
	return nil
}

func (t *Tally) add(more Tally) {
	t.Cuts, t.States, t.Restarts, t.Bad = t.Cuts+more.Cuts, t.States+more.States, t.Restarts+more.Restarts, t.Bad+more.Bad
}

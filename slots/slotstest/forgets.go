package slotstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"slipstream/slots/boot"
	"slipstream/slots/powercut"
)

// forgets makes the changes on a real disk that forgets what was not flushed, and
// cuts the power at each of their system calls. The boot loader's own writes are
// not among them: it has no cache.
func forgets(b *bench) {
	disk := powercut.New(b.T, nil)
	b.h.Make(b.T, disk.Dir)
	b.must(disk.Settle())
	real := b.at(disk.Dir)
	var old, new [][3]string
	for i, change := range changes(real) {
		before, after := b.copyOf(disk.Dir), b.copyOf(disk.Dir)
		b.must(changes(after)[i](after.c))
		old, new = append(old, outcome(before)), append(new, outcome(after))
		b.must(disk.Mark(fmt.Sprint("begins ", i)))
		b.must(change(real.c))
		if loads(i) {
			b.must(disk.Settle())
		}
		b.must(disk.Mark(fmt.Sprint("has done ", i)))
	}
	log, err := disk.Log()
	b.must(err)
	e := powercut.Explorer{Limit: 256, Check: func(dir string, told []string) error {
		i := -1
		if len(told) == 0 {
			return nil
		}
		if n, _ := fmt.Sscanf(told[len(told)-1], "has done %d", &i); n == 1 {
			return b.at(dir).comesUp(new[i])
		}
		if n, _ := fmt.Sscanf(told[len(told)-1], "begins %d", &i); n == 1 && !loads(i) {
			return b.at(dir).comesUp(old[i], new[i])
		}
		return nil
	}}
	tally, err := e.Run(log, log.Begin())
	b.Logf("power cut: seed=%d %v, of at most %d states a cut", *powercut.Seed, tally, e.Limit)
	b.must(err)
	needed := powercut.Needed{}
	_, err = e.Unheard(log, needed)
	b.must(err)
	b.must(needed.Check(nil))
}

// loads says which of the changes is the boot loader's.
func loads(change int) bool { return slices.Contains([]int{2, 6, 7}, change) }

// at is the same device with its storage elsewhere, on the real disk.
func (b *bench) at(dir string) *bench {
	return &bench{T: b.T, h: b.h, dir: dir, c: b.h.Open(b.T, dir, nil), loader: b.h.Loader(dir)}
}

func (b *bench) copyOf(dir string) *bench {
	to := filepath.Join(memory(b.T), "copy")
	b.must(os.CopyFS(to, os.DirFS(dir)))
	return b.at(to)
}

// comesUp wants one of these starts, and that the next update works.
func (b *bench) comesUp(may ...[3]string) error {
	s, err := b.c.State()
	if b.h.Fragile && errors.Is(err, boot.ErrNoState) {
		return b.c.Commit(may[0][2])
	}
	if err != nil {
		return err
	}
	var starts [3]string
	for i := range starts {
		if starts[i], err = b.loader.Boot(every); err != nil {
			return err
		}
	}
	if !slices.Contains(may, starts) {
		return fmt.Errorf("with the state %+v %v is started, of %v", s, starts, may)
	}
	if _, err := boot.Reconcile(b.c, s.Permanent); err != nil {
		return err
	}
	rest := map[string]string{"a": "b", "b": "a"}[s.Permanent]
	if err := b.c.Try(rest); err != nil {
		return fmt.Errorf("the next update: %w", err)
	}
	if got, err := b.loader.Boot(every); got != rest || err != nil {
		return fmt.Errorf("the next update started %s, %w", got, err)
	}
	return nil
}

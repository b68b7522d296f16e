package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"slipstream/slots/powercut"
)

// TestPowerCut cuts the power at every instant of a device's life, on a real disk
// that forgets what was not flushed, and then takes one copy away.
func TestPowerCut(t *testing.T) {
	disk := powercut.New(t, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	factory := func(dir string) Factory {
		return Factory{Counter: FileCounter(filepath.Join(dir, "counter"))}
	}
	s, err := Open(filepath.Join(disk.Dir, "trust"), factory(disk.Dir))
	must(err)
	for n := int64(1); n <= 4; n++ {
		must(disk.Mark(fmt.Sprintf("commits %d", n)))
		must(s.Committed(installed(n, n)))
		must(disk.Mark(fmt.Sprintf("committed %d", n)))
	}
	const firstCopy = 6 // create, write, flush, rename, flush both directories
	must(disk.Fail(powercut.Fault{At: firstCopy + 1, Errno: syscall.EIO}))
	must(disk.Mark("one copy fails"))
	must(disk.Mark("commits 5"))
	must(s.Committed(installed(5, 5)))
	must(disk.Mark("committed 5"))
	log, err := disk.Log()
	must(err)
	e := &powercut.Explorer{Limit: 64, Check: func(dir string, told []string) error { return remembers(dir, factory(dir), told) }}
	tally, err := e.Run(log, 0)
	t.Logf("power cut: seed=%d %v, of at most %d states a cut", *powercut.Seed, tally, e.Limit)
	must(err)
	needed := powercut.Needed{}
	_, err = e.Unheard(log, needed)
	must(err)
	if err := needed.Check(nil); err != nil {
		t.Error(err)
	}
}

// remembers is what must be true after every power cut.
func remembers(dir string, factory Factory, told []string) error {
	before, after := int64(0), int64(0)
	for _, word := range told {
		if _, err := fmt.Sscanf(word, "commits %d", &after); err != nil {
			before = after // it was committed
		}
	}
	state := filepath.Join(dir, "trust")
	s, err := expectFloors(state, factory, before, after)
	if err != nil {
		return err
	}
	for i := range 2 {
		if slices.Contains(told, "one copy fails") {
			break // and is of before
		}
		raw, err := os.ReadFile(filepath.Join(state, copyName(i)))
		if os.IsNotExist(err) && before == 0 {
			continue
		}
		if err != nil {
			return err
		}
		alone := filepath.Join(dir, fmt.Sprint("alone", i))
		if err := errors.Join(os.Mkdir(alone, 0o755), os.WriteFile(filepath.Join(alone, copyName(i)), raw, 0o600)); err != nil {
			return err
		}
		if _, err := expectFloors(alone, factory, before, after); err != nil {
			return fmt.Errorf("%s alone: %w", copyName(i), err)
		}
	}
	if err := s.Committed(installed(9, 9)); err != nil {
		return err
	}
	if s, err = expectFloors(state, factory, 9, 9); err == nil && len(s.Problems()) > 0 {
		err = fmt.Errorf("after the next commit: %q", s.Problems())
	}
	return err
}

// expectFloors opens the state, in which the floors are those before or after.
func expectFloors(state string, factory Factory, before, after int64) (*Store, error) {
	s, err := Open(state, factory)
	if err != nil {
		return nil, err
	}
	if s.Fresh() && before > 0 {
		return nil, fmt.Errorf("the state is lost: %q", s.Problems())
	}
	dev, err := s.Device("gatecam")
	if err != nil {
		return nil, err
	}
	hardware, err := factory.Counter.Read()
	if err != nil {
		return nil, err
	}
	got := []int64{dev.FloorCounter, dev.FloorEpoch, int64(hardware)}
	for _, n := range got {
		if !slices.Contains([]int64{before, after}, n) {
			return nil, fmt.Errorf("the floors are %v, before they were %d and then %d", got, before, after)
		}
	}
	if got[2] > got[0] {
		return nil, fmt.Errorf("the counter is at %d before the floor, which is at %d", got[2], got[0])
	}
	return s, nil
}

package boot

import (
	"errors"
	"maps"
)

// Reconcile brings a boot loader into agreement with the active record, which
// alone says what is permanent. It is for the time when no trial is prepared or
// under way: at every start of the agent, and after a power cut that came
// between the record and the boot loader. It ends a trial that nobody waits for
// and gives the permanent slot its full tries. It reports whether the boot
// loader was of another mind, and writes nothing if it was not.
func Reconcile(c Control, permanent string) (changed bool, err error) {
	before, err := c.State()
	if errors.Is(err, ErrNoState) {
		return true, c.Commit(permanent)
	}
	if err != nil {
		return false, err
	}
	if before.Permanent != permanent {
		return true, c.Commit(permanent)
	}
	if err := c.Cancel(); err != nil {
		return false, err
	}
	after, err := c.State()
	return !same(before, after), err
}

func same(s, t State) bool {
	return s.Permanent == t.Permanent && s.Trial == t.Trial && maps.Equal(s.Slots, t.Slots)
}

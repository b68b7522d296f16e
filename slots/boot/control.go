package boot

import (
	"errors"
	"fmt"
)

// view is what all kinds of boot loader state say, in one form. A dialect reads
// it from its own words and writes it back.
type view struct {
	good  string          // permanent slot
	trial string          // the next boot tries it, and only that; empty: none
	ok    map[string]bool // may be started: on trial, permanent, or if that fails to load
	left  map[string]int  // for State only: tries left, -1: not counted
}

// backend is where a view is kept.
type backend interface {
	// lock keeps other programs out until unlock is called.
	lock() (unlock func(), err error)
	// read returns ErrNoState if nothing whole is there.
	read() (view, error)
	// write brings the view to storage and reads it back. It writes nothing if
	// that is there already. A power cut leaves the view before or the one after.
	write(v view) error
	// make is write where read says ErrNoState.
	make(v view) error
}

// control is a Control over any backend.
type control struct{ backend }

var _ Control = control{}

func (c control) State() (State, error) {
	unlock, err := c.lock()
	if err != nil {
		return State{}, fmt.Errorf("boot: %w", err)
	}
	defer unlock()
	v, err := c.read()
	if err != nil {
		return State{}, fmt.Errorf("boot: %w", err)
	}
	return v.state(), nil
}

func (v view) state() State {
	s := State{Permanent: v.good, Trial: v.trial, Slots: make(map[string]Slot), Recovery: true}
	for _, name := range names {
		s.Slots[name] = Slot{Bootable: v.ok[name], TriesLeft: v.left[name]}
		s.Recovery = s.Recovery && !v.ok[name]
	}
	return s
}

func (c control) Try(slot string) error {
	return c.change("try", slot, func(v *view) error {
		if slot == v.good {
			return ErrPermanent
		}
		v.trial, v.ok[slot], v.ok[v.good] = slot, true, true
		return nil
	})
}

func (c control) Commit(slot string) error {
	commit := func(v *view) error {
		v.commit(slot)
		return nil
	}
	err := c.change("commit", slot, commit)
	if !errors.Is(err, ErrNoState) {
		return err
	}
	if err := c.provision(slot); err != nil {
		return fmt.Errorf("boot: make the state anew: %w", err)
	}
	return nil
}

// commit leaves a slot that was on trial, and did not become permanent, out.
func (v *view) commit(slot string) {
	if v.trial != "" {
		v.ok[v.trial] = false
	}
	v.good, v.trial, v.ok[slot] = slot, "", true
}

func (c control) Cancel() error {
	err := c.edit(func(v *view) error {
		v.commit(v.good)
		return nil
	})
	if err != nil {
		return fmt.Errorf("boot: cancel the trial: %w", err)
	}
	return nil
}

func (c control) Disable(slot string) error {
	return c.change("disable", slot, func(v *view) error {
		if slot == v.good {
			return ErrPermanent
		}
		if v.trial == slot {
			v.trial = ""
		}
		v.ok[slot] = false
		return nil
	})
}

// change reads, edits and writes, with other programs kept out.
func (c control) change(verb, slot string, edit func(*view) error) error {
	if !known(slot) {
		return fmt.Errorf("boot: %s: there is no slot %q", verb, slot)
	}
	if err := c.edit(edit); err != nil {
		return fmt.Errorf("boot: %s slot %s: %w", verb, slot, err)
	}
	return nil
}

func (c control) edit(edit func(*view) error) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	v, err := c.read()
	if err != nil {
		return err
	}
	if err := edit(&v); err != nil {
		return err
	}
	return c.write(v)
}

// provision makes a lost state anew. Only one slot is known to be good.
func (c control) provision(slot string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.make(view{good: slot, ok: map[string]bool{slot: true}})
}

var names = []string{"a", "b"}

func known(slot string) bool { return slot == "a" || slot == "b" }

func other(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

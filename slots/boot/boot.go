// Package boot tells a boot loader which system slot to start.
package boot

import "errors"

// Control is a boot loader's state, as the running system reads and writes it.
// Slots are named "a" and "b". One goroutine at a time may use it; every method
// that changes something returns after the change is on storage and was read
// back, and writes nothing if it is so already.
//
// A trial has one try: once the boot loader has started the slot on trial, the
// next boot starts the permanent one, however that boot came about, unless
// Commit came before. A boot that is no trial writes nothing.
type Control interface {
	// State reads what the boot loader will do.
	State() (State, error)
	// Try lets the next boot, and only that, start slot.
	Try(slot string) error
	// Commit makes slot the permanent one and ends the trial.
	Commit(slot string) error
	// Cancel ends the trial: the next boot starts the permanent slot. It also
	// gives the permanent slot its full tries again.
	Cancel() error
	// Disable keeps the boot loader from ever starting slot, which is about to
	// be written. Try and Commit enable it again. The permanent slot is refused
	// with ErrPermanent.
	Disable(slot string) error
}

// State is what a boot loader will do.
type State struct {
	Permanent string          // slot that is started without a trial
	Trial     string          // slot that the next boot tries; empty: none
	Slots     map[string]Slot // both slots
}

// Slot is what a boot loader thinks of a slot.
type Slot struct {
	Bootable  bool
	TriesLeft int // -1: it is not counted
}

var (
	// ErrPermanent means that the permanent slot was about to be disabled.
	ErrPermanent = errors.New("the permanent slot cannot be disabled")
	// ErrNoState means that the boot loader's state cannot be read in any copy.
	ErrNoState = errors.New("the boot loader's state cannot be read")
)

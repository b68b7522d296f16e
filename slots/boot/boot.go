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
	// Commit makes slot the permanent one and ends the trial. The slot that was
	// permanent until then stays bootable. Where State says ErrNoState, Commit
	// makes the state anew, with slot as the only one that is bootable.
	Commit(slot string) error
	// Cancel ends the trial: the next boot starts the permanent slot. The slot on
	// trial is not bootable after that. It also gives the permanent slot its full
	// tries again.
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
	Recovery  bool            // neither slot is bootable: the next boot goes to the recovery
}

// Slot is what a boot loader thinks of a slot.
type Slot struct {
	Bootable  bool
	TriesLeft int // -1: it is not counted
}

var (
	// ErrPermanent means that the permanent slot was about to be disabled, or
	// tried.
	ErrPermanent = errors.New("it is the permanent slot")
	// ErrNoState means that the boot loader's state was read and is whole in no
	// copy. Commit makes it anew.
	ErrNoState = errors.New("the boot loader's state is lost: no copy of it is whole")
	// ErrBusy means that another program kept the boot loader's state locked.
	ErrBusy = errors.New("another program is changing the boot loader's state")
)

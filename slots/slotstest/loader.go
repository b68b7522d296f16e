package slotstest

// Recovery is what a Loader starts if it can start neither slot.
const Recovery = "recovery"

// Loader is a boot loader.
type Loader interface {
	// Boot does what the boot loader does at one power-on, and returns the slot
	// that was started, or Recovery. loads says whether a slot can be loaded.
	Boot(loads func(slot string) bool) (started string, err error)
}

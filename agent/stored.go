package agent

import (
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/slots/boot"
)

// stored is what the disk says of a slot, nil if it cannot be asked.
func (a *Agent) stored(t target) *control.Stored {
	if t.set == nil {
		return nil
	}
	st, err := t.set.Status(t.slot)
	if err != nil {
		return nil
	}
	s := &control.Stored{
		State: st.State, Version: st.Version, Digest: st.Digest, Kind: st.Kind, Size: st.Size,
		By: st.By, StagedAt: st.StagedAt, VerifiedAt: st.VerifiedAt, Mount: st.Mount,
	}
	if st.State == slots.StateStaged && s.VerifiedAt.Before(st.StagedAt) {
		s.VerifiedAt = st.StagedAt // it was read back whole before it was called staged
	}
	if c := st.Cost; c != nil {
		s.Cost = &control.Staged{Origins: control.Origins(c.Origins), Written: c.Written}
	}
	return s
}

// withStored adds to slots of systems or programs what the disk and the boot loader say.
func (a *Agent) withStored(list []control.System, of func(slot string) target, tries map[string]boot.Slot) []control.System {
	for i := range list {
		list[i].Stored = a.stored(of(list[i].Name))
		if left, known := tries[list[i].Name]; known && left.TriesLeft >= 0 {
			list[i].TriesLeft = &left.TriesLeft
		}
	}
	return list
}

// noteTries keeps what the boot loader counts. It is read where the boot loader is told
// something, since one at a time may use it.
func (a *Agent) noteTries() {
	s, err := a.boot.State()
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries = s.Slots
}

func (a *Agent) triesLeft() map[string]boot.Slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tries
}

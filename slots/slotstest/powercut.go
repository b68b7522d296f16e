package slotstest

import (
	"errors"

	"slipstream/slots/boot"
)

// changes are the changes of an update that is committed and one that is not.
func changes(b *bench) []func(boot.Control) error {
	try := func(slot string) func(boot.Control) error {
		return func(c boot.Control) error { return c.Try(slot) }
	}
	boots := func(slot string) func(boot.Control) error {
		return func(boot.Control) error {
			b.boots(every, slot)
			return nil
		}
	}
	return []func(boot.Control) error{
		func(c boot.Control) error { return c.Disable("b") },
		try("b"), boots("b"),
		func(c boot.Control) error { return c.Commit("b") },
		func(c boot.Control) error { return c.Disable("a") },
		try("a"), boots("a"), boots("b"),
		boot.Control.Cancel,
		try("a"),
		boot.Control.Cancel,
		try("a"),
		func(c boot.Control) error { return c.Disable("a") },
	}
}

// cuts lets the power fail at each step of each change. What is started after
// that is what would have been started without the change, or with it.
func cuts(b *bench) {
	count := 0
	for i, change := range changes(b) {
		before := b.look()
		old := outcome(b)
		b.restore(before)
		b.must(change(b.c))
		after := b.look()
		new := outcome(b)
		for _, fate := range b.h.Cuts {
			for step := 0; ; step += stride(fate) {
				b.restore(before)
				b.power(&Disk{Steps: step, Fate: fate})
				if err := change(b.c); err == nil {
					break
				} else if !errors.Is(err, ErrCut) {
					b.Fatalf("change %d, cut %d: %v", i, step, err)
				}
				count++
				b.power(&Disk{Steps: -1})
				afterCut(b, i, step, old, new)
			}
		}
		b.power(&Disk{Steps: -1})
		b.restore(after)
	}
	b.Logf("cuts=%d", count)
}

// stride is 1 where each step leaves something else on storage.
func stride(f Fate) int {
	if f == Lost {
		return 31
	}
	return 1
}

// outcome is what the next boots start.
func outcome(b *bench) (starts [3]string) {
	for i := range starts {
		slot, err := b.loader.Boot(every)
		b.must(err)
		starts[i] = slot
	}
	return starts
}

func afterCut(b *bench, change, step int, old, new [3]string) {
	b.Helper()
	s, err := b.c.State()
	if b.h.Fragile && errors.Is(err, boot.ErrNoState) {
		b.must(b.c.Commit(old[2]))
		b.boots(every, old[2])
		return
	}
	if err != nil {
		b.Fatalf("change %d, cut %d: %v", change, step, err)
	}
	if got := outcome(b); got != old && got != new {
		b.Fatalf("change %d, cut %d, state %+v: %v is started, want %v or %v", change, step, s, got, old, new)
	}
	permanent := s.Permanent
	_, err = boot.Reconcile(b.c, permanent)
	b.must(err)
	rest := map[string]string{"a": "b", "b": "a"}[permanent]
	b.must(b.c.Try(rest)) // the next update works
	b.boots(every, rest, permanent)
}

// lasting loses what was not synced, right after each change.
func lasting(b *bench) {
	for i, change := range changes(b) {
		b.power(&Disk{Steps: -1, Fate: Lost})
		b.must(change(b.c))
		said, err := b.c.State()
		b.must(err)
		b.must(b.disk.End())
		if s, err := b.c.State(); err != nil || s.Permanent != said.Permanent || s.Trial != said.Trial || bootables(s) != bootables(said) {
			b.Fatalf("change %d: after a power cut the state is %+v (%v), it was said to be %+v", i, s, err, said)
		}
	}
}

package slotstest

import (
	"errors"
	"math/rand/v2"
	"slices"

	"slipstream/slots/boot"
)

func oneTry(b *bench) {
	b.expect("a", "", "a")
	b.must(b.c.Try("b"))
	b.expect("a", "b", "ab")
	b.boots(every, "b", "a", "a")
	b.must(b.c.Cancel())
	b.expect("a", "", "a")
	b.boots(every, "a", "a")
}

func committed(b *bench) {
	b.must(b.c.Try("b"))
	b.boots(every, "b")
	b.expect("a", "", "a")
	b.must(b.c.Commit("b"))
	b.expect("b", "", "ab")
	b.boots(every, "b", "b")
	b.must(b.c.Cancel())
	b.expect("b", "", "ab")
	b.must(b.c.Try("a"))
	b.boots(every, "a", "b")
	b.must(b.c.Cancel())
	b.must(b.c.Commit("a")) // without a trial, as a technician does
	b.expect("a", "", "ab")
	b.boots(every, "a", "a")
}

func cannotLoad(b *bench) {
	b.must(b.c.Try("b"))
	first := "a"
	if b.h.NoFallback {
		first = Recovery
	}
	b.boots(only("a"), first, "a")
	b.must(b.c.Cancel())
	b.expect("a", "", "a")
}

func only(slots ...string) func(string) bool {
	return func(slot string) bool { return slices.Contains(slots, slot) }
}

func disabled(b *bench) {
	b.must(b.c.Try("b"))
	b.must(b.c.Disable("b")) // before its only try
	b.expect("a", "", "a")
	b.boots(every, "a")
	b.boots(only("b"), Recovery)
	b.must(b.c.Try("b"))
	b.boots(every, "b")
	b.must(b.c.Commit("b"))
	if !b.h.NoFallback {
		b.boots(only("a"), "a")
	}
	b.must(b.c.Disable("a"))
	b.expect("b", "", "b")
	b.boots(only("a"), Recovery)
	b.boots(every, "b")
}

func cancelled(b *bench) {
	b.must(b.c.Try("b"))
	b.must(b.c.Cancel())
	b.expect("a", "", "a")
	b.boots(every, "a", "a")
	b.must(b.c.Try("b"))
	b.must(b.c.Commit("a")) // ends the trial as well
	b.expect("a", "", "a")
	b.boots(every, "a")
}

func secondTrial(b *bench) {
	for range 3 {
		b.must(b.c.Try("b"))
		b.boots(every, "b", "a")
		b.must(b.c.Cancel())
	}
	b.must(b.c.Try("b"))
	b.boots(every, "b")
	b.must(b.c.Try("b")) // once more from within
	b.boots(every, "b", "a")
}

func bothBad(b *bench) {
	b.must(b.c.Try("b"))
	for range 6 {
		b.boots(only(), Recovery)
	}
}

func refused(b *bench) {
	for _, slot := range []string{"", "c", "A", "a b"} {
		for verb, do := range map[string]func(string) error{"Try": b.c.Try, "Commit": b.c.Commit, "Disable": b.c.Disable} {
			if do(slot) == nil {
				b.Errorf("%s(%q) is accepted", verb, slot)
			}
		}
	}
	for verb, do := range map[string]func(string) error{"Try": b.c.Try, "Disable": b.c.Disable} {
		if err := do("a"); !errors.Is(err, boot.ErrPermanent) {
			b.Errorf("%s of the permanent slot: %v", verb, err)
		}
	}
	b.expect("a", "", "a")
	if b.disk.Writes != 0 {
		b.Errorf("what is refused wrote %d times", b.disk.Writes)
	}
}

func damagedCopy(b *bench) {
	if b.h.Copies < 2 {
		return
	}
	b.must(b.c.Try("b"))
	b.must(b.c.Cancel())
	b.must(b.c.Commit("b")) // both copies were written by now
	files := b.look()
	for i := range b.h.Copies {
		b.restore(files)
		b.h.Damage(b.T, b.dir, i)
		s, err := b.c.State()
		b.must(err)
		b.boots(every, s.Permanent)
		_, err = boot.Reconcile(b.c, "b")
		b.must(err)
		b.expect("b", "", bootablesNow(b))
		b.must(b.c.Try("a"))
		b.boots(every, "a", "b")
		b.must(b.c.Cancel())
		b.h.Damage(b.T, b.dir, 1-i) // the one that was whole then
		if _, err := b.c.State(); err != nil {
			b.Errorf("the damaged copy %d was not the one written since: %v", i, err)
		}
	}
}

func bootablesNow(b *bench) string {
	s, err := b.c.State()
	b.must(err)
	return bootables(s)
}

func allDamaged(b *bench) {
	for i := range b.h.Copies {
		b.h.Damage(b.T, b.dir, i)
	}
	if _, err := b.c.State(); !errors.Is(err, boot.ErrNoState) {
		b.Fatalf("State: %v", err)
	}
	if err := b.c.Try("b"); !errors.Is(err, boot.ErrNoState) {
		b.Fatalf("Try: %v", err)
	}
	if b.h.Lasting {
		if err := b.c.Commit("b"); err == nil {
			b.Fatal("Commit makes a state of nothing")
		}
		return
	}
	changed, err := boot.Reconcile(b.c, "b")
	b.must(err)
	if !changed {
		b.Error("Reconcile changed nothing")
	}
	b.expect("b", "", "b")
	b.boots(every, "b", "b")
	b.must(b.c.Try("a"))
	b.boots(every, "a", "b")
}

func reconcile(b *bench) {
	start := b.look()
	for name, prepare := range map[string]func(){
		"fresh":              func() {},
		"a trial pending":    func() { b.must(b.c.Try("b")) },
		"a trial under way":  func() { b.must(b.c.Try("b")); b.boots(every, "b") },
		"a trial lost":       func() { b.must(b.c.Try("b")); b.boots(every, "b", "a") },
		"committed":          func() { b.must(b.c.Commit("b")) },
		"committed, trial a": func() { b.must(b.c.Commit("b")); b.must(b.c.Try("a")) },
	} {
		for _, permanent := range []string{"a", "b"} {
			b.restore(start)
			prepare()
			_, err := boot.Reconcile(b.c, permanent)
			b.must(err)
			s, err := b.c.State()
			b.must(err)
			if s.Permanent != permanent || s.Trial != "" || !s.Slots[permanent].Bootable {
				b.Errorf("%s: after Reconcile to %s the state is %+v", name, permanent, s)
			}
			wrote := b.disk.Writes
			if changed, err := boot.Reconcile(b.c, permanent); err != nil || changed || b.disk.Writes != wrote {
				b.Errorf("%s: Reconcile to %s again: changed %v, %d writes, %v", name, permanent, changed, b.disk.Writes-wrote, err)
			}
			b.boots(every, permanent, permanent)
		}
	}
}

// anyOrder compares with the contract, in a form without any boot loader.
func anyOrder(b *bench) {
	if b.h.CountsAlways {
		return
	}
	start := b.look()
	for seed := range uint64(60) {
		b.restore(start)
		r := rand.New(rand.NewPCG(seed, 0))
		m := model{permanent: "a", ok: map[string]bool{"a": true}}
		var story []string
		for range 15 {
			story = append(story, m.random(b, r))
			s, err := b.c.State()
			b.must(err)
			if s.Permanent != m.permanent || s.Trial != m.trial || s.Slots["a"].Bootable != m.ok["a"] || s.Slots["b"].Bootable != m.ok["b"] {
				b.Fatalf("seed %d: after %v the state is %+v, want %+v", seed, story, s, m)
			}
		}
	}
}

type model struct {
	permanent, trial string
	ok               map[string]bool
}

func (m *model) random(b *bench, r *rand.Rand) string {
	slot := []string{"a", "b"}[r.IntN(2)]
	switch event := r.IntN(6); {
	case event == 0:
		b.must(b.c.Commit(slot))
		m.end(slot)
		return "commit " + slot
	case event == 1:
		b.must(b.c.Cancel())
		m.end(m.permanent)
		return "cancel"
	case event == 2 && slot != m.permanent:
		b.must(b.c.Disable(slot))
		m.trial, m.ok[slot] = "", false
		return "disable " + slot
	case event == 3 && slot != m.permanent:
		b.must(b.c.Try(slot))
		m.trial, m.ok[slot] = slot, true
		return "try " + slot
	}
	want := m.permanent
	if m.trial != "" {
		want, m.ok[m.trial], m.trial = m.trial, false, ""
	}
	b.boots(every, want)
	return "boot " + want
}

func (m *model) end(permanent string) {
	if m.trial != "" {
		m.ok[m.trial] = false
	}
	m.permanent, m.trial, m.ok[permanent] = permanent, "", true
}

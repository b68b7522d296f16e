package slotstest

import (
	"slipstream/slots"
)

// distrusted: nothing is lost by it, and nothing can be started.
func distrusted(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("b", c)
	for range 2 {
		if err := b.s.Distrust(b.Context(), "b"); err != nil {
			b.Fatal(err)
		}
		b.expect("b", "")
		if st, err := b.s.Status("b"); err != nil || st.State != slots.StateWriting || st.Version != c.Version || !st.VerifiedAt.IsZero() {
			b.Errorf("%+v, %v", st, err)
		}
	}
	b.reopen()
	b.expect("b", "")
	if r := b.mustStage("b", c); r.Kept != c.Size || r.Fetched != 0 {
		b.Errorf("staged again: %+v, the image has %d bytes", r, c.Size)
	}
	b.expect("b", c.Digest)
	if err := b.s.Distrust(b.Context(), "a"); err != nil {
		b.Errorf("an empty slot: %v", err)
	}
	if st, err := b.s.Status("a"); err != nil || st.State != slots.StateEmpty {
		b.Errorf("an empty slot: %+v, %v", st, err)
	}
}

// looked: a version that this process has read is read once more, and not written.
func looked(b *setBench) {
	c := b.content(b.T, 1)
	b.mustStage("a", c)
	before, err := b.s.Status("a")
	if err != nil {
		b.Fatal(err)
	}
	r, err := b.s.Stage(b.Context(), "a", c, slots.StageOptions{By: "somebody", Look: true})
	after, statusErr := b.s.Status("a")
	if err != nil || statusErr != nil || r.Kept != c.Size || r.Written != 0 || !after.VerifiedAt.After(before.VerifiedAt) {
		b.Errorf("%+v, %v; verified %v, before %v", r, err, after.VerifiedAt, before.VerifiedAt)
	}
	b.expect("a", c.Digest)
}

// costKept: the report of the stage that has written a version, not of one that found
// it there. Its own note is not in it.
func costKept(b *setBench) {
	c := b.content(b.T, 1)
	r := b.mustStage("a", c)
	b.mustStage("a", c)
	b.reopen()
	st, err := b.s.Status("a")
	if err != nil || st.Cost == nil || st.Cost.Origins != r.Origins || st.Cost.Written < c.Size || st.Cost.Written > r.Written {
		b.Errorf("cost %+v, %v; the stage has reported %+v", st.Cost, err, r)
	}
}

package demo

import (
	"fmt"
	"slices"

	"slipstream/testrig/camera"
)

// Carried is what became of the count that versions hand over, by the stamps that one
// viewer of the first stream saw.
type Carried struct {
	Given  uint64 `json:"given"`   // pictures that the new version began with
	WentOn bool   `json:"went_on"` // they are what the old version had counted at the scene of the hand-over
	// The old version's counts at its last picture before the new one's first and at its
	// first one after, and whether each scene between was counted once: the trial has
	// changed no bit of it. Null if the old version did not come back.
	Before *uint64 `json:"before"`
	After  *uint64 `json:"after"`
	Kept   *bool   `json:"kept"`
}

// carry reads an update's stamps, in the order in which they were seen; nil if the new
// version showed no picture.
func carry(from, to string, seen []camera.Stamp) *Carried {
	by := func(version string) func(camera.Stamp) bool {
		return func(s camera.Stamp) bool { return s.Version == version && s.Count > 0 }
	}
	first := slices.IndexFunc(seen, by(to))
	if first < 0 {
		return nil
	}
	given := seen[first].Given
	c := &Carried{Given: given.Count, WentOn: slices.ContainsFunc(seen[:first], func(s camera.Stamp) bool {
		return by(from)(s) && s.Count-s.Counter == given.Count-given.Counter // the viewer may have joined later
	})}
	last := first - 1
	for last >= 0 && !by(from)(seen[last]) {
		last--
	}
	back := slices.IndexFunc(seen[first:], by(from))
	if last < 0 || back < 0 {
		return c
	}
	a, b := seen[last], seen[first+back]
	kept := b.Count-a.Count == b.Counter-a.Counter && b.Given == a.Given
	c.Before, c.After, c.Kept = &a.Count, &b.Count, &kept
	return c
}

// carriedLine tells people of it.
func carriedLine(u Update) string {
	c := u.Carried
	switch {
	case c == nil:
		return ""
	case c.Kept == nil:
		return fmt.Sprintf("the count: %s goes on from the %d pictures that %s had shown", u.To, c.Given, u.From)
	}
	return fmt.Sprintf("the count: %s went on from %d pictures; that of %s was %d before the trial and is %d at its next picture after it, each scene counted once",
		u.To, c.Given, u.From, *c.Before, *c.After)
}

// judgeCarried checks that nothing was lost on the way, nor changed by a trial.
func (st step) judgeCarried(p *problems, u Update) {
	switch c := u.Carried; {
	case st.stranger:
	case c == nil:
		p.add("the new version's count was not seen")
	case !c.WentOn:
		p.add("the new version began with %d pictures, which the old one had not handed over", c.Given)
	case len(st.reasons) > 0 && c.Kept == nil:
		p.add("the old version's count was not seen again")
	case c.Kept != nil && !*c.Kept:
		p.add("the old version's count went from %d to %d during the trial, which is not what it showed", *c.Before, *c.After)
	}
}

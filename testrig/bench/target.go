package bench

import (
	"fmt"
	"strings"
)

// Target is a bound on a figure's value: so much, so large a share of its reference, or
// so much beyond its reference. The other two are nil.
type Target struct {
	Most   *float64 `json:"most,omitempty"`
	Share  *float64 `json:"share,omitempty"`
	Beyond *float64 `json:"beyond,omitempty"`
}

func atMost(value float64) Target { return Target{Most: &value} }

func shareOf(share float64) Target { return Target{Share: &share} }

func beyond(excess float64) Target { return Target{Beyond: &excess} }

// Verdicts on a figure.
const (
	met       = "met"
	missed    = "missed"
	notJudged = "not judged" // its reference was not measured
)

// judge says whether a value keeps to the target.
func (t Target) judge(f *Figure) string {
	bound, known := 0.0, f.Reference != ""
	switch {
	case t.Most != nil:
		bound, known = *t.Most, true
	case t.Share != nil:
		bound = *t.Share * f.ReferenceValue
	case t.Beyond != nil:
		bound = *t.Beyond + f.ReferenceValue
	}
	switch {
	case !known:
		return notJudged
	case f.Value <= bound:
		return met
	}
	return missed
}

// text is the target for people.
func (t Target) text(f *Figure) string {
	reference := f.Reference
	if reference == "" {
		reference = "the reference"
	}
	switch {
	case t.Share != nil:
		return fmt.Sprintf("≤ 1/%.3g of %s", 1 / *t.Share, reference)
	case t.Beyond != nil:
		return fmt.Sprintf("≤ %s + %.3g %s", reference, *t.Beyond, f.Unit)
	case *t.Most == 0:
		return "0"
	}
	return strings.TrimSpace(fmt.Sprintf("≤ %.3g %s", *t.Most, f.Unit))
}

// verdict is the worst of a figure's targets, "" if it has none.
func (f *Figure) verdict() string {
	verdict := ""
	for _, t := range f.Targets {
		switch v := t.judge(f); {
		case v == missed:
			return missed
		case verdict != notJudged:
			verdict = v
		}
	}
	return verdict
}

// targets are all of a figure's targets for people.
func (f *Figure) targets() string {
	texts := make([]string, len(f.Targets))
	for i, t := range f.Targets {
		texts[i] = t.text(f)
	}
	return strings.Join(texts, ", ")
}

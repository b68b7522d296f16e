package verify

import (
	"fmt"
	"slices"
	"time"
)

// Measures of a stream that an invariant may bound.
const (
	MeasureFrameRate   = "frame-rate"
	MeasureKeyInterval = "key-interval"
	MeasureGap         = "gap"
	MeasureBitrate     = "bitrate"
	MeasurePictureSize = "picture-size"
	MeasureDrift       = "drift"
)

// Values of an invariant's choices.
const (
	AgainstPermanent = "permanent"
	AgainstNothing   = "nothing"

	SeverityRequired = "required"
	SeverityWanted   = "wanted"
)

// DefaultWindow is an invariant's window if the manifest gives none.
const DefaultWindow = 3 * time.Second

var measures = []string{
	MeasureFrameRate, MeasureKeyInterval, MeasureGap, MeasureBitrate, MeasurePictureSize, MeasureDrift,
}

// Window is the time over which the invariant is judged.
func (i Invariant) Window() time.Duration {
	if i.WindowMS == 0 {
		return DefaultWindow
	}
	return time.Duration(i.WindowMS) * time.Millisecond
}

// String is the invariant as people read it, without its name: "frame-rate against
// permanent >= 0.9 over 3000 ms, required".
func (i Invariant) String() string {
	text := i.Measure
	if i.Against == AgainstPermanent {
		text += " against permanent"
	}
	if i.Min != nil {
		text += " >= " + spell(*i.Min)
	}
	if i.Min != nil && i.Max != nil {
		text += " and"
	}
	if i.Max != nil {
		text += " <= " + spell(*i.Max)
	}
	severity := SeverityWanted
	if i.Required() {
		severity = SeverityRequired
	}
	return fmt.Sprintf("%s over %d ms, %s", text, i.Window().Milliseconds(), severity)
}

// Required says that the trial is reverted when the invariant is broken.
func (i Invariant) Required() bool { return i.Severity == "" || i.Severity == SeverityRequired }

func (s Stream) checkInvariants() error {
	if len(s.Invariants) > MaxInvariants {
		return bad("stream %s has %d invariants, allowed are %d", quote(s.Name), len(s.Invariants), MaxInvariants)
	}
	for n, i := range s.Invariants {
		if !isStreamName(i.Name) {
			return bad("invariant %s of stream %s is not a name of at most %d lower-case letters and digits",
				quote(i.Name), quote(s.Name), MaxStream)
		}
		if slices.ContainsFunc(s.Invariants[:n], func(other Invariant) bool { return other.Name == i.Name }) {
			return bad("two invariants of stream %s are named %s", quote(s.Name), quote(i.Name))
		}
		if err := i.check(s); err != nil {
			return err
		}
	}
	return nil
}

// check judges one invariant, whose name is good.
func (i Invariant) check(s Stream) error {
	name := s.Name + "." + i.Name
	switch {
	case !slices.Contains(measures, i.Measure):
		return bad("invariant %s has the measure %s, none of frame-rate, key-interval, gap, bitrate, picture-size, drift",
			name, quote(i.Measure))
	case s.Sound() && (i.Measure == MeasurePictureSize || i.Measure == MeasureKeyInterval):
		return bad("invariant %s has the measure %s, which sound has not", name, i.Measure)
	case i.Against != AgainstPermanent && i.Against != AgainstNothing:
		return bad("invariant %s is against %s, none of permanent, nothing", name, quote(i.Against))
	case i.Severity != "" && i.Severity != SeverityRequired && i.Severity != SeverityWanted:
		return bad("invariant %s has the severity %s, none of required, wanted", name, quote(i.Severity))
	case i.WindowMS != 0 && !within(i.WindowMS, minWindowMS, maxWindowMS):
		return bad("invariant %s has a windowMs of %d, allowed are %d to %d", name, i.WindowMS, minWindowMS, maxWindowMS)
	}
	return i.checkBounds(name)
}

// checkBounds also refuses a bound that holds always or never by the nature of its
// measure: only drift can be below zero.
func (i Invariant) checkBounds(name string) error {
	if i.Min == nil && i.Max == nil {
		return bad("invariant %s has neither min nor max", name)
	}
	for _, bound := range []*float64{i.Min, i.Max} {
		switch {
		case bound == nil:
		case !isDecimal(spell(*bound)):
			return bad("invariant %s has a bound that is not a number of at most %d decimals up to 2^53", name, MaxJSONDecimals)
		case *bound < 0 && i.Measure != MeasureDrift:
			return bad("invariant %s has the bound %s; only drift can be negative", name, spell(*bound))
		}
	}
	if i.Min != nil && i.Max != nil && *i.Min > *i.Max {
		return bad("invariant %s has a min of %s above its max of %s", name, spell(*i.Min), spell(*i.Max))
	}
	return nil
}

// checkSoak makes sure that nothing becomes permanent before each invariant that
// could revert it was judged.
func (a *App) checkSoak() error {
	for _, s := range a.Streams {
		for _, i := range s.Invariants {
			if window := i.Window().Milliseconds(); i.Required() && window > a.SoakMS {
				return bad("app.soakMs (%d) is shorter than the window of invariant %s.%s (%d)", a.SoakMS, s.Name, i.Name, window)
			}
		}
	}
	return nil
}

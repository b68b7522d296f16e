package core

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"slipstream/stream/orders"
)

const (
	maxInvariants = 16 // of one stream

	minWindow = time.Second
	maxWindow = time.Minute

	// thirds of a window are the steps in which it slides.
	thirds = 3

	// maxPutOff bounds how often in a row a judgement is put off.
	maxPutOff = 4
)

// An invariant is judged like this.
//
// The window is a whole number of steps of 100 ms, and the first one begins when
// viewers are on the trial's source. When it is over, and from then on each third of
// it, the invariant is judged over the last whole window. One judgement that does
// not hold may be chance; a second one in a row breaks the invariant. So what went
// bad for good breaks it within two thirds of a window, and so does a single gap
// that is too long, because three judgements in a row see it.
//
// A judgement is put off if it could be the machine's fault: to the next step, if
// the forwarder woke late to give it; by a third of a window, if a bound against
// nothing does not hold for the permanent source either, in the same seconds. After
// being put off four times in a row it is given all the same. Gaps that ended while
// the forwarder itself was late never count.
type invariant struct {
	orders.Invariant
	stream string
	steps  int64 // of the window

	next    int64 // step at whose beginning it is judged
	fails   int   // judgements in a row that did not hold
	putOff  int   // times in a row
	broken  bool
	verdict orders.Verdict
}

func newInvariant(spec orders.Invariant, stream string, now int64) *invariant {
	steps := (spec.WindowMS*int64(time.Millisecond) + fineStep - 1) / fineStep
	i := &invariant{Invariant: spec, stream: stream, steps: steps, next: now/fineStep + 1 + steps}
	i.verdict = i.compare(stretch{}, picture{}, baseline{}) // for its names and bounds
	i.verdict.Holds = false
	return i
}

// picture is the size of a line's pictures.
type picture struct{ pixels int64 }

// baseline is what an invariant compares with.
type baseline struct {
	kind  string // "": there is nothing
	shown stretch
	picture
}

// Kinds of baselines, as [orders.Verdict] names them.
const (
	basePermanent = "permanent"
	baseHistory   = "history"
)

// measure takes the invariant's measure of what a line has shown.
func (i *invariant) measure(s stretch, p picture) float64 {
	perSecond := func(n uint64) float64 {
		if s.over == 0 {
			return 0
		}
		return float64(n) / (float64(s.over) / float64(time.Second))
	}
	switch i.Measure {
	case orders.MeasureFrameRate:
		return perSecond(s.frames)
	case orders.MeasureBitrate:
		return perSecond(s.bytes * 8)
	case orders.MeasureGap:
		return milliseconds(s.gap)
	case orders.MeasureKeyInterval:
		return milliseconds(s.keyGap)
	case orders.MeasurePictureSize:
		return float64(p.pixels)
	case orders.MeasureDrift:
		return milliseconds(s.drift)
	}
	return math.NaN() // orders with other measures are refused
}

// compare makes the verdict on what the trial's line has shown. If nothing was ever
// seen of the permanent version's stream there is nothing that viewers could have
// lost, and it holds.
func (i *invariant) compare(s stretch, p picture, base baseline) orders.Verdict {
	v := orders.Verdict{
		Stream: i.stream, Invariant: i.Name, Measure: i.Measure, Against: i.Against,
		Min: i.Min, Max: i.Max, Required: i.Required, Value: i.measure(s, p),
	}
	v.Compared = v.Value
	if i.Against == orders.AgainstPermanent {
		b := i.measure(base.shown, base.picture)
		compared, ok := i.against(v.Value, b)
		if base.kind == "" || !ok {
			v.Compared, v.Holds = 0, true
			return v
		}
		v.Baseline, v.Base, v.Compared = base.kind, b, compared
	}
	v.Holds = (i.Min == nil || v.Compared >= *i.Min) && (i.Max == nil || v.Compared <= *i.Max)
	return v
}

// against puts a value in relation to its base. What neither shows anything of is
// the same; nothing can be divided by what only the base shows nothing of.
func (i *invariant) against(value, base float64) (compared float64, ok bool) {
	switch {
	case i.Measure == orders.MeasureDrift:
		return value - base, true
	case base > 0:
		return value / base, true
	case value == 0:
		return 1, true
	}
	return 0, false
}

// due says that it is to be judged at a step.
func (i *invariant) due(step int64) bool { return step >= i.next }

// late puts the judgement off to the next step because the forwarder woke late. It
// reports false if that was done often enough.
func (i *invariant) late(step int64) bool {
	if i.putOff >= maxPutOff {
		return false
	}
	i.putOff++
	i.next = step + 1
	return true
}

// judge takes the verdict over the window that ends at a step. The machine's fault
// it is if the permanent source breaks the same bound. It reports true when the
// invariant is broken by it, once.
func (i *invariant) judge(v orders.Verdict, step int64, machine bool) (broken bool) {
	i.next = step + max(1, i.steps/thirds)
	if !v.Holds && machine && i.putOff < maxPutOff {
		i.putOff++
		return false
	}
	i.putOff = 0
	v.Judged = true
	i.verdict = v
	if v.Holds {
		i.fails = 0
		return false
	}
	i.fails++
	if i.fails < 2 || i.broken {
		return false
	}
	i.broken = true
	return true
}

// sentence says for people what broke the invariant.
func (i *invariant) sentence() string {
	v := &i.verdict
	unit := units[i.Measure]
	text := fmt.Sprintf("stream %s: %s %s%s over %v", i.stream, i.Measure, number(v.Value), unit, time.Duration(i.steps*fineStep))
	bound, word := i.Min, "it must be at least"
	if i.Min == nil || v.Compared >= *i.Min {
		bound, word = i.Max, "it must be at most"
	}
	whose := "the permanent version's " + number(v.Base) + unit
	if v.Baseline == baseHistory {
		whose += " of its last ten minutes"
	}
	switch {
	case v.Against == orders.AgainstNothing:
		return fmt.Sprintf("%s; %s %s%s", text, word, number(*bound), unit)
	case i.Measure == orders.MeasureDrift:
		return fmt.Sprintf("%s is %s%s away from %s; %s %s%s", text, number(v.Compared), unit, whose, word, number(*bound), unit)
	}
	return fmt.Sprintf("%s is %s times %s; %s %s times", text, number(v.Compared), whose, word, number(*bound))
}

var units = map[string]string{
	orders.MeasureFrameRate: "/s", orders.MeasureBitrate: " bit/s", orders.MeasureGap: " ms",
	orders.MeasureKeyInterval: " ms", orders.MeasurePictureSize: " pixels", orders.MeasureDrift: " ms",
}

// number writes a number with three significant digits, or all of a large one's.
func number(x float64) string {
	if math.Abs(x) >= 1000 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// checkInvariants refuses what could not be judged, or could never hold.
func checkInvariants(s orders.Stream, sound bool) error {
	if len(s.Invariants) > maxInvariants {
		return fmt.Errorf("stream %q has %d invariants, the limit is %d", s.Name, len(s.Invariants), maxInvariants)
	}
	for n, i := range s.Invariants {
		if slices.ContainsFunc(s.Invariants[:n], func(o orders.Invariant) bool { return o.Name == i.Name }) {
			return fmt.Errorf("invariant %q of stream %q twice", i.Name, s.Name)
		}
		if err := checkInvariant(i, sound); err != nil {
			return fmt.Errorf("invariant %q of stream %q %w", i.Name, s.Name, err)
		}
	}
	return nil
}

func checkInvariant(i orders.Invariant, sound bool) error {
	_, known := units[i.Measure]
	pictures := i.Measure == orders.MeasurePictureSize || i.Measure == orders.MeasureKeyInterval
	window := time.Duration(min(max(i.WindowMS, 0), maxWindow.Milliseconds()+1)) * time.Millisecond
	switch {
	case !identifier.MatchString(i.Name):
		return fmt.Errorf("has a name that is not one")
	case !known:
		return fmt.Errorf("has the unknown measure %q", i.Measure)
	case sound && pictures:
		return fmt.Errorf("has the measure %s, which sound has not", i.Measure)
	case i.Against != orders.AgainstPermanent && i.Against != orders.AgainstNothing:
		return fmt.Errorf("is against %q, which is neither %s nor %s", i.Against, orders.AgainstPermanent, orders.AgainstNothing)
	case window < minWindow || window > maxWindow:
		return fmt.Errorf("has a window of %d ms, which is not between %v and %v", i.WindowMS, minWindow, maxWindow)
	case i.Min == nil && i.Max == nil:
		return fmt.Errorf("has neither min nor max")
	case i.Min != nil && i.Max != nil && *i.Min > *i.Max:
		return fmt.Errorf("has a min of %v above its max of %v", *i.Min, *i.Max)
	case i.Max != nil && *i.Max < 0 && i.Measure != orders.MeasureDrift:
		return fmt.Errorf("has a max of %v, and only drift can be below zero", *i.Max)
	}
	return nil
}

package agent

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"slipstream/stream/orders"
)

// verdictName is an invariant as causes name it.
func verdictName(v orders.Verdict) string { return v.Stream + "." + v.Invariant }

// verdictText is a verdict in half a sentence: "frame-rate against permanent is
// 0.5 (12 to 24), at least 0.9".
func verdictText(v orders.Verdict) string {
	text := v.Measure
	if v.Against == orders.AgainstPermanent {
		text += " against permanent"
	}
	text += " is " + number(v.Compared)
	if v.Baseline != "" {
		text += fmt.Sprintf(" (%s to %s)", number(v.Value), number(v.Base))
	}
	if v.Min != nil {
		text += ", at least " + number(*v.Min)
	}
	if v.Max != nil {
		text += ", at most " + number(*v.Max)
	}
	return text
}

// latchedToo is the other fact of a revert that a broken invariant has caused.
const latchedToo = "; the greenlight marker had been made"

// number rounds what was measured to what can be read.
func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

// brokenDetail explains a trial's end by an invariant, with both facts if the
// greenlight marker had been made. It is "" for other causes.
func brokenDetail(r orders.Reverted, latched bool) string {
	name, found := strings.CutPrefix(r.Cause, orders.CauseInvariant)
	if !found {
		return ""
	}
	detail := r.Detail
	if v, known := broken(r.Cause, r.Verdicts); known && detail == "" {
		detail = verdictText(v)
	}
	if detail == "" {
		detail = "the invariant " + name + " did not hold"
	}
	if latched {
		detail += latchedToo
	}
	return detail
}

// broken finds the verdict on the invariant that a cause names.
func broken(cause string, verdicts []orders.Verdict) (orders.Verdict, bool) {
	name, found := strings.CutPrefix(cause, orders.CauseInvariant)
	if !found {
		return orders.Verdict{}, false
	}
	for _, v := range verdicts {
		if verdictName(v) == name {
			return v, true
		}
	}
	return orders.Verdict{}, false
}

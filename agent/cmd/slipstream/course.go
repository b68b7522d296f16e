package main

import (
	"fmt"
	"math"
	"strings"

	"slipstream/agent/control"
)

const (
	courseWidth = 60 // columns of a drawn course
	courseList  = 12 // values of one that is listed
)

// course shows how a check's values went: drawn where a person looks at it, else as
// numbers. What was out of bounds is marked below.
func (p *printer) course(v control.Verdict) []string {
	if len(v.Samples) < 2 {
		return nil
	}
	first, last := v.Samples[0], v.Samples[len(v.Samples)-1]
	over := span(millis(last.AfterMS - first.AfterMS))
	if p.width == 0 {
		return []string{"values: " + listed(v.Samples) + " (over " + over + ")"}
	}
	drawn := squeeze(v, courseWidth)
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range v.Samples {
		low, high = min(low, s.Value), max(high, s.Value)
	}
	var line, marks strings.Builder
	for _, s := range drawn {
		line.WriteRune(p.spark(s.Value, low, high))
		if outside(v, s.Value) {
			marks.WriteRune('!')
		} else {
			marks.WriteRune(' ')
		}
	}
	lines := []string{fmt.Sprintf("%s  %s to %s over %s", line.String(), plain(low), plain(high), over)}
	if text := strings.TrimRight(marks.String(), " "); text != "" {
		lines = append(lines, text)
	}
	return lines
}

// spark is the sign of a value between two others.
func (g glyphs) spark(value, low, high float64) rune {
	signs := []rune(g.sparks)
	if high <= low {
		return signs[len(signs)/2]
	}
	return signs[min(int((value-low)/(high-low)*float64(len(signs))), len(signs)-1)]
}

// outside says that a value alone would break the invariant.
func outside(v control.Verdict, value float64) bool {
	return v.Min != nil && value < *v.Min || v.Max != nil && value > *v.Max
}

// squeeze leaves at most n samples, of each group the one that is worst.
func squeeze(v control.Verdict, n int) []control.Sample {
	all := v.Samples
	if len(all) <= n {
		return all
	}
	out := make([]control.Sample, n)
	for i := range out {
		group := all[i*len(all)/n : (i+1)*len(all)/n]
		out[i] = group[0]
		for _, s := range group[1:] {
			if v.Min != nil && s.Value < out[i].Value || v.Min == nil && s.Value > out[i].Value {
				out[i] = s
			}
		}
	}
	return out
}

// listed are the first and the last values; between them some may be left out.
func listed(all []control.Sample) string {
	var words []string
	for i, s := range all {
		if len(all) > courseList && i == courseList/2 {
			words = append(words, "…")
		}
		if len(all) <= courseList || i < courseList/2 || i >= len(all)-courseList/2 {
			words = append(words, plain(s.Value))
		}
	}
	return strings.Join(words, " ")
}

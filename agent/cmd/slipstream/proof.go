package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"slipstream/agent/control"
)

// maxEvidence bounds the lines of evidence after an update; the history has all.
const maxEvidence = 5

// proof prints what was measured of an update: its outcome and cause, how long
// the revert took, and what each stream's viewers were shown again. Of the
// evidence it prints at most so many lines: how the app ended, and its last words.
func (p *printer) proof(r control.Record, evidence int) {
	p.set(p.bold, "%s", verdict(r))
	if r.Outcome != control.OutcomePermanent && r.Outcome != control.OutcomeRehearsed {
		p.fact("cause", cause(r))
	}
	if m := r.Proof; m != nil {
		if text := detected(r, *m); text != "" {
			p.fact("detected", text)
		}
		p.switches("to "+to(r), m.Switch)
		p.switches("back to "+from(r), m.Revert)
		p.verdicts("  invariants", "    ", m.Verdicts)
	}
	if len(r.Evidence) == 0 || r.Outcome == control.OutcomeRehearsed { // nobody asks how it was told to end
		return
	}
	p.line("  evidence")
	hidden := max(len(r.Evidence)-evidence, 0)
	for i, line := range r.Evidence {
		switch {
		case i == 1 && hidden > 0:
			p.line("    (%d more, see: slipstream history --full)", hidden)
		case i == 0 || i > hidden:
			p.para("    ", clean(line))
		}
	}
}

// verdict is the outcome in one sentence.
func verdict(r control.Record) string {
	switch r.Outcome {
	case control.OutcomePermanent:
		if r.From == "" {
			return to(r) + " is permanent"
		}
		return fmt.Sprintf("%s is permanent, in place of %s", to(r), clean(r.From))
	case control.OutcomeRehearsed:
		return to(r) + " was rehearsed: viewers saw a second copy of it, and are back"
	case control.OutcomeReverted:
		if r.From == "" {
			return to(r) + " was reverted; there is no version before it"
		}
		return fmt.Sprintf("%s was reverted; viewers see %s again", to(r), clean(r.From))
	}
	return fmt.Sprintf("%s was %s", to(r), clean(r.Outcome))
}

// to names what was tried; a package that could not be read has no version.
// to names what came, with its slot class if it was more than an app.
func to(r control.Record) string {
	name := cmp.Or(clean(r.To), "a package")
	if r.Class != "" {
		name += " (" + clean(r.Class) + ")"
	}
	return name
}

func from(r control.Record) string { return cmp.Or(clean(r.From), "the version before") }

// cause is the stable word with its sentence.
func cause(r control.Record) string {
	words := because(r.Reason, r.Detail)
	if r.Reason == "" || words == clean(r.Reason) {
		return words
	}
	return clean(r.Reason) + ": " + words
}

func (p *printer) fact(name, value string) { p.para(fmt.Sprintf("  %-9s ", name), value) }

// detected says how a death was seen and how soon viewers had pictures again, ""
// if neither is known.
func detected(r control.Record, m control.Proof) string {
	var parts []string
	if m.By != "" {
		parts = append(parts, "by "+cmp.Or(ways[m.By], clean(m.By)))
	}
	if m.First != 0 {
		parts = append(parts, fmt.Sprintf("first packet of %s %.2f ms later", from(r), m.DetectToFirstMS))
	}
	return strings.Join(parts, ", ")
}

// ways in which the forwarder sees a death.
var ways = map[string]string{
	"futex": "the lock that its publisher held",
	"pidfd": "the end of its process",
	"eof":   "the end of its connection",
	"stall": "its silence",
}

// switches lists what a change of version showed the viewers of each stream.
func (p *printer) switches(title string, streams []control.StreamProof) {
	if len(streams) == 0 {
		return
	}
	rows := make([][]string, len(streams))
	for i, s := range streams {
		rows[i] = []string{
			clean(s.Name), count(s.Viewers, "viewer") + closed(s),
			strings.ReplaceAll(count(s.ReplayedFrames, "frame"), "no ", "0 ") + " replayed",
			fmt.Sprintf("content jump %.0f ms", s.ContentJumpMS),
			gap(s), sets[s.ParameterSets],
		}
	}
	p.line("  %s", title)
	for _, text := range columns(rows) {
		p.line("    %s", text)
	}
}

// closed tells of viewers who could not follow a declared break of a stream.
func closed(s control.StreamProof) string {
	if s.Closed == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d closed, who could not follow)", s.Closed)
}

// gap is the time that a stream's viewers had no frame, "" if it was not measured.
func gap(s control.StreamProof) string {
	if s.GapMS == 0 {
		return ""
	}
	return fmt.Sprintf("gap %.0f ms", s.GapMS)
}

// sets says how decoders learned of new parameter sets; the same need no word.
var sets = map[string]string{"in-band": "parameter sets in band", "injected": "parameter sets injected"}

// verdicts is a table: what was measured, what of, and what was allowed.
func (p *printer) verdicts(title, indent string, list []control.Verdict) {
	if len(list) == 0 {
		return
	}
	rows := make([][]string, len(list))
	for i, v := range list {
		rows[i] = []string{
			clean(strings.TrimPrefix(v.Stream+"."+v.Invariant, ".")), judgement(v), clean(v.Measure), plain(v.Value), baseline(v), bound(v),
		}
	}
	p.line("%s", title)
	for _, text := range columns(rows) {
		p.line("%s%s", indent, text)
	}
}

// baseline is what a value was compared with, and how they compare.
func baseline(v control.Verdict) string {
	if v.Against != "permanent" {
		return ""
	}
	switch v.Baseline {
	case "":
		return "nothing to compare with"
	case "history":
		return fmt.Sprintf("to %s before: %s", plain(v.Base), plain(v.Compared))
	}
	return fmt.Sprintf("to %s: %s", plain(v.Base), plain(v.Compared))
}

func bound(v control.Verdict) string {
	switch {
	case v.Min != nil && v.Max != nil:
		return plain(*v.Min) + " to " + plain(*v.Max)
	case v.Min != nil:
		return "at least " + plain(*v.Min)
	case v.Max != nil:
		return "at most " + plain(*v.Max)
	}
	return ""
}

// judgement is one word: what is missed is broken and was only wanted.
func judgement(v control.Verdict) string {
	switch {
	case !v.Judged:
		return "open"
	case v.Holds:
		return "holds"
	case v.Required:
		return "broken"
	}
	return "missed"
}

// plain is a measured number with at most three decimals.
func plain(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

package main

import (
	"cmp"
	"fmt"
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
	if r.Outcome != control.OutcomePermanent {
		p.fact("cause", cause(r))
	}
	if m := r.Proof; m != nil {
		if m.First != 0 {
			p.fact("detected", fmt.Sprintf("first packet of %s %.2f ms later", from(r), m.DetectToFirstMS))
		}
		p.switches("to "+to(r), m.Switch)
		p.switches("back to "+from(r), m.Revert)
	}
	if len(r.Evidence) == 0 {
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
	case control.OutcomeReverted:
		if r.From == "" {
			return to(r) + " was reverted; there is no version before it"
		}
		return fmt.Sprintf("%s was reverted; viewers see %s again", to(r), clean(r.From))
	}
	return fmt.Sprintf("%s was %s", to(r), clean(r.Outcome))
}

// to names what was tried; a package that could not be read has no version.
func to(r control.Record) string { return cmp.Or(clean(r.To), "a package") }

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

// switches lists what a change of version showed the viewers of each stream.
func (p *printer) switches(title string, streams []control.StreamProof) {
	if len(streams) == 0 {
		return
	}
	rows := make([][]string, len(streams))
	for i, s := range streams {
		rows[i] = []string{
			clean(s.Name), count(s.Viewers, "viewer"),
			strings.ReplaceAll(count(s.ReplayedFrames, "frame"), "no ", "0 ") + " replayed",
			fmt.Sprintf("content jump %.0f ms", s.ContentJumpMS),
		}
	}
	p.line("  %s", title)
	for _, text := range columns(rows) {
		p.line("    %s", text)
	}
}

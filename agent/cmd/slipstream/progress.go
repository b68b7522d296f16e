package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"slipstream/agent/control"
)

// progress tells how an update goes: on a terminal in one line that is written
// anew, elsewhere in one plain line for each thing that happens.
type progress struct {
	w    io.Writer
	term terminal

	last  control.Status
	at    time.Time       // when last came, for the countdown in between
	told  map[string]bool // plain lines that were written
	drawn bool            // there is a line to wipe
}

func newProgress(w io.Writer, t terminal) *progress {
	return &progress{w: w, term: t, told: map[string]bool{}}
}

// show takes a new status in.
func (p *progress) show(s control.Status, now time.Time) {
	p.last, p.at = s, now
	if p.term.live {
		p.draw(now)
		return
	}
	p.tell(s)
}

// draw writes the line anew.
func (p *progress) draw(now time.Time) {
	if !p.term.live {
		return
	}
	text := p.term.lineOf(p.last, now.Sub(p.at).Milliseconds())
	if text == "" && !p.drawn {
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", fit(text, p.term.width-1, p.term.cut))
	p.drawn = true
}

// end leaves a clean line for what is printed next.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// lineOf is the live line of a status that is passed ms old.
func (t terminal) lineOf(s control.Status, passed int64) string {
	if s.Staging != nil {
		return "staging " + clean(s.Staging.Version) + "  " + t.bar(s.Staging.Done, s.Staging.Total)
	}
	if s.Phase == "clearing" {
		return "emptying a slot"
	}
	if s.Trial == nil {
		return ""
	}
	version := clean(s.Trial.Version)
	switch s.Phase {
	case "arming":
		return "preparing the boot loader for one try of " + version
	case "rebooting":
		return "rebooting into " + version
	case "renewing":
		return "handing over to the programs of " + version
	case "starting":
		return fmt.Sprintf("starting %s in slot %s   reverts in %s", version, clean(s.Trial.Slot), countdown(s.Trial.RemainingMS-passed))
	case "committing":
		return "making " + version + " permanent"
	case "reverting":
		return "going back to " + clean(s.Trial.From)
	}
	return t.trialLine(*s.Trial, passed)
}

func (t terminal) trialLine(trial control.Trial, passed int64) string {
	if trial.Rehearsal {
		return fmt.Sprintf("rehearsing %s   goes back in %s", clean(trial.Version), countdown(max(trial.SoakMS-passed, 0)))
	}
	if !trial.TookOver.IsZero() {
		// Rounded up to a millisecond above nothing: only the agent says "done".
		trial.SoakMS = max(trial.SoakMS-passed, min(trial.SoakMS, 1))
	}
	marker := "waiting for the marker"
	switch {
	case trial.Latched:
		marker = "marker seen"
	case trial.Greenlight == "operator":
		marker = "waiting for: slipstream greenlight"
	}
	return fmt.Sprintf("trying %s   reverts in %s   soak %s   %s",
		clean(trial.Version), countdown(trial.RemainingMS-passed), soakWords(&trial), marker)
}

// barWidth leaves room for the words around it in 80 columns.
const barWidth = 24

// bar draws bytes and percent.
func (g glyphs) bar(done, total int64) string {
	if total <= 0 {
		return size(done)
	}
	done = min(max(done, 0), total)
	full := int(float64(done) / float64(total) * barWidth)
	percent := int(float64(done) / float64(total) * 100)
	return fmt.Sprintf("%s%s  %3d%%  %s of %s", strings.Repeat(g.full, full), strings.Repeat(g.empty, barWidth-full),
		percent, size(done), size(total))
}

// tell writes the lines that this status adds to those before.
func (p *progress) tell(s control.Status) {
	if s.Staging != nil {
		p.once("staging", "staging %s, %s", clean(s.Staging.Version), size(s.Staging.Total))
	}
	if s.Trial == nil {
		return
	}
	t := s.Trial
	if t.Rehearsal {
		p.once("started", "starting a second copy of %s", clean(t.Version))
	} else {
		p.once("started", "starting %s in slot %s; it reverts in %s unless it is greenlit", clean(t.Version), clean(t.Slot), countdown(t.RemainingMS))
	}
	if !t.TookOver.IsZero() {
		p.once("tookover", "viewers see %s", clean(t.Version))
	}
	if t.Latched {
		p.once("latched", "greenlight marker seen")
	}
	if soaked(t) {
		p.once("soaked", "soak done")
	}
	switch s.Phase {
	case "rebooting":
		p.once("rebooting", "rebooting into %s", clean(t.Version))
	case "renewing":
		p.once("renewing", "handing over to the programs of %s", clean(t.Version))
	case "committing":
		p.once("committing", "making %s permanent", clean(t.Version))
	case "reverting":
		p.once("reverting", "going back to %s", clean(t.From))
	}
}

func (p *progress) once(key, format string, a ...any) {
	if p.told[key] {
		return
	}
	p.told[key] = true
	fmt.Fprintf(p.w, format+"\n", a...)
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"slipstream/agent/control"
)

// page shows a status in 80 columns. Ages are counted by the device's clock, so
// that a wrong clock on either side shows no nonsense.
func page(w io.Writer, st style, s control.Status) error {
	if !st.bars || st.width > defaultWidth { // a view that is drawn anew must fit its screen
		st.width = defaultWidth
	}
	p := &printer{style: st}
	p.device(s)
	p.problems(s)
	p.slots(s)
	p.classes(s)
	p.trial(s)
	p.staging(s)
	p.streams(s)
	p.foot(s)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// printer collects a page of lines that are at most width wide; 0 sets no limit,
// which is for pipes: nobody reads there, and nothing may be lost.
type printer struct {
	style
	b strings.Builder
}

// line writes one line and cuts what is too much.
func (p *printer) line(format string, a ...any) {
	p.b.WriteString(p.cutLine(format, a...) + "\n")
}

// set writes one line in a style.
func (p *printer) set(escape, format string, a ...any) {
	text := p.cutLine(format, a...)
	if escape != "" {
		text = escape + text + p.off
	}
	p.b.WriteString(text + "\n")
}

func (p *printer) cutLine(format string, a ...any) string {
	text := strings.TrimRight(fmt.Sprintf(format, a...), " ")
	if p.width == 0 {
		return text
	}
	return fit(text, p.width, p.cut)
}

// para writes a text that must not be cut: it goes on below its beginning.
func (p *printer) para(lead, text string) {
	for i, part := range wrap(text, p.width-utf8.RuneCountInString(lead)) {
		if i > 0 {
			lead = strings.Repeat(" ", utf8.RuneCountInString(lead))
		}
		p.b.WriteString(strings.TrimRight(lead+part, " ") + "\n")
	}
}

func (p *printer) gap() { p.b.WriteString("\n") }

// device is the headline: who at the left, what it does at the right.
func (p *printer) device(s control.Status) {
	left := clean(s.Device) + "  " + clean(s.Product+" "+s.Hardware)
	right := clean(s.Phase)
	if s.Trial != nil {
		right = trialName(s.Trial) + " of " + clean(s.Trial.Version)
	}
	space := p.width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	p.set(p.bold, "%s%s%s", left, strings.Repeat(" ", max(space, 2)), right)
}

func (p *printer) slots(s control.Status) {
	p.gap()
	shown := onScreen(s)
	rows := make([][]string, len(s.Slots))
	for i, slot := range s.Slots {
		rows[i] = []string{
			clean(slot.Name), cmp.Or(clean(slot.Version), "-"), clean(slot.State),
			appWords(slot), age(slot, s.Time), clean(slot.Status),
		}
	}
	for i, text := range columns(rows) {
		if s.Slots[i].Name == shown {
			p.set(p.bold, "  %s %s", p.here, text)
		} else {
			p.line("  %s %s", strings.Repeat(" ", utf8.RuneCountInString(p.here)), text)
		}
		if crash := p.crash(s.Slots[i], s.Time); crash != "" {
			p.para("       ", crash)
		}
	}
}

// classes are the slots of the system and of Slipstream's own programs, where there are
// some; those that hold nothing and do not run are left out.
func (p *printer) classes(s control.Status) {
	var rows [][]string
	for _, class := range []struct {
		name  string
		slots []control.System
	}{{"system", s.Systems}, {"runtime", s.Runtimes}} {
		running := len(class.slots) == 0
		for _, slot := range class.slots {
			running = running || slot.Running
			if slot.Running || slot.State != "" {
				rows = append(rows, classRow(class.name+" "+clean(slot.Name), slot.Version, slot.State, slot.Running))
			}
		}
		if !running {
			rows = append(rows, classRow(class.name, "built-in", "", true))
		}
	}
	if len(rows) > 0 {
		p.gap()
	}
	for _, text := range columns(rows) {
		p.line("  %s", text)
	}
}

func classRow(name, version, state string, running bool) []string {
	words := ""
	if running {
		words = "running"
	}
	return []string{name, cmp.Or(clean(version), "-"), clean(state), words}
}

// problems are what somebody must put right, above everything else.
func (p *printer) problems(s control.Status) {
	if len(s.Problems) > 0 {
		p.gap()
	}
	for _, problem := range s.Problems {
		p.para("  ! ", clean(problem))
	}
}

// crash tells of an app that ended by itself, "" if it never did.
func (p *printer) crash(s control.Slot, now time.Time) string {
	if s.LastExit == "" {
		return ""
	}
	text := "ended"
	if s.Restarts > 0 {
		text = fmt.Sprintf("restarted %d%s,", s.Restarts, p.times)
	}
	return fmt.Sprintf("%s %s ago: %s", text, span(now.Sub(s.LastExitAt)), clean(s.LastExit))
}

// onScreen names the slot whose pictures viewers see, "" if it cannot be told.
// The forwarder's word (the streams' version) decides; only when both slots hold
// that very version does it go by whether the trial took over.
func onScreen(s control.Status) string {
	var running []control.Slot
	for _, slot := range s.Slots {
		if slot.State == control.StatePermanent || slot.State == control.StateTrial {
			running = append(running, slot)
		}
	}
	name := ""
	for _, slot := range running {
		for _, stream := range s.Streams {
			if stream.Version == "" || stream.Version != slot.Version {
				continue
			}
			isTrial := slot.State == control.StateTrial
			tookOver := s.Trial != nil && !s.Trial.TookOver.IsZero()
			if name == "" || isTrial == tookOver {
				name = slot.Name
			}
		}
	}
	return name
}

func appWords(s control.Slot) string {
	switch s.App {
	case "ready":
		return "running"
	case "back-off":
		return "keeps failing"
	case "stopped", "":
		return ""
	}
	return clean(s.App)
}

func age(s control.Slot, now time.Time) string {
	if s.Since.IsZero() {
		return ""
	}
	return "for " + span(now.Sub(s.Since))
}

func (p *printer) trial(s control.Status) {
	t := s.Trial
	if t == nil {
		return
	}
	p.gap()
	p.line("  %s %s: %s %s %s", trialName(t), clean(t.ID), cmp.Or(clean(t.From), "nothing"), p.arrow, clean(t.Version))
	if gone := s.Time.Sub(t.Started).Milliseconds(); p.bars {
		p.line("    %s", p.runsOut(gone, gone+t.RemainingMS))
	}
	if t.Rehearsal {
		p.para("    ", fmt.Sprintf("goes back after its soak, or in %s:", countdown(t.RemainingMS)))
	} else {
		p.para("    ", fmt.Sprintf("reverts in %s, unless all of this is met:", countdown(t.RemainingMS)))
	}
	p.para(fmt.Sprintf("    %s pictures  ", p.tick(!t.TookOver.IsZero())), picturesWords(t, s.Time))
	p.line("    %s soak      %s", p.tick(soaked(t)), soakWords(t)+p.soakBar(t, s.Time))
	if !t.Rehearsal {
		p.para(fmt.Sprintf("    %s marker    ", p.tick(t.Latched)), markerWords(t))
	}
	if len(t.Verdicts) > 0 {
		p.verdicts(fmt.Sprintf("    %s invariants", p.tick(allHold(t.Verdicts))), "      ", t.Verdicts)
	}
}

// runsOut is a bar of what is left of a time.
func (p *printer) runsOut(gone, total int64) string {
	width := 60
	if p.width > 0 {
		width = min(width, max(p.width-8, 0))
	}
	full := width
	if total > 0 {
		full = int(int64(width) * min(max(total-gone, 0), total) / total)
	}
	return strings.Repeat(p.full, full) + strings.Repeat(p.empty, width-full)
}

// soakBar is how far a soak has come, "" if it does not run or is not to be drawn.
func (p *printer) soakBar(t *control.Trial, now time.Time) string {
	const before = 32 // columns
	if !p.bars || p.width > 0 && p.width < before+barWidth || t.TookOver.IsZero() || soaked(t) {
		return ""
	}
	gone := now.Sub(t.TookOver).Milliseconds()
	full := int(barWidth * max(gone, 0) / max(gone+t.SoakMS, 1))
	return "  " + strings.Repeat(p.full, full) + strings.Repeat(p.empty, barWidth-full)
}

func trialName(t *control.Trial) string {
	if t.Rehearsal {
		return "rehearsal"
	}
	return "trial"
}

// allHold says that no invariant that could end the trial is open or broken.
func allHold(list []control.Verdict) bool {
	for _, v := range list {
		if v.Required && !(v.Judged && v.Holds) {
			return false
		}
	}
	return true
}

func (p *printer) tick(ok bool) string {
	if ok {
		return p.done
	}
	return p.open
}

func picturesWords(t *control.Trial, now time.Time) string {
	if t.TookOver.IsZero() {
		return "waiting for its first key frames"
	}
	return "on the viewers' screens for " + span(now.Sub(t.TookOver))
}

// soaked is false before the pictures came: the soak has not begun.
func soaked(t *control.Trial) bool { return !t.TookOver.IsZero() && t.SoakMS == 0 }

func soakWords(t *control.Trial) string {
	if soaked(t) {
		return "done"
	}
	return countdown(t.SoakMS) + " to go"
}

// markerWords says who has the next move.
func markerWords(t *control.Trial) string {
	if t.Latched {
		return "seen"
	}
	switch t.Greenlight {
	case "operator":
		return "yours to make: slipstream greenlight"
	case "auto":
		return "made by itself after the soak"
	}
	return "its application makes it once its self-test passed"
}

func (p *printer) staging(s control.Status) {
	if s.Staging == nil {
		return
	}
	p.gap()
	p.line("  staging %s  %s", clean(s.Staging.Version), p.bar(s.Staging.Done, s.Staging.Total))
}

func (p *printer) streams(s control.Status) {
	if len(s.Streams) > 0 {
		p.gap()
		p.streamTable(s.Streams, "  ")
	}
}

func (p *printer) streamTable(streams []control.StreamStatus, indent string) {
	rows := make([][]string, len(streams))
	for i, stream := range streams {
		rows[i] = []string{
			clean(stream.Name), cmp.Or(clean(stream.Version), "no picture"),
			picture(stream), count(stream.Viewers, "viewer"), longestGap(stream),
		}
	}
	for i, text := range columns(rows) {
		p.line("%s%s", indent, text)
		for _, address := range []string{streams[i].WHEP, streams[i].RTSP} {
			if address != "" {
				p.set(p.dim, "%s  %s", indent, clean(address))
			}
		}
	}
}

func picture(s control.StreamStatus) string {
	if s.Width == 0 || s.Height == 0 {
		return ""
	}
	return fmt.Sprintf("%dx%d", s.Width, s.Height)
}

func longestGap(s control.StreamStatus) string {
	if s.Frames == 0 {
		return ""
	}
	return fmt.Sprintf("longest gap %.0f ms", s.LongestGapMS)
}

// foot tells the last update and what a person would do now.
func (p *printer) foot(s control.Status) {
	if s.Last == nil && advice(s) == "" {
		return
	}
	p.gap()
	if s.Last != nil {
		p.para("  last  ", p.summary(*s.Last, s.Time))
	}
	if step := advice(s); step != "" {
		p.para("  next  ", step)
	}
}

func (p *printer) summary(r control.Record, now time.Time) string {
	text := fmt.Sprintf("%s %s, %s ago", to(r), clean(r.Outcome), span(now.Sub(r.Time)))
	if cause := because(r.Reason, r.Detail); cause != "" && r.Outcome != control.OutcomePermanent && r.Outcome != control.OutcomeRehearsed {
		text += ": " + cause
	}
	return text
}

// advice is the next step of a person, "" while things go their way alone.
func advice(s control.Status) string {
	if s.Trial != nil {
		if s.Trial.Greenlight == "operator" && !s.Trial.Latched && !s.Trial.Rehearsal {
			return "slipstream greenlight, if the picture is right; else slipstream revert"
		}
		return ""
	}
	for _, slot := range s.Slots {
		if slot.State == control.StateStaged {
			return "slipstream activate, to try " + clean(slot.Version)
		}
	}
	if s.Permanent == "" && s.Staging == nil {
		return "slipstream install FILE, the first version of this device"
	}
	return ""
}

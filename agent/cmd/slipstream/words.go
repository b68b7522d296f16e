package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"slipstream/agent/control"
)

// clean makes foreign text safe for a terminal: an application's STATUS= line
// must not be able to move the cursor or to colour the screen.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// fit cuts s to at most n columns, with a mark that something is missing.
func fit(s string, n int, mark string) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	keep := max(n-utf8.RuneCountInString(mark), 0)
	return string([]rune(s)[:keep]) + mark
}

// wrap breaks s at blanks into lines of at most n columns; a word that is longer
// is broken anywhere. A width too small for words sets no limit.
func wrap(s string, n int) []string {
	const least = 20
	if n < least || utf8.RuneCountInString(s) <= n {
		return []string{s}
	}
	head := []rune(s)[:n+1]
	at := n
	for i, r := range head {
		if r == ' ' && i > 0 {
			at = i
		}
	}
	rest := strings.TrimLeft(string([]rune(s)[at:]), " ")
	return append([]string{string(head[:at])}, wrap(rest, n)...)
}

// pad fills s with blanks up to n columns.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

// span says a length of time in its one useful unit: "840 ms", "12 s", "3 min",
// "5 h", "3 d".
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// countdown says time that runs out: "0:42", "12:05". Its last second reads
// 0:01, so that 0:00 means over.
func countdown(ms int64) string {
	s := (max(ms, 0) + 999) / 1000
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// size says bytes as people do.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// count says "no viewers", "1 viewer", "3 viewers".
func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// reasons are the causes of a revert in words, for records that carry none.
var reasons = map[string]string{
	"exit":     "its application ended",
	"eof":      "it closed its streams",
	"stall":    "a stream stood still",
	"watchdog": "its application stopped answering the watchdog",
	"deadline": "nobody greenlit it in time",
	"operator": "an operator asked for it",
	"power":    "the device restarted during the trial",

	"oom":       "its application came to its limit of memory",
	"boot":      "the new system could not be started",
	"start":     "it could not be started, or was not on viewers' screens in time",
	"lease":     "the agent was not heard of again",
	"media":     "a stream was not what its manifest declares",
	"agent":     "the agent was gone together with it",
	"forwarder": "the forwarder was started anew",
	"record":    "the disk did not take that it is permanent",
	"orders":    "the agent gave the trial up",
	"rehearsal": "it was a rehearsal",
	"damaged":   "its slot no longer held what was staged",
	"cancelled": "an operator cancelled it",
}

// because gives a record's cause: the agent's sentence, else our words for the
// reason, else the reason itself.
func because(reason, detail string) string {
	if detail != "" {
		return clean(detail)
	}
	if words, ok := reasons[reason]; ok {
		return words
	}
	if name, ok := strings.CutPrefix(reason, "invariant:"); ok {
		return "the invariant " + clean(name) + " did not hold"
	}
	return clean(reason)
}

// cost says where a staged version's bytes came from, and what they cost the
// storage.
func cost(s control.Staged) string {
	return fmt.Sprintf("%s from the package, %s from the running version, %s were there; %s written",
		size(s.Fetched), size(s.Copied), size(s.Kept), size(s.Written))
}

// Package words sets what commands print for people: foreign text that must not harm a
// terminal, and lengths of time, sizes and tables as people read them.
//
// What it keeps: the device's commands and the panel's say the same thing in the same
// form. It writes nothing itself.
package words

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean makes foreign text safe for a terminal: an application's STATUS= line
// must not be able to move the cursor or to colour the screen.
func Clean(s string) string {
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

// Fit cuts s to at most n columns, with a mark that something is missing.
func Fit(s string, n int, mark string) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	keep := max(n-utf8.RuneCountInString(mark), 0)
	return string([]rune(s)[:keep]) + mark
}

// Wrap breaks s at blanks into lines of at most n columns; a word that is longer
// is broken anywhere. A width too small for words sets no limit.
func Wrap(s string, n int) []string {
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
	return append([]string{string(head[:at])}, Wrap(rest, n)...)
}

// Pad fills s with blanks up to n columns.
func Pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

// Span says a length of time in its one useful unit: "840 ms", "12 s", "3 min",
// "5 h", "3 d".
func Span(d time.Duration) string {
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

// Countdown says time that runs out: "0:42", "12:05". Its last second reads
// 0:01, so that 0:00 means over.
func Countdown(ms int64) string {
	s := (max(ms, 0) + 999) / 1000
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Size says bytes as people do.
func Size(n int64) string {
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

// Count says "no viewers", "1 viewer", "3 viewers".
func Count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Columns lines the cells of all rows up; a column that is empty everywhere
// takes no room.
func Columns(rows [][]string) []string {
	if len(rows) == 0 {
		return nil
	}
	lines := make([]string, len(rows))
	for c := range rows[0] {
		width := 0
		for _, row := range rows {
			width = max(width, utf8.RuneCountInString(row[c]))
		}
		if width == 0 {
			continue
		}
		for i, row := range rows {
			lines[i] += Pad(row[c], width) + "  "
		}
	}
	return lines
}

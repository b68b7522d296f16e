package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipstream/agent/words"
)

// stamp is a point in time as a person reads it.
const stamp = "2006-01-02 15:04:05"

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(stamp)
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02")
}

// ago is how long something is past.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return words.Span(now.Sub(t)) + " ago"
}

// life is a flag for spans that people count in days: "90d", and what Go knows.
type life time.Duration

func (l *life) String() string {
	d := time.Duration(*l)
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

// Set implements pflag.Value.
func (l *life) Set(text string) error {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		*l = life(time.Duration(days) * 24 * time.Hour) //nolint:gosec // it has 16 bits
		return err
	}
	d, err := time.ParseDuration(text)
	*l = life(d)
	return err
}

// Type implements pflag.Value.
func (l *life) Type() string { return "SPAN" }

// from is the moment that lies so far ahead.
func (l life) from(now time.Time) time.Time {
	return now.Add(time.Duration(l)).UTC().Truncate(time.Second)
}

package main

import (
	"testing"
	"time"

	"slipstream/adminpanel/view"
)

func TestTheLogOfARelease(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	for want, entries := range map[string][]view.LogEntry{
		"none: no public log has its signatures":           nil,
		"entry 7 of c0d23d6ad406973…":                      {{Log: "c0d23d6ad406973f9559f3ba2d1ca01f", Index: 7}},
		"entry 7 of aa, " + moment(at) + "; entry 0 of bb": {{Log: "aa", Index: 7, Time: at}, {Log: "bb"}},
	} {
		if got := logWords(view.Release{Logged: entries}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

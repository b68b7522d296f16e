package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/control"
)

func TestLiveLine(t *testing.T) {
	term := terminal{live: true, width: 80, glyphs: glyphs{full: "#", empty: ".", cut: "~"}}
	trial := control.Trial{Slot: "b", From: "1.0", Version: "2.0", RemainingMS: 42_000, SoakMS: 5000}
	shown := trial
	shown.TookOver = time.Unix(1, 0)
	soaked := shown
	soaked.SoakMS, soaked.Latched = 0, true
	byHand := shown
	byHand.Greenlight = "operator"
	for _, test := range []struct {
		name   string
		status control.Status
		passed int64
		want   string
	}{
		{"nothing goes on", control.Status{Phase: "idle"}, 0, ""},
		{"staging", control.Status{Phase: "staging", Staging: &control.Progress{Version: "2.0", Done: 500, Total: 2000}}, 0,
			"staging 2.0  ######..................   25%  500 B of 2.0 kB"},
		{"a total that is not known yet", control.Status{Staging: &control.Progress{Version: "2.0"}}, 0, "staging 2.0  0 B"},
		{"starting", control.Status{Phase: "starting", Trial: &trial}, 0, "starting 2.0 in slot b   reverts in 0:42"},
		{"time that passed since the report", control.Status{Phase: "trial", Trial: &shown}, 2000,
			"trying 2.0   reverts in 0:40   soak 0:03 to go   waiting for the marker"},
		{"a soak is not called done by our clock", control.Status{Phase: "trial", Trial: &shown}, 9000,
			"trying 2.0   reverts in 0:33   soak 0:01 to go   waiting for the marker"},
		{"soaked and greenlit", control.Status{Phase: "trial", Trial: &soaked}, 0,
			"trying 2.0   reverts in 0:42   soak done   marker seen"},
		{"a person's turn", control.Status{Phase: "trial", Trial: &byHand}, 0,
			"trying 2.0   reverts in 0:42   soak 0:05 to go   waiting for: slipstream greenlight"},
		{"committing", control.Status{Phase: "committing", Trial: &soaked}, 0, "making 2.0 permanent"},
		{"reverting", control.Status{Phase: "reverting", Trial: &shown}, 0, "going back to 1.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := term.lineOf(test.status, test.passed); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// The line must stay one line on a narrow screen, and must be gone at the end.
func TestLiveLineIsRewrittenAndWiped(t *testing.T) {
	var screen strings.Builder
	p := newProgress(&screen, terminal{live: true, width: 12, glyphs: glyphs{cut: "~"}})
	now := time.Unix(100, 0)
	p.show(control.Status{Phase: "idle"}, now)
	if screen.Len() != 0 {
		t.Errorf("drew %q although nothing goes on", screen.String())
	}
	p.show(control.Status{Phase: "committing", Trial: &control.Trial{Version: "2.0"}}, now)
	p.end()
	if want := "\r\x1b[Kmaking 2.0~\r\x1b[K"; screen.String() != want {
		t.Errorf("got  %q\nwant %q", screen.String(), want)
	}
}

func TestForeignTextCannotMoveTheCursor(t *testing.T) {
	for in, want := range map[string]string{
		"30 fps":              "30 fps",
		"\x1b[2Jgone":         "?[2Jgone",
		"two\nlines\tand tab": "two lines and tab",
		"bell\a \u009b31m":    "bell? ?31m",
		"\xff\xfe":            "??",
		"Bild läuft ▶":        "Bild läuft ▶",
		"\u202eright to left": "?right to left",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSpansAndSizes(t *testing.T) {
	for in, want := range map[time.Duration]string{
		-time.Second: "0 ms", 840 * time.Millisecond: "840 ms", 12500 * time.Millisecond: "12 s",
		3*time.Minute + 59*time.Second: "3 min", 47 * time.Hour: "47 h", 49 * time.Hour: "2 d",
	} {
		if got := span(in); got != want {
			t.Errorf("span(%s) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 27_000_000: "27.0 MB", 4_000_000_000: "4.00 GB"} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{-5: "0:00", 0: "0:00", 1: "0:01", 41_200: "0:42", 725_000: "12:05"} {
		if got := countdown(in); got != want {
			t.Errorf("countdown(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		name, in string
		n        int
		want     []string
	}{
		{"it fits", "one two", 30, []string{"one two"}},
		{"between words", "the package is not signed by a trusted key", 20, []string{"the package is not", "signed by a trusted", "key"}},
		{"a word of just the width", "12345678901234567890 x", 20, []string{"12345678901234567890", "x"}},
		{"a word that is too long", strings.Repeat("x", 45), 20, []string{strings.Repeat("x", 20), strings.Repeat("x", 20), "xxxxx"}},
		{"no limit", strings.Repeat("x ", 200), 0, []string{strings.Repeat("x ", 200)}},
	} {
		if diff := cmp.Diff(test.want, wrap(test.in, test.n)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// No line of a page may be wider than a screen, whatever the versions are called.
func TestPageFitsAScreen(t *testing.T) {
	long := strings.Repeat("x", 200)
	s := control.Status{
		Device: long, Product: long, Phase: long,
		Slots:   []control.Slot{{Name: "a", State: "permanent", Version: long, Status: long}},
		Trial:   &control.Trial{ID: long, Version: long, From: long},
		Staging: &control.Progress{Version: long, Done: 1 << 62, Total: 1},
		Streams: []control.StreamStatus{{Name: long, WHEP: long, RTSP: long}},
		Last:    &control.Record{To: long, Detail: long},
	}
	var screen strings.Builder
	if err := page(&screen, style{glyphs: glyphs{here: ">", cut: "~"}}, s); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(screen.String()) {
		if len(line) > defaultWidth+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

// Nothing is called whole before it is: others' bars sit at 100 % for minutes.
func TestBarIsFullAtTheEndOnly(t *testing.T) {
	g := glyphs{full: "#", empty: "."}
	if got := g.bar(1999, 2000); !strings.Contains(got, " 99%") || !strings.Contains(got, ".") {
		t.Errorf("almost done: %q", got)
	}
	if got := g.bar(2000, 2000); !strings.Contains(got, "100%") || strings.HasSuffix(strings.Fields(got)[0], ".") {
		t.Errorf("done: %q", got)
	}
}

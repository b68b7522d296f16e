package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"slipstream/agent/control"
)

// story is an update as a watcher sees it.
func story() []control.Status {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	trial := control.Trial{ID: "t3", Slot: "b", From: "2.0.0", Version: "3.0.0", Started: at, RemainingMS: 60_000, SoakMS: 5000}
	shown := trial
	shown.TookOver = at.Add(time.Second)
	old := &control.Record{Time: at.Add(-time.Hour), From: "1.0.0", To: "2.0.0", Outcome: control.OutcomePermanent}
	new := &control.Record{
		Time: at.Add(3 * time.Second), Trial: "t3", From: "2.0.0", To: "3.0.0", Outcome: control.OutcomeReverted, Reason: "exit", Detail: "exited with status 3",
	}
	again := trial
	again.ID = "t4"
	return []control.Status{
		{Seq: 1, Device: "cam-7", Permanent: "2.0.0", Phase: "idle", Last: old, Time: at},
		{Seq: 2, Device: "cam-7", Phase: "starting", Trial: &trial, Last: old, Time: at},
		{Seq: 3, Device: "cam-7", Phase: "trial", Trial: &shown, Last: old, Time: at.Add(time.Second)},
		{Seq: 4, Device: "cam-7", Phase: "idle", Last: new, Time: at.Add(3 * time.Second)},
		{Seq: 5, Device: "cam-7", Phase: "starting", Trial: &again, Last: new, Time: at.Add(4 * time.Second)},
	}
}

// watchStory watches a fake agent through the story and returns what was written.
func watchStory(t *testing.T, c *cli) string {
	t.Helper()
	s := &scripted{Statuses: story(), changed: make(chan struct{}), limit: len(story())}
	in, out := io.Pipe()
	c.out = out
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- c.watch(ctx, backend{s}, s.Statuses[0]); out.Close() }()
	written := make(chan string, 1)
	go func() { text, _ := io.ReadAll(in); written <- string(text) }()
	if err := s.await(t.Context(), func() bool { return s.seen == len(s.Statuses) }); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return <-written
}

func TestWatchTellsWhatHappens(t *testing.T) {
	_, told, _ := strings.Cut(watchStory(t, &cli{style: style{glyphs: glyphs{arrow: "->"}}}), "ago\n")
	want := `starting 3.0.0 in slot b; it reverts in 1:00 unless it is greenlit
viewers see 3.0.0
3.0.0 was reverted; viewers see 2.0.0 again: exited with status 3
starting 3.0.0 in slot b; it reverts in 1:00 unless it is greenlit
`
	if told != want {
		t.Errorf("told\n%s\nwant\n%s", told, want)
	}
}

func TestWatchForScripts(t *testing.T) {
	d := json.NewDecoder(strings.NewReader(watchStory(t, &cli{json: true})))
	for n := 1; n <= len(story()); n++ {
		var s control.Status
		if err := d.Decode(&s); err != nil || s.Seq != uint64(n) {
			t.Fatalf("value %d: seq %d, %v", n, s.Seq, err)
		}
	}
	if d.More() {
		t.Error("more values than statuses")
	}
}

// The page is drawn over itself, with what time has changed.
func TestWatchDraws(t *testing.T) {
	var screen strings.Builder
	c := &cli{out: &screen, style: style{glyphs: glyphs{full: "#", empty: "."}}}
	v := &screenView{c: c}
	now := time.Unix(1000, 0)
	if err := v.show(story()[2], now); err != nil {
		t.Fatal(err)
	}
	first := screen.String()
	screen.Reset()
	if err := v.tick(now.Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		viewHome, viewEnd, "reverts in 0:58", strings.Repeat("#", 57) + strings.Repeat(".", 3), "soak      0:03 to go  #########...............",
	} {
		if !strings.Contains(screen.String(), part) {
			t.Errorf("%q is missing in\n%s", part, screen.String())
		}
	}
	if !strings.Contains(first, "reverts in 1:00") || strings.Count(first, "\n") != strings.Count(screen.String(), "\n") {
		t.Errorf("first drawn\n%s", first)
	}
}

func TestAgedKeepsItsWord(t *testing.T) {
	s := story()[2]
	got := aged(s, time.Hour)
	if got.Trial.RemainingMS != 0 || got.Trial.SoakMS != 1 || !got.Time.Equal(s.Time.Add(time.Hour)) {
		t.Errorf("got %+v at %v", got.Trial, got.Time)
	}
	if s.Trial.SoakMS != 5000 {
		t.Error("what the agent said was changed")
	}
}

// What changes without news is asked for when the view is drawn; without an answer it
// stays.
func TestWatchRefreshes(t *testing.T) {
	var screen strings.Builder
	c := &cli{out: &screen}
	v := &screenView{c: c}
	s := &scripted{Statuses: []control.Status{{Device: "cam-7", Streams: []control.StreamStatus{{Name: "main", Viewers: 3}}}}, changed: make(chan struct{}), limit: 1}
	if err := c.refresh(t.Context(), backend{s}, v); err != nil || !strings.Contains(screen.String(), "3 viewers") {
		t.Errorf("%v\n%s", err, screen.String())
	}
	screen.Reset()
	away := control.Dial(t.TempDir() + "/none")
	if err := c.refresh(t.Context(), away, v); err != nil || !strings.Contains(screen.String(), "3 viewers") {
		t.Errorf("without an agent: %v\n%s", err, screen.String())
	}
}

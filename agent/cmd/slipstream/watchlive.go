package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

// tickEvery is how often a view is drawn anew if nothing happens: its countdowns go by
// seconds.
const tickEvery = time.Second

// The view has a screen of its own, without a cursor and without a line that goes on in
// the next one, and leaves the screen before as it was.
const (
	viewOpen  = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	viewClose = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	viewHome  = "\x1b[H"
	lineStart = "\x1b[K" // wipes the line before; behind a full line it would wipe its end
	viewEnd   = "\x1b[J" // wipes what is left of the page before
)

func (c *cli) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Show the device and its trial while they change",
		Long: `Show what "slipstream status" shows, with a trial's countdowns, until somebody
types q or interrupts it (Ctrl-C). The device does not notice who watches. Elsewhere
than on a terminal there is a line for each thing that happens; with --json the status
at each change, one JSON value a line.

Exit status: 0 when it was ended so, 1 if the agent could not be asked at first. If it goes away
later, its successor is waited for.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, status, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.watch(cmd.Context(), agent, status)
		},
	}
}

func (c *cli) watch(ctx context.Context, b control.Backend, first control.Status) error {
	v, quit := c.viewer()
	defer v.end()
	if err := v.show(first, time.Now()); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	statuses := follow(ctx, b, first.Seq)
	defer func() {
		stop()
		for range statuses { // wait until the follower has gone
		}
	}()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	for {
		var err error
		select {
		case <-quit:
			return nil
		case <-resized:
			err = v.tick(time.Now())
		case s, ok := <-statuses:
			if !ok {
				return nil
			}
			err = v.show(s, time.Now())
		case <-tick.C:
			err = c.refresh(ctx, b, v)
		}
		if err != nil {
			return err
		}
	}
}

// refresh draws a view anew. How many watch, and how long their gaps are, changes
// without any news of the device; an agent that does not answer leaves the view as it was.
func (c *cli) refresh(ctx context.Context, b control.Backend, v view) error {
	if _, drawn := v.(*screenView); drawn {
		ask, cancel := context.WithTimeout(ctx, tickEvery/2)
		defer cancel()
		if s, err := b.Status(ask); err == nil {
			return v.show(s, time.Now())
		}
	}
	return v.tick(time.Now())
}

// view is one of the ways to watch.
type view interface {
	show(s control.Status, now time.Time) error // a new status came
	tick(now time.Time) error                   // time passed
	end()
}

// viewer is the view for where c writes, and what is closed when somebody has had enough.
func (c *cli) viewer() (view, <-chan struct{}) {
	switch {
	case c.json:
		return jsonView{json.NewEncoder(c.out)}, nil
	case terminalOf(c.out).live:
		v := &screenView{c: c, way: "Ctrl-C ends it"}
		quit, back := quitKey(c.in)
		if v.back = back; quit != nil {
			v.way = "q ends it"
		}
		fmt.Fprint(c.out, viewOpen)
		return v, quit
	}
	return &lineView{c: c, progress: newProgress(c.out, terminal{glyphs: c.style.glyphs})}, nil
}

type jsonView struct{ *json.Encoder }

func (v jsonView) show(s control.Status, _ time.Time) error { return v.Encode(s) }
func (jsonView) tick(time.Time) error                       { return nil }
func (jsonView) end()                                       {}

// screenView draws the page anew.
type screenView struct {
	c    *cli
	way  string // out of it
	back func() // to the keys as they were
	last control.Status
	at   time.Time // when last came
}

func (v *screenView) show(s control.Status, now time.Time) error {
	v.last, v.at = s, now
	return v.tick(now)
}

func (v *screenView) tick(now time.Time) error {
	t := terminalOf(v.c.out) // its size may have changed
	var b strings.Builder
	st := v.c.style
	st.bars, st.width = true, t.width
	if err := page(&b, st, aged(v.last, now.Sub(v.at))); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	lines = append(lines, "", st.dim+fit("  watching; "+v.way, t.width, st.cut)+st.off)
	if t.height > 1 && len(lines) > t.height {
		lines = append(lines[:t.height-1], st.dim+fit(fmt.Sprintf("  %d more lines: slipstream status", len(lines)-t.height+1), t.width, st.cut)+st.off)
	}
	text := viewHome + lineStart + strings.Join(lines, "\r\n"+lineStart)
	if len(lines) != t.height { // else there is no rest, and one line more would scroll
		text += "\r\n" + viewEnd
	}
	_, err := fmt.Fprint(v.c.out, text)
	return err
}

func (v *screenView) end() {
	fmt.Fprint(v.c.out, viewClose)
	v.back()
}

// aged is a status as it must be by now if nothing has happened since.
func aged(s control.Status, passed time.Duration) control.Status {
	passed = max(passed, 0)
	s.Time = s.Time.Add(passed)
	if s.Trial == nil {
		return s
	}
	t := *s.Trial
	t.RemainingMS = max(t.RemainingMS-passed.Milliseconds(), 0)
	if !t.TookOver.IsZero() { // rounded up to above nothing: only the agent says "done"
		t.SoakMS = max(t.SoakMS-passed.Milliseconds(), min(t.SoakMS, 1))
	}
	s.Trial = &t
	return s
}

// lineView tells what happens, for a log.
type lineView struct {
	*progress

	c     *cli
	trial string
	last  time.Time // of the newest record that was told
	begun bool
}

func (v *lineView) show(s control.Status, now time.Time) error {
	if !v.begun {
		v.begun = true
		if s.Last != nil {
			v.last = s.Last.Time
		}
		if err := page(v.c.out, v.c.style, s); err != nil {
			return err
		}
	}
	if s.Trial != nil && s.Trial.ID != v.trial {
		v.trial, v.told = s.Trial.ID, map[string]bool{}
	}
	v.progress.show(s, now)
	if s.Last == nil || !s.Last.Time.After(v.last) {
		return nil
	}
	v.last, v.told = s.Last.Time, map[string]bool{}
	text := verdict(*s.Last)
	if s.Last.Outcome == control.OutcomeReverted || s.Last.Outcome == control.OutcomeRefused {
		text += ": " + because(s.Last.Reason, s.Last.Detail)
	}
	_, err := fmt.Fprintln(v.c.out, text)
	return err
}

func (v *lineView) tick(time.Time) error { return nil }
func (v *lineView) end()                 {}

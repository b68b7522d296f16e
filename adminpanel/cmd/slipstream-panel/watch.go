package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

func (c *cli) rolloutWatch() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "watch ROLLOUT", Short: "Follow a rollout until it is over or waits for a person",
		Long: `Tell how a rollout goes, until it is over or time alone brings nothing more; with --json one
Rollout a line. The panel may go away meanwhile and come back.

Exit status: 0 every device runs the release, 1 error, 4 it waits for a person (draft,
paused or halted), 5 it ended otherwise: some failed, went back or were skipped.`,
		Args: args(cobra.ExactArgs(1), "one ROLLOUT"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			return c.watch(ctx, panel, given[0], timeout)
		}),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long at most; 0: as long as it takes")
	return cmd
}

// lookEvery is how often a rollout is looked at of which no event tells: one may be lost.
const lookEvery = 15 * time.Second

var errOver = errors.New("the rollout is over")

// watch follows a rollout to its end.
func (c *cli) watch(ctx context.Context, panel *client.Client, id string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("rollout %s was not over within %s and goes on by itself; see: slipstream-panel fleet rollout show %s", id, timeout, id))
		defer cancel()
	}
	p := c.progress()
	last, err := c.follow(ctx, panel, id, p)
	p.end()
	switch {
	case ctx.Err() != nil && context.Cause(ctx) != nil && !errors.Is(err, errOver):
		return context.Cause(ctx)
	case !errors.Is(err, errOver):
		return err
	}
	code, _ := exitOf(last)
	if !c.json {
		text := fmt.Sprintf("%s is %s: %s", rolloutName(last), last.State, doneWords(last))
		if last.Why != "" {
			text += "; " + last.Why
		}
		fmt.Fprintln(c.out, words.Clean(text))
		if code == exitWaits {
			c.next("slipstream-panel fleet rollout show %s", id)
		}
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}

// follow tells of a rollout as it changes and returns it with errOver when it is over.
func (c *cli) follow(ctx context.Context, panel *client.Client, id string, p *progress) (last view.Rollout, err error) {
	news := make(chan view.Rollout)
	listen, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stop(hear(listen, panel, id, news))
	}()
	defer func() { stop(nil); <-ended }()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	r, err := panel.Rollout(ctx, id)
	for ; err == nil; r, err = c.nextOf(listen, panel, id, news, again.C) {
		if r.Rev < last.Rev {
			continue // an event that is older than what was fetched
		}
		if r.Rev > last.Rev || last.ID == "" {
			if err := c.tellRollout(p, r); err != nil {
				return last, err
			}
		}
		last = r
		if _, going := exitOf(r); !going {
			return last, errOver
		}
	}
	return last, err
}

// nextOf is the rollout as it is told next, or else asked for.
func (c *cli) nextOf(ctx context.Context, panel *client.Client, id string, news <-chan view.Rollout, again <-chan time.Time) (view.Rollout, error) {
	select {
	case r := <-news:
		if r.ID == id {
			return r, nil
		}
	case <-again:
	case <-ctx.Done():
		return view.Rollout{}, context.Cause(ctx)
	}
	return panel.Rollout(ctx, id)
}

// hear sends each rollout that an event brings; an empty one means that it is to be asked for.
func hear(ctx context.Context, panel *client.Client, id string, news chan<- view.Rollout) error {
	for e, err := range panel.Events(ctx, client.Topics{Topics: []string{"rollout:" + id}}) {
		if err != nil {
			return err
		}
		var r view.Rollout
		if e.Kind == "rollout" && len(e.Data) > 0 {
			if err := json.Unmarshal(e.Data, &r); err != nil {
				return fmt.Errorf("an event of the panel is not understood: %w", err)
			}
		}
		select {
		case news <- r:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

func (c *cli) tellRollout(p *progress, r view.Rollout) error {
	if c.json {
		return c.printLine(r)
	}
	step := r.State
	if r.Wave > 0 && r.Wave <= len(r.Waves) {
		w := r.Waves[r.Wave-1]
		step += fmt.Sprintf(", wave %d of %d", r.Wave, len(r.Waves))
		if w.Verdict != "open" && w.Verdict != "" {
			step += " " + w.Verdict
		}
	}
	n := r.Total
	detail := fmt.Sprintf("%d/%d done, %d staged, %d on trial", n.Done, n.Devices, n.Staged, n.Activating+n.Trial)
	if bad := n.Failed + n.Reverted; bad > 0 {
		detail += fmt.Sprintf(", %d failed", bad)
	}
	if p.to == nil {
		step, detail = step+": "+detail, ""
	}
	p.show(step, detail)
	return nil
}

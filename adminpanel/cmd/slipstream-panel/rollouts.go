package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/agent/words"
)

func (c *cli) rolloutCommand() *cobra.Command {
	cmd := group("rollout", "Bring a release to many devices, in waves",
		`Bring a release to many devices, as carefully as you wish: in waves, within windows, so many
at a time, and not further when too many fail. A rollout is made first and started then;
a preview says what one would do. A device counts as done when its version is permanent.

`+exitHelp,
		c.rolloutList(), c.rolloutShow(), c.rolloutWatch(), c.rolloutPreview(), c.rolloutCreate())
	for _, v := range []struct {
		name, short string
		asks        bool // what it does cannot be undone by another verb
	}{
		{client.Start, "Begin: from now on the devices are asked", false},
		{client.Approve, "Give your word for a rollout that somebody else has made", false},
		{client.Pause, "Ask no further device, for now", false},
		{client.Resume, "Go on after a pause or a halt", false},
		{client.Abort, "Ask no further device, for good", true},
		{client.AbortRevert, "Ask no further device, and have those that took the release go back", true},
		{client.Retry, "Ask those again that have failed", false},
		{client.SkipWave, "Open the next wave, whatever became of this one", true},
		{client.Confirm, "Greenlight the trials that wait for it", false},
	} {
		cmd.AddCommand(c.rolloutVerb(v.name, v.short, v.asks))
	}
	return cmd
}

func (c *cli) rolloutVerb(verb, short string, asks bool) *cobra.Command {
	var why string
	var expect int
	var yes, watch bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: verb + " ROLLOUT", Short: short,
		Long: short + `.

With --expect N it is refused if it would concern another number of devices than N.

` + exitHelp,
		Args: args(cobra.ExactArgs(1), "one ROLLOUT"),
	}
	cmd.RunE = c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
		body := view.RolloutVerb{Why: why}
		if cmd.Flags().Changed("expect") {
			body.Expect = &expect
		}
		if asks && !yes && body.Expect == nil {
			if err := c.sureOf(ctx, panel, given[0], verb); err != nil {
				return err
			}
		}
		r, err := panel.Verb(ctx, given[0], verb, body, 0)
		if err != nil {
			return err
		}
		if watch {
			return c.watch(ctx, panel, r.ID, timeout)
		}
		if c.json {
			return c.printJSON(r)
		}
		return c.done("%s is %s: %s", rolloutName(r), r.State, doneWords(r))
	})
	flags := cmd.Flags()
	flags.StringVar(&why, "why", "", "a word about it for the audit")
	flags.IntVar(&expect, "expect", 0, "so many devices, and no others, are concerned")
	if asks {
		flags.BoolVar(&yes, "yes", false, "do not ask")
	}
	watchFlags(cmd, &watch, &timeout)
	return cmd
}

func watchFlags(cmd *cobra.Command, watch *bool, timeout *time.Duration) {
	cmd.Flags().BoolVar(watch, "wait", false, "wait until it is over or waits for a person, and tell meanwhile")
	cmd.Flags().DurationVar(timeout, "timeout", 0, "how long --wait waits; 0: as long as it takes")
}

func (c *cli) sureOf(ctx context.Context, panel *client.Client, id, verb string) error {
	r, err := panel.Rollout(ctx, id)
	if err != nil {
		return err
	}
	return c.sure(false, "%s: %s, %s. %s it?", rolloutName(r), r.State, doneWords(r), strings.ToUpper(verb[:1])+verb[1:])
}

// rolloutName is what people call it, and its id.
func rolloutName(r view.Rollout) string {
	name := "rollout " + r.ID
	if r.Plan.Name != "" {
		name += " (" + r.Plan.Name + ")"
	}
	return name
}

// doneWords says in short how far a rollout is.
func doneWords(r view.Rollout) string {
	n := r.Total
	if n.Devices == 0 {
		return "to " + r.Version
	}
	parts := []string{fmt.Sprintf("%d of %s run %s", n.Done, words.Count(n.Devices, "device"), r.Version)}
	for _, more := range []struct {
		n    int
		what string
	}{{n.Failed, "failed"}, {n.Reverted, "went back"}, {n.Skipped, "skipped"}, {n.Offline, "away"}} {
		if more.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", more.n, more.what))
		}
	}
	return strings.Join(parts, ", ")
}

func (c *cli) rolloutList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List rollouts, the newest first", Args: args(cobra.NoArgs, "no arguments"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, _ []string) error {
			list, err := panel.Rollouts(ctx)
			if err != nil {
				return err
			}
			rows := make([][]string, len(list.Rollouts))
			for i, r := range list.Rollouts {
				rows[i] = []string{r.ID, r.Plan.Name, r.Version, r.State, fmt.Sprintf("%d/%d", r.Total.Done, r.Total.Devices), some(r.Total.Failed + r.Total.Reverted), moment(r.Created), r.By}
			}
			return c.list(list, "rollout", []string{"ID", "NAME", "VERSION", "STATE", "DONE", "FAILED", "MADE", "BY"}, rows)
		}),
	}
}

func (c *cli) rolloutShow() *cobra.Command {
	var devices bool
	var wave int
	var phase string
	cmd := &cobra.Command{
		Use: "show ROLLOUT", Short: "Show a rollout, or its devices", Args: args(cobra.ExactArgs(1), "one ROLLOUT"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			if devices || wave > 0 || phase != "" {
				return c.rolloutDevices(ctx, panel, given[0], wave, phase)
			}
			r, err := panel.Rollout(ctx, given[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(r)
			}
			return c.showRollout(r)
		}),
	}
	cmd.Flags().BoolVar(&devices, "devices", false, "list its devices")
	cmd.Flags().IntVar(&wave, "wave", 0, "list those of this wave, from 1")
	cmd.Flags().StringVar(&phase, "phase", "", "list those in this phase, such as failed")
	return cmd
}

func (c *cli) rolloutDevices(ctx context.Context, panel *client.Client, id string, wave int, phase string) error {
	list := view.RolloutDevices{Devices: []view.RolloutDevice{}}
	for d, err := range panel.RolloutDevices(ctx, id, wave, phase) {
		if err != nil {
			return err
		}
		list.Devices = append(list.Devices, d)
	}
	list.Total = len(list.Devices)
	if c.json {
		return c.printJSON(list)
	}
	if list.Total == 0 {
		_, err := fmt.Fprintln(c.out, "no device")
		return err
	}
	rows := make([][]string, len(list.Devices))
	for i, d := range list.Devices {
		why := d.Cause
		if d.Detail != "" {
			why = strings.TrimSpace(d.Cause + ": " + d.Detail)
		}
		rows[i] = []string{d.ID, fmt.Sprint(d.Wave), d.Phase, moment(d.Since), orDash(d.From), fmt.Sprint(d.Tries), why}
	}
	return c.table([]string{"DEVICE", "WAVE", "PHASE", "SINCE", "FROM", "TRIES", "WHY"}, rows)
}

// showRollout prints a rollout as its page does.
func (c *cli) showRollout(r view.Rollout) error {
	fmt.Fprintf(c.out, "%s  to %s  %s  %s\n", words.Clean(rolloutName(r)), words.Clean(r.Version), words.Clean(orAll(r.Plan.Selector)), strings.ToUpper(r.State))
	if r.Why != "" {
		fmt.Fprintln(c.out, "  "+words.Clean(r.Why))
	}
	for _, w := range r.Waiting {
		fmt.Fprintln(c.out, "  waits: "+words.Clean(w))
	}
	if n := r.NextEvent; n != nil {
		fmt.Fprintf(c.out, "  next: %s in %s\n", words.Clean(n.What), words.Span(time.Duration(n.InMS)*time.Millisecond))
	}
	fmt.Fprintf(c.out, "  limits: %d unavailable (now %d) | fail %g%% (now %.1f%%, bound %.1f-%.1f%%) | trial %s\n", r.Plan.MaxUnavailable, r.Now,
		r.Plan.FailPercent, r.FailRate, r.FailLow, r.FailHigh, words.Span(time.Duration(r.Plan.TrialDeadlineMS)*time.Millisecond))
	if r.Needed > 0 {
		fmt.Fprintf(c.out, "  approvals: %d of %d\n", len(r.Approvals), r.Needed)
	}
	rows := make([][]string, 0, len(r.Waves)+1)
	for i, w := range r.Waves {
		rows = append(rows, append(countRow(fmt.Sprintf("%d %s", i+1, w.Name), w.Counts), strings.TrimSpace(w.Verdict+"  "+w.Why)))
	}
	rows = append(rows, append(countRow("all", r.Total), ""))
	if err := c.table([]string{"WAVE", "DEVICES", "STAGED", "ACTIVATING", "TRIAL", "DONE", "FAILED", "REVERTED", "AWAY", "VERDICT"}, rows); err != nil {
		return err
	}
	for _, cause := range r.Failures {
		fmt.Fprintf(c.out, "failures: %d x %s (%s)\n", cause.Devices, words.Clean(cause.Cause), words.Clean(strings.Join(cause.Sample, ", ")))
	}
	if r.GapWorst != "" {
		fmt.Fprintf(c.out, "activation p50 %.0f ms  p99 %.0f ms   video gap p50 %.0f ms  worst %.0f ms (%s)\n", r.ActP50MS, r.ActP99MS, r.GapP50MS, r.GapMaxMS, words.Clean(r.GapWorst))
	}
	return nil
}

func orAll(selector string) string {
	if selector == "" {
		return "all devices"
	}
	return selector
}

func countRow(name string, n view.Counts) []string {
	return []string{strings.TrimSpace(name), fmt.Sprint(n.Devices), some(n.Staged), some(n.Activating), some(n.Trial), some(n.Done),
		some(n.Failed), some(n.Reverting + n.Reverted), some(n.Offline)}
}

// exitOf is the code for a rollout as it is; going tells whether time alone brings more.
func exitOf(r view.Rollout) (code int, going bool) {
	switch r.State {
	case view.RolloutRunning, view.RolloutRollingBack, view.RolloutApproved:
		return 0, true
	case view.RolloutDraft, view.RolloutPaused, view.RolloutHalted:
		return exitWaits, false
	}
	if r.State == view.RolloutCompleted && r.Total.Done == r.Total.Devices {
		return control.ExitDone, false
	}
	return control.ExitReverted, false
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/agent/words"
)

// first is the argument that may be missing.
func first(given []string) string {
	if len(given) == 0 {
		return ""
	}
	return given[0]
}

func (c *cli) devicesCommand() *cobra.Command {
	var ids bool
	cmd := &cobra.Command{
		Use: "devices [SELECTOR]", Short: "List devices",
		Long: `List the devices that a selector meets, or all; a version in brackets is that of a device
that is away, as it was last heard. --ids prints ids alone, one a line.`,
		Args: args(cobra.MaximumNArgs(1), "at most one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			list, err := panel.DevicePage(ctx, first(given), "", 1) // how many, and as of when
			if err != nil {
				return err
			}
			list.Devices, list.After = []view.Device{}, ""
			for d, err := range panel.Devices(ctx, first(given)) {
				if err != nil {
					return err
				}
				list.Devices = append(list.Devices, d)
			}
			list.Total = len(list.Devices)
			return c.showDevices(list, ids)
		}),
	}
	cmd.Flags().BoolVar(&ids, "ids", false, "print ids alone")
	return cmd
}

func (c *cli) showDevices(list view.Devices, ids bool) error {
	if c.json {
		return c.printJSON(list)
	}
	now := time.Now()
	rows := make([][]string, len(list.Devices))
	for i, d := range list.Devices {
		if ids {
			fmt.Fprintln(c.out, words.Clean(d.ID))
			continue
		}
		running := orDash(d.Running)
		if d.Stale {
			running = "(" + running + ")"
		}
		seen := "now"
		if !d.Online {
			seen = ago(d.LastSeen, now)
		}
		rows[i] = []string{d.ID, d.Name, d.Site, d.State, running, orDash(d.Staged), orDash(d.Previous), seen, strings.Join(d.Tags, ",")}
	}
	if ids {
		return nil
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(c.out, "no device")
		return err
	}
	if err := c.table([]string{"ID", "NAME", "SITE", "STATE", "RUNS", "STAGED", "PREVIOUS", "SEEN", "TAGS"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, words.Count(list.Total, "device"))
	return err
}

func (c *cli) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show DEVICE", Short: "Show one device", Args: args(cobra.ExactArgs(1), "one DEVICE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			d, err := panel.Device(ctx, given[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(d)
			}
			return c.showDevice(d)
		}),
	}
}

func (c *cli) showDevice(d view.DeviceDetail) error {
	rows := [][]string{}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("state", d.State)
	add("site", d.Site)
	add("tags", strings.Join(d.Tags, ", "))
	add("time zone", d.Zone)
	add("hardware", strings.TrimSpace(d.Product+" "+d.Hardware))
	add("runs", strings.TrimSpace(orDash(d.Running)+" "+inSlot(d.Slot)))
	add("staged", d.Staged)
	add("previous", d.Previous)
	add("system", d.System)
	add("runtime", d.Runtime)
	if d.Online {
		add("seen", "now")
	} else {
		add("seen", ago(d.LastSeen, time.Now()))
	}
	add("rollout", d.Rollout)
	if s := d.Status; s != nil && s.Trial != nil {
		add("trial", fmt.Sprintf("of %s, reverts in %s", s.Trial.Version, words.Countdown(s.Trial.RemainingMS-d.StatusAgeMS)))
		for _, v := range s.Trial.Verdicts {
			add("invariant", invariantWords(v, d.StatusAgeMS))
		}
	}
	if d.Asked != nil {
		add("asked", askedWords(*d.Asked)+", by "+d.Asked.By+" at "+moment(d.Asked.At))
	}
	if d.Certificate != nil {
		add("certificate", certificateWords(*d.Certificate))
	}
	add("note", d.Note)
	return c.facts(d.ID+"  "+d.Name, rows)
}

// invariantWords says how one stands and, if the device says, for how long.
func invariantWords(v control.Verdict, age int64) string {
	text := strings.TrimPrefix(v.Stream+"."+v.Invariant, ".")
	switch {
	case !v.Judged:
		text += " is not judged yet"
	case v.Holds:
		text += " holds"
	default:
		text += " is broken"
	}
	if v.SinceMS > 0 {
		text += " for " + words.Span(time.Duration(v.SinceMS+age)*time.Millisecond)
	}
	return text
}

func inSlot(slot string) string {
	if slot == "" {
		return ""
	}
	return "in slot " + slot
}

func certificateWords(c view.Certificate) string {
	if c.Revoked {
		return "revoked"
	}
	return "good until " + day(c.Until)
}

// askedWords says what was asked of a device, and what came of it.
func askedWords(a view.Asked) string {
	text := strings.TrimSpace(a.Kind + " " + a.Version)
	switch {
	case a.Message != "":
		return text + ": " + a.Message
	case a.Done:
		return text + ": done"
	}
	return text + ": it has not answered yet"
}

func (c *cli) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "history DEVICE", Short: "List what a device went through", Args: args(cobra.ExactArgs(1), "one DEVICE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			h, err := panel.History(ctx, given[0])
			if err != nil {
				return err
			}
			rows := make([][]string, len(h.Records))
			for i, r := range h.Records {
				rows[i] = []string{moment(r.Time), orDash(r.From), orDash(r.To), r.Outcome, cmp.Or(r.Detail, r.Reason)}
			}
			return c.list(h, "update yet", []string{"TIME", "FROM", "TO", "OUTCOME", "WHY"}, rows)
		}),
	}
}

func (c *cli) versionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions [SELECTOR]", Short: "Count devices by version",
		Long: `Count the devices that a selector meets, or all, by version, the newest first: how many run
it (AWAY are those of them that were last heard with it), have it staged, would go back to
it, or have tried it and gone back.`,
		Args: args(cobra.MaximumNArgs(1), "at most one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			v, err := panel.Versions(ctx, first(given))
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(v)
			}
			rows := make([][]string, 0, len(v.Versions)+1)
			for _, n := range v.Versions {
				rows = append(rows, []string{cmp.Or(n.Version, "not known"), strconv.Itoa(n.Running), some(n.Stale), some(n.Staged), some(n.Previous), some(n.Reverted)})
			}
			if err := c.table([]string{"VERSION", "RUN", "AWAY", "STAGED", "PREVIOUS", "REVERTED"}, rows); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, words.Count(v.Total, "device"))
			return err
		}),
	}
}

// some is a number that is worth reading.
func some(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func (c *cli) atCommand() *cobra.Command {
	var n int
	var selector string
	cmd := &cobra.Command{
		Use: "at VERSION", Short: "List devices that run a version",
		Long: `Print the ids of devices that run a version, one a line, in an order that is always the
same and has nothing to do with their names: with -n the same few come each time.`,
		Args: args(cobra.ExactArgs(1), "one VERSION"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			at, err := panel.At(ctx, given[0], selector, n)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(at)
			}
			for _, id := range at.Devices {
				fmt.Fprintln(c.out, words.Clean(id))
			}
			return nil
		}),
	}
	cmd.Flags().IntVarP(&n, "count", "n", 0, "at most so many; 0: all")
	cmd.Flags().StringVar(&selector, "in", "", "only of those that a `SELECTOR` meets")
	return cmd
}

func (c *cli) revokeCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke DEVICE", Short: "Shut a device out: its certificate lets it in no more",
		Long: `Shut a device out, at once and for good: its link ends, and to come back it has to enrol
anew by a token that names it. What it runs goes on running.`,
		Args: args(cobra.ExactArgs(1), "one DEVICE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			if err := c.sure(yes, "Shut %s out?", given[0]); err != nil {
				return err
			}
			if err := panel.RevokeDevice(ctx, given[0]); err != nil {
				return err
			}
			return c.done("%s is shut out; to let it in again: slipstream-panel fleet enrol %s", given[0], given[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

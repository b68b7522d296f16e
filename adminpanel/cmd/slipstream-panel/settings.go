package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/small"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// maxSettings bounds a file of settings: the API takes as much.
const maxSettings = 1 << 20

func (c *cli) settingsCommand() *cobra.Command {
	var approve int
	var zone, file string
	var idle, offline life
	cmd := &cobra.Command{
		Use: "settings", Short: "Show the fleet's rules, or change them",
		Long: `Show the fleet's rules, or change those that a flag names. Walls and views are lists: change
them in what --json prints, and give that back with --put FILE. It is refused if somebody
has changed the rules since.`,
		Example: "  slipstream-panel fleet settings --approve-above 100\n" +
			"  slipstream-panel fleet settings --json >rules; edit rules; slipstream-panel fleet settings --put rules",
		Args: args(cobra.NoArgs, "no arguments"),
	}
	flags := cmd.Flags()
	flags.IntVar(&approve, "approve-above", 0, "rollouts to more devices than so many need a second person; 0: none does")
	flags.Var(&idle, "session-idle", "how long somebody stays signed in who does nothing")
	flags.Var(&offline, "offline-after", "how long a device is away until that is written down")
	flags.StringVar(&zone, "zone", "", "time `ZONE` of devices that name none, such as Europe/Paris")
	flags.StringVar(&file, "put", "", "take all of it from a `FILE` of JSON; \"-\" is the input")
	cmd.RunE = c.asks(func(ctx context.Context, panel *client.Client, _ []string) error {
		s, err := panel.Settings(ctx)
		if err != nil {
			return err
		}
		if file != "" {
			s, err = c.settingsFile(file)
		}
		changed := file != ""
		for name, set := range map[string]func(){
			"approve-above": func() { s.ApproveAbove = approve },
			"session-idle":  func() { s.SessionIdle = time.Duration(idle).Milliseconds() },
			"offline-after": func() { s.OfflineAfter = time.Duration(offline).Milliseconds() },
			"zone":          func() { s.Zone = zone },
		} {
			if flags.Changed(name) {
				set()
				changed = true
			}
		}
		if err == nil && changed {
			s, err = panel.PutSettings(ctx, s)
		}
		if err != nil {
			return err
		}
		return c.showSettings(s)
	})
	return cmd
}

func (c *cli) settingsFile(name string) (s view.Settings, err error) {
	var text []byte
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(c.in, maxSettings))
	} else {
		text, err = small.File(name, maxSettings)
	}
	if err != nil {
		return s, fmt.Errorf("read the settings: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("the settings are not understood: %w", err)
	}
	return s, nil
}

func (c *cli) showSettings(s view.Settings) error {
	if c.json {
		return c.printJSON(s)
	}
	approve := "none"
	if s.ApproveAbove > 0 {
		approve = "those to more than " + words.Count(s.ApproveAbove, "device")
	}
	rows := [][]string{
		{"rollouts that a second person approves", approve},
		{"signed in without doing anything for", words.Span(time.Duration(s.SessionIdle) * time.Millisecond)},
		{"a device's absence is written down after", words.Span(time.Duration(s.OfflineAfter) * time.Millisecond)},
		{"time zone of devices that name none", s.Zone},
	}
	for _, w := range s.Walls {
		rows = append(rows, []string{"wall " + strconv.Quote(w.Name), cmp.Or(w.Selector, "all devices")})
	}
	for _, v := range s.Views {
		rows = append(rows, []string{"view " + strconv.Quote(v.Name), cmp.Or(v.Selector, "all devices")})
	}
	for _, root := range s.Roots {
		rows = append(rows, []string{"key of the fleet's orders", root})
	}
	return c.facts("settings", rows)
}

// describeCommand changes what people say of a device.
func (c *cli) describeCommand() *cobra.Command {
	var name, site, zone, note string
	var tags []string
	cmd := &cobra.Command{
		Use: "describe DEVICE", Short: "Say what a device is called, where it is, and what it is for",
		Long: `Change what people say of a device: what no flag names stays as it is, and an empty text takes
it away. Site and tags are what grants hang on: to change them takes the role admin over all
devices.`,
		Example: "  slipstream-panel fleet describe cam-7 --name \"North gate\" --site north --tag gate,lab\n" +
			"  slipstream-panel fleet describe cam-7 --tag \"\"",
		Args: args(cobra.ExactArgs(1), "one DEVICE"),
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "what people call it")
	flags.StringVar(&site, "site", "", "where it is")
	flags.StringSliceVar(&tags, "tag", nil, "its tags, in place of those that it has; may be repeated")
	flags.StringVar(&zone, "zone", "", "its time `ZONE`, in which the windows of rollouts are")
	flags.StringVar(&note, "note", "", "a note about it")
	cmd.RunE = c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
		var p view.DevicePatch
		said := 0
		for flag, set := range map[string]func(){
			"name": func() { p.Name = &name }, "site": func() { p.Site = &site }, "zone": func() { p.Zone = &zone }, "note": func() { p.Note = &note },
			"tag": func() { fresh := append([]string{}, tags...); p.Tags = &fresh },
		} {
			if flags.Changed(flag) {
				set()
				said++
			}
		}
		if said == 0 {
			return fmt.Errorf("say what is to be changed; see: %s --help", cmd.CommandPath())
		}
		d, err := panel.PatchDevice(ctx, given[0], p, 0)
		switch {
		case err != nil:
			return err
		case c.json:
			return c.printJSON(d)
		}
		return c.showDevice(d)
	})
	return cmd
}

// hubCommand tells how the panel itself does.
func (c *cli) hubCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hub", Short: "Tell how many devices are linked, and to how many panels", Args: args(cobra.NoArgs, "no arguments"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, _ []string) error {
			h, err := panel.Hub(ctx)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(h)
			}
			parts := []string{fmt.Sprintf("%d of %s linked to %s", h.Linked, words.Count(h.Devices, "device"), words.Count(h.Panels, "panel"))}
			if h.Admitting > 0 {
				parts = append(parts, fmt.Sprintf("%d wait to be let in", h.Admitting))
			}
			return c.done("%s", strings.Join(parts, ", "))
		}),
	}
}

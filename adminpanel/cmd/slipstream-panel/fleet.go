package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// fleetCommand asks a running panel from anywhere. Its words are those of the panel's pages
// and of its API, and its exit codes those of the device's commands.
func fleetCommand() *cobra.Command {
	c := &cli{}
	cmd := group("fleet", "See and update the devices of a panel, from anywhere",
		`Ask a running panel: what runs where, and bring releases to devices, one by one or in
waves. These are the four calls of a fleet:

  fleet versions           which versions run, and on how many devices
  fleet at VERSION         which devices run one
  fleet upgrade DEVICE     one device, now
  fleet rollout create     many devices, as carefully as you wish

A SELECTOR says which devices are meant, as in the filter of the panel's page: terms
joined by blanks, such as  "site:north version<2.5 -state:offline tag:lab,canary"  (behind
-- if it begins with a dash).

Which panel is meant, and the token for it, come from "fleet login", or from flags or
$`+envPanel+`, $`+envToken+` and $`+envCA+`.

`+exitHelp,
		c.loginCommand(), c.meCommand(),
		c.devicesCommand(), c.showCommand(), c.historyCommand(), c.versionsCommand(), c.atCommand(),
		c.describeCommand(), c.revokeCommand(),
		c.upgradeCommand(), c.stageCommand(), c.activateCommand(), c.confirmCommand(), c.revertCommand(), c.cancelCommand(),
		c.releaseCommand(), c.rolloutCommand(), c.eventsCommand(), c.enrolCommand(), c.auditCommand(),
		c.settingsCommand(), c.hubCommand())
	c.under(cmd)
	c.login.flags(cmd)
	return cmd
}

// under gives commands what they have in common, and has them say errors as one sentence.
func (c *cli) under(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print one JSON value for scripts")
	cmd.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		c.in, c.out, c.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if strings.Contains(err.Error(), ":") && strings.HasPrefix(err.Error(), "unknown shorthand flag") {
			return fmt.Errorf("a SELECTOR that begins with a dash goes behind two: %s … -- SELECTOR", cmd.CommandPath())
		}
		return fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())
	})
	c.wrap(cmd)
}

// wrap turns errors of a command and of those below it into exit codes.
func (c *cli) wrap(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, given []string) error {
			if code := c.end(do(cmd, given)); code != 0 {
				return exitCode(code)
			}
			return nil
		}
	}
	for _, below := range cmd.Commands() {
		c.wrap(below)
	}
}

func (c *cli) eventsCommand() *cobra.Command {
	var topics []string
	var after int64
	cmd := &cobra.Command{
		Use:   "events [SELECTOR]",
		Short: "Tell what changes, until interrupted",
		Long: `Print a line for each thing that changes, as it happens; with --json the event itself, one a
line. When the panel goes away it is waited for, and nothing is missed that it still
knows; else it says "resync". --after goes on behind a revision that an event had.`,
		Args: args(cobra.MaximumNArgs(1), "at most one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			want := client.Topics{Topics: topics, After: after}
			if len(given) > 0 {
				want.Selector = given[0]
			}
			for e, err := range panel.Events(ctx, want) {
				if errors.Is(err, context.Canceled) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := c.tell(e); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringSliceVar(&topics, "topics", []string{"devices", "rollouts", "releases"}, "of what: devices, device:ID, rollouts, rollout:ID, releases, audit, hub")
	cmd.Flags().Int64Var(&after, "after", 0, "begin behind this revision; 0: now")
	return cmd
}

func (c *cli) tell(e view.Event) error {
	if c.json {
		return c.printLine(e)
	}
	_, err := fmt.Fprintf(c.out, "%s  %d  %s\n", time.Now().Format("15:04:05"), e.Rev, words.Clean(eventWords(e)))
	return err
}

// eventWords says an event in one line.
func eventWords(e view.Event) string {
	if e.Kind == client.KindResync {
		return "resync: something may have been missed, look at it again"
	}
	text := e.Kind + " " + e.ID
	if e.Deleted {
		return text + " is gone"
	}
	switch e.Kind {
	case "device":
		var d view.Device
		if json.Unmarshal(e.Data, &d) == nil {
			text += "  " + d.State + "  " + orDash(d.Running)
			if d.Staged != "" {
				text += ", staged " + d.Staged
			}
		}
	case "rollout":
		var r view.Rollout
		if json.Unmarshal(e.Data, &r) == nil {
			text += "  " + r.State + "  " + doneWords(r)
		}
	case "release":
		var r view.Release
		if json.Unmarshal(e.Data, &r) == nil {
			text += "  " + r.Name
		}
	case "audit":
		var l view.AuditLine
		if json.Unmarshal(e.Data, &l) == nil {
			text = "audit " + l.Actor + "  " + l.Action + "  " + l.Object
		}
	case "hub":
		var h view.Hub
		if json.Unmarshal(e.Data, &h) == nil {
			text = fmt.Sprintf("hub  %d of %d devices linked", h.Linked, h.Devices)
		}
	}
	return text
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

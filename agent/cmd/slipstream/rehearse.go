package main

import (
	"context"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

const leftRehearsal = "a rehearsal that has begun ends by itself; see: slipstream explain"

func (c *cli) rehearseCommand() *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "rehearse",
		Short: "Swap to a second copy of the permanent version and come back",
		Long: `Prove that this device can be updated before a new version depends on it: start a second
copy of the permanent version on a copy of its data, let it take over the streams, and
go back after some seconds. The slots are not written, what is staged stays staged, and
a fault is not held against the version. Viewers see what they would see of an update
and its revert.

Exit status: 0 it went as it must (with --no-wait: it has begun), 1 error, 2 no version
is permanent, 3 refused, 5 it came back for another reason.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.rehearse(cmd.Context(), !noWait) },
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return when the rehearsal has begun")
	return cmd
}

func (c *cli) rehearse(ctx context.Context, wait bool) error {
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	r := c.watched(ctx, agent, status, leftRehearsal, func(ctx context.Context) control.Result {
		r := agent.Rehearse(ctx, control.RehearseRequest{Wait: wait})
		if !wait {
			return r
		}
		return outlive(ctx, agent, status, r)
	})
	if c.json || r.Record == nil {
		return c.finish(r)
	}
	if err := c.printProof(*r.Record); err != nil {
		return err
	}
	if r.Exit != control.ExitDone {
		c.next("slipstream explain; do not update this device before a rehearsal goes well")
	}
	return code(r)
}

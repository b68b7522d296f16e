package main

import (
	"context"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

func (c *cli) revertCommand() *cobra.Command {
	var request control.ReturnRequest
	cmd := &cobra.Command{
		Use:     "revert",
		Aliases: []string{"rollback"},
		Short:   "Go back to the version before",
		Long: `End the trial under way: viewers see the version before within milliseconds.

If nothing is on trial, try the version that was permanent before, if it is still whole
in its slot and above all floors. It is tried like any version: it becomes permanent by
its own greenlight, or the present one stays. Then the present one counts as reverted.
What came in one package is left together: an app, a system, and programs of Slipstream,
of which those built into the system are the ones before the first update.

Exit status: 0 reverted as asked, or the trial of the version before has begun (with
--wait: permanent), 1 error, 2 nothing to go back from, 3 refused, 5 the version before
was reverted.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.revert(cmd.Context(), request) },
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "also to a version that was reverted itself")
	cmd.Flags().BoolVar(&request.Wait, "wait", false, "wait until the trial of the version before has ended and print its proof")
	return cmd
}

func (c *cli) revert(ctx context.Context, request control.ReturnRequest) error {
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	if status.Trial != nil {
		return c.finish(agent.Revert(ctx))
	}
	r := c.watched(ctx, agent, status, leftTrial, func(ctx context.Context) control.Result {
		r := agent.Return(ctx, request)
		if !request.Wait {
			return r
		}
		return outlive(ctx, agent, status, r)
	})
	return c.outcome(ctx, agent, r, request.Wait, "FILE")
}

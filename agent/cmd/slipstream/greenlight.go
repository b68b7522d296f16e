package main

import (
	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

func (c *cli) greenlightCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "greenlight",
		Aliases: []string{"commit", "mark-good"},
		Short:   "Let the version on trial become permanent",
		Long: `Make the greenlight marker of the trial under way. The version is permanent once
its soak is over too; until then it can still be reverted.

Exit status: 0 marked, 1 error, 2 no trial, 3 refused.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			r := agent.Greenlight(cmd.Context())
			err = c.finish(r)
			if r.Exit == control.ExitDone {
				c.next("slipstream status, until the version is permanent")
			}
			return err
		},
	}
}

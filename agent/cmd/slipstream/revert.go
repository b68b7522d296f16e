package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) revertCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revert",
		Aliases: []string{"rollback"},
		Short:   "End the trial with the version before",
		Long: `End the trial under way: viewers see the version before within milliseconds.

Exit status: 0 reverted as asked, 1 error, 2 no trial, 3 refused.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.finish(agent.Revert(cmd.Context()))
		},
	}
}

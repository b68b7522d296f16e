package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel",
		Short: "End the staging that is under way",
		Long: `End the writing of a package, whoever has begun it, and return when nothing is written
any more. The running version is not touched. What was written already is kept: staging
the same package again goes on from there, and "slipstream clear" gives its space back.
Ctrl-C of "slipstream stage" does the same.

Exit status: 0 cancelled, 1 error, 2 nothing is being staged, or it was done before.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.finish(agent.Cancel(cmd.Context()))
		},
	}
}

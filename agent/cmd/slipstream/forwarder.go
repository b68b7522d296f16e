package main

import "github.com/spf13/cobra"

func (c *cli) forwarderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forwarder",
		Short: "Renew the process that viewers are connected to",
		Args:  args(cobra.NoArgs, "replace"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "replace",
		Short: "Let the installed forwarder take over from the one that runs",
		Long: `Start the installed forwarder beside the running one. It takes over all viewers
without a gap, and the old one ends; if it cannot, the old one goes on. The agent
does this by itself when it starts and finds a newer one installed.

Exit status: 0 replaced, 1 error: the old one goes on, 3 refused during a trial.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.finish(agent.ReplaceForwarder(cmd.Context()))
		},
	})
	return cmd
}

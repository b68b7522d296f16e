package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what the device is doing",
		Long: `Show the device, its two slots, the trial under way and the streams.

The sign before a slot stands at the version that viewers see.

Exit status: 0, or 1 if the agent cannot be asked.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, status, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(status)
			}
			return page(c.out, c.style, status)
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

func (c *cli) clearCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear SLOT",
		Short: "Empty a slot that is not in use",
		Long: `Remove the version in a slot with its data, and free the space. SLOT is a, b,
system-a, system-b, runtime-a or runtime-b; a package that is staged in two slots goes
from both. The permanent version, one that runs and one on trial are never removed.

Without a version in the other slot there is nothing to fall back to if the permanent
one is damaged.

Exit status: 0 empty, 1 error, 2 empty already, 3 refused.`,
		Args:              args(cobra.ExactArgs(1), "one slot"),
		ValidArgsFunction: c.completeSlot,
		RunE: func(cmd *cobra.Command, given []string) error {
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.finish(agent.Clear(cmd.Context(), control.ClearRequest{Slot: given[0]}))
		},
	}
}

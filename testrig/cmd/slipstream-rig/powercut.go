package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/testrig/machine"
	"slipstream/testrig/powercut"
)

func powercutCommand() *cobra.Command {
	opts := powercut.Options{Out: os.Stdout}
	cmd := &cobra.Command{
		Use:   "powercut",
		Short: "Cut the power of an emulated camera at every write, and boot it again",
		Long: `Record whatever the disk of an emulated camera is told while its application and its
system are updated, and look at what a power cut leaves at each instant of that. Then let
a camera's power fail again and again, with a disk that forgets what was not flushed: it
must come up each time. Last, do the first with builds that lack a flush, which must be
found out: ` + strings.Join(powercut.FaultNames(), ", ") + `.

The last line counts, and what is bad makes the exit status 1. It needs root: file systems
are mounted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return powercut.Run(cmd.Context(), opts) },
	}
	cmd.Flags().StringVar(&opts.Arch, "arch", machine.Arches[0].Name, "architecture of the camera")
	cmd.Flags().IntVar(&opts.Boots, "boots", 20, "how often the camera has to come up after a power cut")
	cmd.Flags().IntVar(&opts.Chance, "chance", 2, "how many states of each recorded instant are chosen at random")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "what is chosen at random is the same again with the same seed")
	cmd.Flags().StringSliceVar(&opts.Faults, "faults", powercut.FaultNames(), "builds to be found out; empty for none")
	return cmd
}

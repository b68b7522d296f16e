package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipstream/testrig/bench"
	"slipstream/testrig/device"
)

func benchCommand() *cobra.Command {
	var kills int
	var out string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how soon viewers see the old version after a crash",
		Long: `Kill the version on trial many times and measure when the first packet of the old
version reaches viewers, for apps of 10, 100 and 500 MB, with and without the lock by which
the forwarder learns of a death early, beside the time that this machine takes to
wake a process that waits for the same death by a pidfd.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bin, err := device.Binaries(cmd.Context(), "")
			if err != nil {
				return err
			}
			figures, err := bench.Kill(cmd.Context(), bin, kills)
			if err != nil {
				return err
			}
			if err := bench.Print(os.Stdout, figures); err != nil {
				return err
			}
			return bench.Write(out, figures)
		},
	}
	cmd.Flags().IntVar(&kills, "kills", 50, "how often, for the smallest app")
	cmd.Flags().StringVar(&out, "out", filepath.Join("build", "bench.json"), "JSON file of the figures")
	return cmd
}

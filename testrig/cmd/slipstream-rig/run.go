package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/testrig/scenarios"
)

func runCommand() *cobra.Command {
	opts := scenarios.Options{Out: os.Stdout}
	var reports []string
	cmd := &cobra.Command{
		Use:   "run [SCENARIO…]",
		Short: "Play scenarios with emulated cameras, real boots and viewers outside",
		Long: `Play scenarios with cameras that are emulated whole: ARM processor, boot loader,
kernel, system slots, Slipstream as it ships, and the sample camera. A scenario is a
file, or the name of one that comes with the rig; without any all of those are played
but for package-…:
` + strings.Join(scenarios.Names(), ", ") + `.

With --package a package of your own is tried: scenarios stage it as version "package".
The camera comes with the version of --from, or with the package itself, and trusts the
release keys of --trust. Try package-rehearse, and with --from package-update.

The commands of scenarios are explained in testrig/scenarios/doc.go. What is needed of
Debian is named where it is missing; kernels are fetched once, into build/machine. The
last line counts, and a scenario that fails makes the exit status 1.

A report tells of each scenario how versions ended and how soon the one before was back,
what viewers outside suffered (gaps, frames lost, sessions ended), and what the camera
said on its console. As a page it shows what viewers saw at the beginning, when a version
came, while it was on trial, and in the end; ffmpeg decodes that.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Scenarios = args
			opts.Pictures = slices.ContainsFunc(reports, scenarios.WantsPictures)
			results, err := scenarios.Run(cmd.Context(), opts)
			for _, report := range reports {
				err = errors.Join(err, scenarios.Save(report, opts, results))
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&opts.Archs, "arch", nil, "architecture of the camera, arm64 or arm; both if it is left out")
	cmd.Flags().StringVar(&opts.Package, "package", "", "a package `FILE` of your own, for the architecture of --arch")
	cmd.Flags().StringVar(&opts.From, "from", "", "package `FILE` of the version that the camera comes with")
	cmd.Flags().StringVar(&opts.Trust, "trust", "", "PEM `FILE` of the keys that have signed them")
	cmd.Flags().DurationVar(&opts.Patience, "patience", scenarios.Patience, "how long one command of a scenario may take")
	cmd.Flags().BoolVarP(&opts.Verbose, "verbose", "v", false, "print the logs of what went well, too")
	cmd.Flags().StringSliceVar(&reports, "report", nil, "write outcomes, viewers' figures, logs and consoles to this `FILE`: "+
		"as a page with pictures of the stream if it ends in .html, else as JSON")
	return cmd
}

// Command slipstream-rig runs whole devices, on this machine or emulated, and shows or judges
// what an update does to their viewers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"slipstream/testrig/demo"
	"slipstream/testrig/device"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "slipstream-rig",
		Short:         "Run whole devices on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(demoCommand(), runCommand(), powercutCommand(), benchCommand(), guardCommand(), readCommand(), sceneCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-rig:", err)
		os.Exit(1)
	}
}

func demoCommand() *cobra.Command {
	opts := demo.Options{Out: os.Stdout}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Update a camera five times while viewers watch, and prove what they saw",
		Long: `Update a camera five times while viewers watch: a good version, one that crashes,
one that hangs, one that never gets its greenlight and one of a stranger. Prints
what the viewers saw of each and writes it to ` + demo.ResultFile + `, then leaves the
panel open until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo.Run(cmd.Context(), opts) },
	}
	cmd.Flags().BoolVar(&opts.Once, "once", false, "end after the updates; the exit code says whether all was as it has to be")
	cmd.Flags().StringVar(&opts.Listen, "listen", "", "loopback address of the panel (default "+demo.DefaultListen+", with --once any free one)")
	return cmd
}

// guardCommand is started by package device, not by people.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "guard DIR",
		Short:  "End a device's processes when standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return device.Guard(args[0], os.Stdin) },
	}
}

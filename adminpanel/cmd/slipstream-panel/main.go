// Command slipstream-panel is the fleet server: devices link to it, and people
// see and update them on its page. It is also the way to ask such a server from elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, command(), os.Stderr)
	stop()
	os.Exit(code)
}

// run says errors as plain sentences, and returns the exit code.
func run(ctx context.Context, cmd *cobra.Command, stderr io.Writer) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	fmt.Fprintln(stderr, err)
	return 1
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "slipstream-panel",
		Short:         "The fleet server: devices link to it, people see and update them",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	tokens := &cobra.Command{Use: "token", Short: "API tokens: what programs show to the panel"}
	root.AddCommand(serveCommand(), authority(), tokenVerbs(tokens), userCommand(), setupTokenCommand(), fleetCommand(),
		backupCommand(), restoreCommand(), verifyCommand(), simulateCommand())
	return root
}

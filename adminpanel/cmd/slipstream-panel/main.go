// Command slipstream-panel is the fleet server: devices link to it, and people
// see and update them on its page. It is also the way to ask such a server from elsewhere.
//
// "serve" is the server; "fleet" asks a running one over its API, from anywhere; the others
// work on a panel's store beside it, where it does not run, or where that is a cluster. They
// keep the promises of the device's own commands (agent/cmd/slipstream): the exit code says
// what became of the request (0 done, 1 error, 2 nothing to do, 3 refused and nothing
// changed, 4 it waits for a person, 5 the version before is back), --json prints exactly one
// JSON value, and one a line where it goes on until it is interrupted; results go to stdout,
// progress and the one sentence of an error to stderr; foreign text is stripped of control
// characters. Nobody is asked anything where there is no terminal.
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
		Args:          knownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	tokens := group("token", "API tokens: what programs show to the panel", "Make and end API tokens, which programs show to the panel.\n\n"+throughHelp)
	root.AddCommand(serveCommand(), configCommand(), authority(), tokenVerbs(tokens), userCommand(), setupTokenCommand(), fleetCommand(),
		backupCommand(), restoreCommand(), verifyCommand(), simulateCommand(), manCommand())
	return root
}

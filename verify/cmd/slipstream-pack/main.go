// Command slipstream-pack makes keys, roots and orders, and builds, signs, verifies
// and shows packages.
// It belongs on a build machine, not on a device. It never runs anything out of
// a package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"slipstream/verify"
)

// Exit statuses.
const (
	exitDone    = 0
	exitError   = 1
	exitRefused = 3
)

const exitHelp = `

EXIT STATUS
  0  done
  1  error: a file could not be read or written, or the command was wrong
  3  the package was refused`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process around it.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a KMS's library may not listen: who asks a second time ends it at once
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if refusal, ok := errors.AsType[*refusedError](err); ok {
		fmt.Fprintf(stderr, "slipstream-pack: refused: %v (%s)\n", refusal, verify.Code(refusal))
		return exitRefused
	}
	// A library's errors name it; who runs a command does not care which one it was.
	fmt.Fprintf(stderr, "slipstream-pack: %s\n", strings.TrimPrefix(err.Error(), "verify: "))
	return exitError
}

// newRoot is the command line.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "slipstream-pack",
		Short:         "Build, sign, verify and inspect Slipstream packages",
		Long:          "Build, sign, verify and inspect Slipstream packages." + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(keygenCommand(), rootCommand(), buildCommand(), signCommand(), attachCommand(), orderCommand(), timeCommand(),
		statementCommand(), paeCommand(), verifyCommand(), inspectCommand(), diffCommand(), encryptCommand(), keysCommand(), checkCommand())
	return root
}

// refusedError marks what is the package's fault, and not the trust file's or
// the template's, which are refused with a code too.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

func asRefused(err error) error {
	if verify.Code(err) == "" {
		return err
	}
	return &refusedError{err}
}

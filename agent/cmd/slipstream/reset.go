package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"slipstream/agent/control"
)

func (c *cli) resetCommand() *cobra.Command {
	var yes, noWait bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Go back to the version that this device came with",
		Long: `Install the package that the configuration names as factory, although it may be older
than what runs. It is tried like any other version: what runs now comes back if it does
not hold. It alone may be below the floor of release counters, and needs no order of the
fleet; a version below today's security epoch is refused, here too. Viewers of streams
that it does not have are closed.

Whom the device trusts, its fleet, its floors and the application's data stay as they
are; later packages must be above the floors. So do the system and Slipstream's own
programs, if the factory package does not bring them.

It asks before it begins; where nobody can be asked, --yes says so.

Exit status: 0 permanent, 1 error, 2 permanent already, 3 refused and nothing changed,
4 reboot needed, 5 reverted.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.reset(cmd.Context(), yes, !noWait) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return when the trial has begun")
	return cmd
}

func (c *cli) reset(ctx context.Context, yes, wait bool) error {
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	if !yes && !c.agreed(fmt.Sprintf("Go back from %s to the version that %s came with?", clean(status.Permanent), clean(status.Device))) {
		return c.finish(control.Result{Exit: control.ExitRefused, Code: "not-agreed", Message: "nothing has changed; without a question: slipstream reset --yes"})
	}
	r := c.watched(ctx, agent, status, leftTrial, func(ctx context.Context) control.Result {
		r := agent.Reset(ctx, control.ResetRequest{Wait: wait})
		if !wait {
			return r
		}
		return outlive(ctx, agent, status, r)
	})
	return c.outcome(ctx, agent, r, wait, "FILE")
}

// agreed asks a person, if there is one.
func (c *cli) agreed(question string) bool {
	if f, ok := c.in.(*os.File); c.json || ok && !term.IsTerminal(int(f.Fd())) {
		return false
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(io.LimitReader(c.in, maxAnswer)).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// maxAnswer bounds the answer to a question.
const maxAnswer = 80

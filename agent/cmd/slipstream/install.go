package main

import (
	"context"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

func (c *cli) installCommand() *cobra.Command {
	var force, noWait bool
	cmd := &cobra.Command{
		Use:   "install FILE|URL|DIRECTORY",
		Short: "Stage a package, activate it and wait for the outcome",
		Long: `Do all of an update: verify the package, write it into the spare slot, start it,
and wait until it is permanent or reverted. Prints the proof: what the viewers of
each stream were shown again, how long a revert took, and why it came.

Of a DIRECTORY, such as a mounted stick, the newest package is taken that this device
accepts; others may lie beside it.

Interrupting the command does not end a trial.

Exit status: 0 permanent, 1 error, 2 permanent already, 3 refused and nothing
changed, 4 reboot needed, 5 reverted.`,
		Args: args(cobra.ExactArgs(1), "one package, a file, a URL or a directory"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.install(cmd.Context(), given[0], force, !noWait)
		},
	}
	forceFlag(cmd, &force)
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return when the trial has begun")
	return cmd
}

func (c *cli) install(ctx context.Context, from string, force, wait bool) error {
	if isDir(from) {
		path, none, err := c.newestIn(ctx, from)
		if err != nil {
			return err
		}
		if none != nil {
			return c.finish(*none)
		}
		if from = path; !c.json {
			c.say(c.err, "taking "+path)
		}
	}
	request, err := packageAt(from, force)
	if err != nil {
		return err
	}
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	r := c.watched(ctx, agent, status, leftTrial, func(ctx context.Context) control.Result {
		r := control.Install(ctx, agent, request, wait)
		if !wait {
			return r
		}
		return outlive(ctx, agent, status, r)
	})
	return c.outcome(ctx, agent, r, wait, from)
}

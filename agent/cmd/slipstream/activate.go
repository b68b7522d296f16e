package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

const leftTrial = "a trial that has begun goes on by itself; see: slipstream status"

func (c *cli) activateCommand() *cobra.Command {
	var request control.ActivateRequest
	cmd := &cobra.Command{
		Use:   "activate",
		Short: "Start the staged version and begin its trial",
		Long: `Start the staged version beside the running one. Once its pictures have come it
takes over the streams, and is permanent when it is greenlit. Else the version
before comes back.

Exit status: 0 the trial has begun (with --wait: permanent), 1 error, 2 nothing
staged, 3 refused, 4 reboot needed, 5 reverted.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.activate(cmd.Context(), request) },
	}
	forceFlag(cmd, &request.Force)
	cmd.Flags().BoolVar(&request.Wait, "wait", false, "wait until the trial has ended and print its proof")
	return cmd
}

func (c *cli) activate(ctx context.Context, request control.ActivateRequest) error {
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	r := c.watched(ctx, agent, status, leftTrial, func(ctx context.Context) control.Result {
		r := agent.Activate(ctx, request)
		if !request.Wait {
			return r
		}
		return outlive(ctx, agent, status, r)
	})
	return c.outcome(ctx, agent, r, request.Wait, "FILE")
}

// outcome says how an activation went: the trial's proof if it was waited for,
// else the next step. The package is named as its user would name it again.
func (c *cli) outcome(ctx context.Context, agent *control.Client, r control.Result, waited bool, file string) error {
	if !waited {
		err := c.finish(r)
		if r.Exit == control.ExitDone {
			c.next(c.trialStep(ctx, agent))
		}
		return err
	}
	if r.Record == nil && (r.Exit == control.ExitDone || r.Exit == control.ExitReverted) {
		r.Record = newest(ctx, agent)
	}
	if c.json || r.Record == nil {
		return c.finish(r)
	}
	if err := c.printProof(*r.Record); err != nil {
		return err
	}
	if r.Exit == control.ExitReverted {
		c.next(revertedStep(r.Record.Reason, file))
	}
	return code(r)
}

// revertedStep is what a person does after a revert. Nobody need correct a
// version that was not to blame.
func revertedStep(reason, file string) string {
	if strings.ContainsAny(file, " \t\"'$`\\") {
		file = "FILE" // would have to be quoted
	}
	switch reason {
	case "operator", "panel", "power", "agent", "forwarder", "record":
		return "to try it again: slipstream install --force " + file
	}
	return "correct the version; to try this very package again: slipstream install --force " + file
}

// trialStep is what a person does during the trial that has just begun.
func (c *cli) trialStep(ctx context.Context, agent *control.Client) string {
	status, err := agent.Status(ctx)
	if err == nil && status.Trial != nil && status.Trial.Greenlight == "operator" {
		return "look at the picture, then: slipstream greenlight (or: slipstream revert)"
	}
	return "slipstream status, to follow the trial"
}

// newest is the newest record of the history, nil if there is none.
func newest(ctx context.Context, agent *control.Client) *control.Record {
	records, err := agent.History(ctx, 1)
	if err != nil || len(records) == 0 {
		return nil
	}
	return &records[0]
}

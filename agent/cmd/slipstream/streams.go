package main

import (
	"io"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

func (c *cli) streamsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "streams",
		Short: "Show the streams as their viewers see them",
		Long: `Show each stream: whose pictures its viewers see, their size, how many watch, the
longest gap between two frames, and the addresses at which it plays.

Exit status: 0, 1 if the agent cannot be asked, 2 no streams.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent, status, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			return c.showStreams(status)
		},
	}
}

func (c *cli) showStreams(s control.Status) error {
	if c.json {
		if s.Streams == nil {
			s.Streams = []control.StreamStatus{} // a list, never null
		}
		if err := c.printJSON(s.Streams); err != nil {
			return err
		}
	}
	if len(s.Streams) == 0 {
		r := control.Result{Exit: control.ExitNothing, Message: "no streams: no application publishes any; see: slipstream status"}
		if !c.json {
			return c.finish(r)
		}
		return code(r)
	}
	if c.json {
		return nil
	}
	p := c.printer()
	p.streamTable(s.Streams, "")
	_, err := io.WriteString(c.out, p.b.String())
	return err
}

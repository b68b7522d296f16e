package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/testrig/bench"
	"slipstream/testrig/device"
)

// peerVar names a MediaMTX binary of the user's, which servers are compared with.
const peerVar = "MEDIAMTX"

const (
	agentRuns = 20 // updates, and as many reverts
	agentIdle = 30 * time.Second
)

func benchCommand() *cobra.Command {
	var kills, runs int
	var out string
	var only []string
	var stream, quick, ofAgent bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how soon viewers see the old version after a crash, and what streams cost",
		Long: `Kill the version on trial many times and measure when the first packet of the old
version reaches viewers: for apps of 10, 100 and 500 MB, with and without FIFO priority,
with and without the lock by which the forwarder learns of a death early, beside the
time that this machine takes to wake a process that waits for the same death. Then the
gap that viewers see at a crash and at a hang, beside an untouched stream.

With --stream also measure CPU per packet, memory, latency and the time to the first
picture for 1, 10 and 100 viewers, beside a floor without any server, and false stall
alarms. If the variable ` + peerVar + ` holds the path of a MediaMTX binary, that is
measured in turns with ours.

With --agent measure its program, its memory and CPU at rest, how long it takes from a
request to the new version's program, from a marker to permanent and from a death to
its decision, and how long its journal takes to be replayed.

Whatever has a target is judged at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, part := range only {
				if !slices.Contains(bench.Parts, part) {
					return fmt.Errorf("there is no part %q; the parts are %s", part, strings.Join(bench.Parts, ", "))
				}
			}
			bin, err := device.Binaries(cmd.Context(), "")
			if err != nil {
				return err
			}
			if !device.RaisePriority() {
				cmd.PrintErrln("without the privilege to raise its priority, other work on this machine is measured too")
			}
			var figures []bench.Figure
			config := bench.FullStream(runs)
			if quick {
				config = bench.QuickStream()
			}
			config.Bin, config.Dir, config.Peer, config.Log = bin, filepath.Dir(bin), os.Getenv(peerVar), os.Stderr
			file := "bench.json"
			switch {
			case stream:
				file, config.Only = "bench-stream.json", only
				figures, err = bench.Stream(cmd.Context(), config)
			case ofAgent:
				file = "bench-agent.json"
				figures, err = bench.Agent(cmd.Context(), bench.AgentConfig{Bin: bin, Runs: agentRuns, Idle: agentIdle})
			default:
				config.Kills, config.Gaps, config.Only = kills, (kills+1)/2, []string{bench.Kills, bench.Gaps}
				figures, err = bench.Stream(cmd.Context(), config)
			}
			if err != nil {
				return err
			}
			if err := bench.Print(os.Stdout, figures); err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join("build", file)
			}
			return bench.Write(out, figures)
		},
	}
	cmd.Flags().IntVar(&kills, "kills", 50, "how often, for the smallest app")
	cmd.Flags().BoolVar(&stream, "stream", false, "measure everything about streams; takes about half an hour")
	cmd.Flags().BoolVar(&ofAgent, "agent", false, "measure the agent: what it costs at rest, and its part of updates and reverts")
	cmd.MarkFlagsMutuallyExclusive("stream", "agent")
	cmd.Flags().StringSliceVar(&only, "only", nil, "with --stream: measure these parts alone ("+strings.Join(bench.Parts, ", ")+")")
	cmd.Flags().IntVar(&runs, "runs", bench.EnoughRuns, "with --stream: how often each server is measured; the rest in proportion")
	cmd.Flags().BoolVar(&quick, "quick", false, "with --stream: measure everything once and briefly, to see that it works")
	cmd.Flags().StringVar(&out, "out", "", "JSON file of the figures (default build/bench.json, bench-stream.json or bench-agent.json)")
	return cmd
}

// readCommand is started by package bench, not by people.
func readCommand() *cobra.Command {
	var config bench.ReadConfig
	cmd := &cobra.Command{
		Use:    "read",
		Short:  "Play a stream with many viewers and measure what comes",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.Read(cmd.Context(), config, os.Stdin, os.Stdout)
		},
	}
	cmd.Flags().StringVar(&config.Kind, "kind", "", "kind of viewers")
	cmd.Flags().StringVar(&config.URL, "url", "", "what they play")
	cmd.Flags().IntVar(&config.Viewers, "viewers", 0, "how many at once")
	cmd.Flags().IntVar(&config.Joins, "joins", 0, "join and leave so often instead")
	return cmd
}

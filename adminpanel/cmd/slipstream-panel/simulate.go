package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/small"
	"slipstream/agent/wire"
)

// simulation is what the flags of simulate say.
type simulation struct {
	simulate.Config

	tokens    []string
	tokenFile string
	every     time.Duration
	verbose   bool
}

// simulateCommand is the only one that is not about a panel but about its devices.
func simulateCommand() *cobra.Command {
	s := simulation{Config: simulate.Config{Shares: simulate.Shares{Fates: map[simulate.Fate]float64{}}}}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Call a panel as many devices that do not exist, to try the panel",
		Long: "Call a panel as many devices that do not exist, until interrupted. They enrol and speak as\n" +
			"real ones do; slots, trials and times are made up, and of a package they read the head only.\n" +
			"One token lets in so many of them; several may be given, in a file one a line.",
		Example: "  slipstream-panel simulate --panel https://HOST:8443 --token-file fleet.token --devices 1000 --fail 1% --offline 0.5%",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Panel, "panel", "", "address at which devices call, such as https://panel.example:8443")
	f.StringSliceVar(&s.tokens, "token", nil, "enrolment tokens; others on this machine can see them here")
	f.StringVar(&s.tokenFile, "token-file", "", "file with enrolment tokens")
	f.IntVar(&s.Devices, "devices", 100, "how many")
	f.StringVar(&s.Prefix, "prefix", "sim", "of their names: sim-00000, sim-00001, …")
	f.Uint64Var(&s.Seed, "seed", 1, "which devices behave how follows from it")
	f.StringVar(&s.State, "state", "", "directory that keeps who they are; else their names are taken when this ends")
	f.BoolVar(&s.Download, "download", false, "each device reads all of each package")
	f.StringVar(&s.Device.Product, "product", "sample-camera", "product that they are")
	f.StringVar(&s.Device.Hardware, "hardware", "rig", "hardware that they are")
	f.StringVar(&s.Device.Version, "version", "1.0.0", "version that they have at first")
	f.StringVar(&s.Device.Marker, "greenlight", "app", "who ends their trials: app or operator")
	for fate, what := range map[simulate.Fate]string{
		simulate.Fails: "whose trials revert", simulate.Hangs: "whose trials never end", simulate.Silent: "that say nothing of their trials",
		simulate.Late: "that revert after they said all is well", simulate.Offline: "that lose their power during a trial", simulate.Refuses: "that do not take packages",
	} {
		f.Func(string(fate), "share of devices "+what+", such as 1%", share(func(v float64) { s.Shares.Fates[fate] = v }))
	}
	f.Func("old-clock", "share of devices whose clocks are years behind", share(func(v float64) { s.Shares.OldClock = v }))
	f.Func("slow", "share of devices to which all takes ten times as long", share(func(v float64) { s.Shares.Slow = v }))
	f.DurationVar(&s.Times.Stage, "stage", 5*time.Second, "how long staging takes, about")
	f.DurationVar(&s.Times.Start, "start", 300*time.Millisecond, "how long until a new version is seen")
	f.DurationVar(&s.Times.Soak, "soak", 10*time.Second, "how long trials take")
	f.DurationVar(&s.Times.Late, "late-after", time.Minute, "when late reverts come")
	f.DurationVar(&s.Times.Away, "away", 30*time.Second, "how long devices are without power")
	f.DurationVar(&s.every, "every", 10*time.Second, "how often to print what they do")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log what each device does")
	return cmd
}

func share(set func(float64)) func(string) error {
	return func(text string) error {
		v, err := simulate.ParseShare(text)
		if err == nil {
			set(v)
		}
		return err
	}
}

func (s *simulation) run(ctx context.Context, out io.Writer) error {
	if err := s.readTokens(); err != nil {
		return err
	}
	if s.every <= 0 {
		return fmt.Errorf("--every %v is no time", s.every)
	}
	level := slog.LevelError
	if s.verbose {
		level = slog.LevelDebug
	}
	s.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	fleet, err := simulate.NewFleet(s.Config)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintln(out, sayCounts(fleet.Counts()))
		case err := <-ended:
			fmt.Fprintln(out, sayCounts(fleet.Counts()))
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// maxTokens bounds a file of them: each is good for 256 devices at most.
const maxTokens = simulate.MaxDevices / 256

// readTokens takes those of the flag and of the file. Devices that are enrolled need none.
func (s *simulation) readTokens() error {
	texts := s.tokens
	if s.tokenFile != "" {
		raw, err := small.File(s.tokenFile, maxTokens*wire.MaxToken)
		if err != nil {
			return fmt.Errorf("read the tokens: %w", err)
		}
		texts = append(texts, strings.Fields(string(raw))...)
	}
	for _, text := range texts {
		token, err := wire.ParseToken(text)
		if err != nil {
			return err
		}
		s.Tokens = append(s.Tokens, token)
	}
	return nil
}

// sayCounts is one line on what a fleet does.
func sayCounts(c simulate.Counts) string {
	return fmt.Sprintf("%d of %d enrolled; %s; %s; staged %d, tried %d, permanent %d, reverted %d, refused %d",
		c.Enrolled, c.Devices, tally(c.Phase), tally(c.Version), c.Stages, c.Trials, c.Permanent, c.Reverted, c.Refused)
}

func tally(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/config"
	"slipstream/agent/control"
)

// cli is one run of the command: what was asked for on the command line, and
// where its answers go.
type cli struct {
	in         io.Reader // asked by reset and watch alone
	out, err   io.Writer
	term       terminal // of err, where progress goes
	style      style    // of out
	configFile string
	configSet  bool
	socketPath string
	json       bool
}

// exitCode ends the command with this code, everything having been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run is the whole command but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{in: os.Stdin, out: stdout, err: stderr, term: terminalOf(stderr), style: styleOf(stdout)}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return control.ExitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	c.complain(err)
	return control.ExitError
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "slipstream",
		Short: "Update this camera while it works",
		Long: `Slipstream updates a camera while it works: a new version is staged beside the
running one, takes over its streams for a trial, and is permanent only after its
greenlight. Anything else, silence included, ends on the version before.`,
		Example: `  slipstream status
  slipstream inspect cam-2.0.slip
  slipstream install cam-2.0.slip`,
		Args:              knownVerb,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.prepare(cmd) },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.configFile, "config", cmp.Or(os.Getenv(configEnv), config.File), "the device's configuration `FILE`; $"+configEnv+" names another default")
	flags.StringVar(&c.socketPath, "socket", "", "the agent's `SOCKET`, in place of the configuration's")
	flags.BoolVar(&c.json, "json", false, "print one JSON value for scripts")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see: %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		c.statusCommand(), c.inspectCommand(), c.stageCommand(), c.cancelCommand(), c.clearCommand(), c.activateCommand(), c.installCommand(),
		c.greenlightCommand(), c.revertCommand(), c.rehearseCommand(), c.resetCommand(), c.historyCommand(), c.explainCommand(), c.slotsCommand(), c.streamsCommand(), c.logsCommand(), c.watchCommand(), c.manCommand(), c.trustCommand(), c.enrollCommand(), c.leaveCommand(),
		c.forwarderCommand(), c.viewerCommand(), c.configCommand(), c.doctorCommand(), c.agentCommand(), c.provisionCommand(),
	)
	return root
}

// configEnv names the configuration where a flag would have to be repeated.
const configEnv = "SLIPSTREAM_CONFIG"

func (c *cli) prepare(cmd *cobra.Command) error {
	c.configSet = cmd.Flags().Changed("config") || os.Getenv(configEnv) != ""
	return nil
}

// knownVerb answers a word that is no verb.
func knownVerb(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(given[0]); len(near) > 0 {
		return fmt.Errorf("there is no verb %q; did you mean %s?", given[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no verb %q; see: %s --help", given[0], cmd.CommandPath())
}

// args wraps cobra's check of arguments so that a mistake names the way out.
func args(check cobra.PositionalArgs, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if check(cmd, given) != nil {
			return fmt.Errorf("%s takes %s; see: %s --help", cmd.CommandPath(), want, cmd.CommandPath())
		}
		return nil
	}
}

// config reads the configuration that the command line names.
func (c *cli) config() (config.Config, error) {
	cfg, err := config.Load(c.configFile)
	if errors.Is(err, os.ErrNotExist) {
		return cfg, c.noConfig()
	}
	return cfg, err
}

func (c *cli) noConfig() error {
	return fmt.Errorf("no configuration at %s: name it with --config FILE", c.configFile)
}

// socket is where the agent listens. Without any configuration it is where an
// agent with the defaults would, so that a technician needs no file to ask.
func (c *cli) socket() (string, error) {
	if c.socketPath != "" {
		return c.socketPath, nil
	}
	if _, err := os.Stat(c.configFile); errors.Is(err, os.ErrNotExist) && !c.configSet {
		return config.Default().Socket(), nil
	}
	cfg, err := c.config()
	if err != nil {
		return "", err
	}
	return cfg.Socket(), nil
}

// agent is the running agent, with its status as the proof that it runs.
func (c *cli) agent(ctx context.Context) (*control.Client, control.Status, error) {
	path, err := c.socket()
	if err != nil {
		return nil, control.Status{}, err
	}
	client := control.Dial(path)
	status, err := client.Status(ctx)
	if err != nil {
		return nil, status, c.nextStep(err)
	}
	return client, status, nil
}

// nextStep adds what to do to the two errors that a person can do something about.
func (c *cli) nextStep(err error) error {
	if _, ok := errors.AsType[*control.NotRunningError](err); ok {
		return fmt.Errorf("%w: start it with: slipstream agent --config %s", err, c.configFile)
	}
	if _, ok := errors.AsType[*control.DeniedError](err); ok {
		return fmt.Errorf("%w: run this as root or as a member of the socket's group", err)
	}
	return err
}

// complain says an error, in the one way or the other.
func (c *cli) complain(err error) {
	if c.json {
		_ = c.printJSON(control.Result{Exit: control.ExitError, Message: err.Error()}) // the exit code says it too
		return
	}
	for line := range strings.Lines(err.Error()) { // several problems come one a line
		c.say(c.err, strings.TrimSpace(line))
	}
}

// say prints one sentence; on a terminal it is broken between words.
func (c *cli) say(w io.Writer, sentence string) {
	width := 0
	if t := terminalOf(w); t.live {
		width = t.width
	}
	for _, line := range wrap(clean(sentence), width) {
		fmt.Fprintln(w, line)
	}
}

func (c *cli) printer() *printer { return &printer{style: c.style} }

// finish says how a request ended and turns it into the command's exit code.
func (c *cli) finish(r control.Result) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
		return code(r)
	}
	w := c.out
	if r.Exit == control.ExitError || r.Exit == control.ExitRefused {
		w = c.err
	}
	c.say(w, r.Message)
	return code(r)
}

func code(r control.Result) error {
	if r.Exit == control.ExitDone {
		return nil
	}
	return exitCode(r.Exit)
}

// next prints what a person would do now.
func (c *cli) next(step string) {
	if !c.json {
		c.say(c.out, "next: "+step)
	}
}

func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

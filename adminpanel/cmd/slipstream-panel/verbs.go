package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// verbFlags are those of everything that is asked of one device.
type verbFlags struct {
	wait    bool
	timeout time.Duration
	force   bool
}

const defaultTimeout = 30 * time.Minute

func (f *verbFlags) add(cmd *cobra.Command, force bool) {
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait for what becomes of it, and tell meanwhile")
	cmd.Flags().DurationVar(&f.timeout, "timeout", defaultTimeout, "how long --wait waits")
	if force {
		cmd.Flags().BoolVar(&f.force, "force", false, "also a version that this device has gone back from before")
	}
}

func (c *cli) upgradeCommand() *cobra.Command {
	return c.releaseVerb(client.Upgrade, "Bring a release to one device: stage it, try it, keep it or go back",
		`Bring a release to one device: stage it, begin its trial, and with --wait tell how that
ends. The device judges for itself: it goes back if the trial does not hold.`)
}

func (c *cli) stageCommand() *cobra.Command {
	return c.releaseVerb(client.Stage, "Write a release into a device's spare slot",
		`Have a device fetch a release, verify it and write it into its spare slot. Nothing is
started; "fleet activate" does that.`)
}

// releaseVerb is a verb that brings something to a device.
func (c *cli) releaseVerb(verb, short, long string) *cobra.Command {
	var f verbFlags
	cmd := &cobra.Command{
		Use: verb + " DEVICE RELEASE|FILE", Short: short,
		Long: long + `

RELEASE is a release's id, the beginning of one, or its version if only one has it; a FILE
is uploaded first, unless the panel has it.

` + exitHelp,
		Args: args(cobra.ExactArgs(2), "a DEVICE and a RELEASE or FILE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			r, err := c.release(ctx, panel, given[1])
			if err != nil {
				return err
			}
			return c.ask(ctx, panel, given[0], client.Wish{Verb: verb, Release: r.ID, Force: f.force}, f)
		}),
	}
	f.add(cmd, true)
	return cmd
}

func (c *cli) activateCommand() *cobra.Command {
	return c.plainVerb(client.Activate, "Begin the trial of the staged version", true)
}

func (c *cli) confirmCommand() *cobra.Command {
	return c.plainVerb(client.Confirm, "Greenlight the version on trial", false)
}

func (c *cli) revertCommand() *cobra.Command {
	return c.plainVerb(client.Revert, "Go back to the version before", false)
}

func (c *cli) cancelCommand() *cobra.Command {
	return c.plainVerb(client.Cancel, "Ask for nothing any more: a stage under way ends", false)
}

func (c *cli) plainVerb(verb, short string, force bool) *cobra.Command {
	var f verbFlags
	cmd := &cobra.Command{
		Use: verb + " DEVICE", Short: short, Long: short + ".\n\n" + exitHelp, Args: args(cobra.ExactArgs(1), "one DEVICE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			return c.ask(ctx, panel, given[0], client.Wish{Verb: verb, Force: f.force}, f)
		}),
	}
	f.add(cmd, force)
	return cmd
}

// ask asks a device, and waits for the end if that is wanted.
func (c *cli) ask(ctx context.Context, panel *client.Client, device string, w client.Wish, f verbFlags) error {
	asked, err := panel.Ask(ctx, device, w)
	if err != nil {
		return err
	}
	if !f.wait && !asked.Done {
		if c.json {
			return c.printJSON(asked)
		}
		fmt.Fprintf(c.out, "asked %s to %s\n", words.Clean(device), words.Clean(w.Verb+spaced(asked.Version)))
		c.next("slipstream-panel fleet show %s", device)
		return nil
	}
	if !asked.Done {
		if asked, err = c.await(ctx, panel, device, asked, f.timeout); err != nil {
			return err
		}
	}
	if c.json {
		if err := c.printJSON(asked); err != nil || asked.Exit == 0 {
			return err
		}
		return exitCode(asked.Exit)
	}
	return c.finish(result{Exit: asked.Exit, Code: asked.Code, Message: device + ": " + askedWords(asked)})
}

func spaced(text string) string {
	if text == "" {
		return ""
	}
	return " to " + text
}

// await tells what becomes of a wish until it has its end.
func (c *cli) await(ctx context.Context, panel *client.Client, device string, asked view.Asked, timeout time.Duration) (view.Asked, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p := c.progress()
	end, err := panel.Follow(bounded, device, asked.ID, func(d view.DeviceDetail) { p.show(deviceWords(d)) })
	p.end()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%s has not come to an end within %s and goes on by itself; see: slipstream-panel fleet show %s", device, timeout, device)
	}
	return end, err
}

// deviceWords is what a device does at this moment, in one line.
func deviceWords(d view.DeviceDetail) (step, detail string) {
	s := d.Status
	switch {
	case !d.Online:
		return "waiting for " + d.ID + " to call", ""
	case s != nil && s.Staging != nil:
		return "staging " + s.Staging.Version, percent(s.Staging.Done, s.Staging.Total)
	case s != nil && s.Trial != nil:
		if s.Trial.Greenlight == "operator" && !s.Trial.Latched {
			return "trying " + s.Trial.Version + "; it waits for: slipstream-panel fleet confirm " + d.ID, "reverts in " + words.Countdown(s.Trial.RemainingMS-d.StatusAgeMS)
		}
		return "trying " + s.Trial.Version, "reverts in " + words.Countdown(s.Trial.RemainingMS-d.StatusAgeMS)
	case d.Asked != nil && d.Asked.Message != "":
		return d.Asked.Message, ""
	}
	return "", ""
}

func percent(done, total int64) string {
	if total <= 0 {
		return ""
	}
	return fmt.Sprintf("%3d%%  of %s", min(max(done, 0), total)*100/total, words.Size(total))
}

// progress tells how something goes: on a terminal in one line that is written anew,
// elsewhere in a plain line for each step.
type progress struct {
	to   *os.File // a terminal; else nil
	c    *cli
	last string
}

func (c *cli) progress() *progress {
	p := &progress{c: c}
	if f, ok := c.err.(*os.File); ok && isTerminal(f) && os.Getenv("TERM") != "dumb" {
		p.to = f
	}
	return p
}

const lineWidth = 79 // fits where a terminal does not say how wide it is

func (p *progress) show(step, detail string) {
	if p.c.json || step == "" {
		return
	}
	if p.to != nil {
		fmt.Fprintf(p.to, "\r\x1b[K%s", words.Fit(words.Clean(step+"  "+detail), lineWidth, "~"))
		p.last = step
		return
	}
	if step != p.last {
		p.last = step
		fmt.Fprintln(p.c.err, words.Clean(step))
	}
}

// end leaves a clean line for what is printed next.
func (p *progress) end() {
	if p.to != nil && p.last != "" {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
)

// inspection is what this device would say to a package. Its Result has the
// shape of a stage's answer.
type inspection struct {
	control.Result
	Digest   string           `json:"digest,omitempty"`
	Signer   string           `json:"signer,omitempty"`
	Manifest *verify.Manifest `json:"manifest,omitempty"` // only if its signature is right
}

func (c *cli) inspectCommand() *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what this device would say to a package",
		Long: `Judge a package by this device's trusted keys, product, hardware and installed
release, without the agent and without changing anything. Only the agent knows
whether this version was reverted before.

Without --full the images are not read: their bytes are checked when they are
staged.

Exit status: 0 accepted, 1 error, 2 permanent already, 3 refused.`,
		Args: args(cobra.ExactArgs(1), "one package file"),
		RunE: func(cmd *cobra.Command, given []string) error {
			found, err := c.inspect(cmd.Context(), given[0], full)
			if err != nil {
				return err
			}
			return c.showInspection(found)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "also read and check every byte of the images")
	return cmd
}

func (c *cli) inspect(ctx context.Context, path string, full bool) (inspection, error) {
	cfg, err := c.config()
	if err != nil {
		return inspection{}, err
	}
	trust, device, err := agent.Trust(cfg)
	if err == nil {
		err = installedFloors(cfg, &device)
	}
	if err != nil {
		return inspection{}, err
	}
	if err := packageFile(path); err != nil {
		return inspection{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return inspection{}, fmt.Errorf("read the package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return inspection{}, fmt.Errorf("read the package: %w", err)
	}
	return examine(ctx, f, info.Size(), trust, device, full)
}

// examine asks two questions: is the package right in itself, and would this
// device take it. The first one's answer is worth showing when the second is no.
func examine(ctx context.Context, f io.ReaderAt, size int64, trust *verify.Trust, device verify.Device, full bool) (inspection, error) {
	var found inspection
	p, err := verify.Inspect(f, size, trust)
	if err == nil {
		found = inspection{Digest: p.Digest, Signer: p.Signer, Manifest: &p.Manifest}
		p, err = verify.Open(f, size, trust, device)
	}
	if err == nil {
		err = runnable(p)
	}
	if err == nil && full {
		err = p.CheckAll(ctx)
	}
	if err == nil {
		found.Result = accepted(p, device)
		return found, nil
	}
	if verify.Code(err) == "" {
		return inspection{}, fmt.Errorf("read the package: %w", err)
	}
	found.Result = control.Result{Exit: control.ExitRefused, Code: verify.Code(err), Message: err.Error()}
	return found, nil
}

func accepted(p *verify.Package, device verify.Device) control.Result {
	if p.Digest == device.FloorDigest {
		return control.Result{Exit: control.ExitNothing, Message: fmt.Sprintf("version %s is permanent already", p.Manifest.Version)}
	}
	return control.Result{Exit: control.ExitDone, Message: "accepted: this device would stage it"}
}

// installedFloors adds what only the agent's record says: the installed release is
// the floor for others. A device that never ran an agent has none.
func installedFloors(cfg config.Config, device *verify.Device) error {
	f, err := slots.OpenRecord(cfg.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the installed release: %w", err)
	}
	defer f.Close()
	record, err := f.Load()
	if errors.Is(err, slots.ErrNoRecord) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the installed release: %w", err)
	}
	live := record.Live[record.System]
	device.FloorCounter, device.FloorDigest = max(device.FloorCounter, live.Counter), live.Digest
	return nil
}

// runnable refuses what the agent would refuse of a right package.
func runnable(p *verify.Package) error {
	if p.Manifest.App != nil {
		return nil
	}
	for _, class := range []string{verify.ClassSystem, verify.ClassRuntime} {
		if _, ok := p.Image(class); ok {
			return nil
		}
	}
	return &verify.Error{Code: agent.CodeNoImage, Message: "the package has nothing for any slot"}
}

func (c *cli) showInspection(found inspection) error {
	if c.json {
		if err := c.printJSON(found); err != nil {
			return err
		}
		return code(found.Result)
	}
	if m := found.Manifest; m != nil {
		p := c.printer()
		p.manifest(*m, found)
		if _, err := io.WriteString(c.out, p.b.String()); err != nil {
			return err
		}
	}
	if found.Exit == control.ExitRefused {
		found.Message = fmt.Sprintf("refused (%s): %s", found.Code, found.Message)
	}
	return c.finish(found.Result)
}

func (p *printer) manifest(m verify.Manifest, found inspection) {
	p.set(p.bold, "%s %s", clean(m.Product), clean(m.Version))
	p.fact("release", fmt.Sprintf("%d, issued %s", m.ReleaseCounter, m.IssuedAt.UTC().Format(time.DateOnly)))
	p.fact("hardware", clean(strings.Join(m.Hardware, ", ")))
	p.fact("signer", clean(found.Signer))
	p.fact("digest", clean(found.Digest))
	for _, image := range m.Images {
		p.fact("image", fmt.Sprintf("%s for the %s slot, %s", clean(image.Name), clean(image.Class), size(image.Size)))
	}
	if m.App != nil {
		p.app(*m.App)
	}
	if m.Notes != "" {
		p.fact("notes", clean(m.Notes))
	}
}

func (p *printer) app(a verify.App) {
	p.fact("runs", clean(strings.Join(a.Exec, " ")))
	for _, s := range a.Streams {
		p.fact("stream", streamWords(s))
		for _, i := range s.Invariants {
			p.fact("invariant", clean(fmt.Sprintf("%s.%s  %s", s.Name, i.Name, i)))
		}
	}
	greenlit := map[string]string{"operator": "an operator", "auto": "itself after the soak"}[a.Greenlight]
	p.fact("trial", fmt.Sprintf("at most %s, soak %s, greenlit by %s",
		span(millis(a.DeadlineMS)), span(millis(a.SoakMS)), cmp.Or(greenlit, "its application")))
	if words := overlapWords[a.Overlap]; words != "" {
		p.fact("overlap", words)
	}
}

// overlapWords say what becomes of the version before; nothing is said of what does
// not touch it.
var overlapWords = map[string]string{
	verify.OverlapFrozen: "frozen: the version before is frozen during the trial",
	verify.OverlapNone:   "none: the version before is stopped first; viewers wait meanwhile",
}

func streamWords(s verify.Stream) string {
	words := clean(s.Name) + "  " + clean(s.Codec)
	if !s.Sound() {
		words += fmt.Sprintf(" %dx%d", s.Width, s.Height)
	}
	if s.Audio != "" {
		words += ", with the sound of " + clean(s.Audio)
	}
	if s.Events {
		words += ", frames on events"
	}
	return words
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

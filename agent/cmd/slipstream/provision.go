package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
)

type provisioning struct {
	root, trust string
	noCopy      bool
	system      string
	partitions  []string
	both        bool
}

func (c *cli) provisionCommand() *cobra.Command {
	var p provisioning
	cmd := &cobra.Command{
		Use:   "provision FILE",
		Short: "Put the factory's version into the image of a device",
		Long: `Make a package the permanent version of a device that has none: where the image of a
device is made, also for another kind of machine. No agent is needed, and none may run.

With --root the configuration is that of the image, and so are the paths in it; it need
not name the device. The package is kept there too, where the configuration has the
factory's, for slipstream reset. Without --root it is this very device.

The package is judged as the device would judge it. The state directory must have no
version yet.

A device with system slots comes with a system in slot a. With --system it is known which
one that is, so that packages can require it before the first update of the system. It is
put there by whoever makes the image, or, with --partitions, here: into the files or
partitions that become the slots a and b, into a alone or with --both into either. What
the boot loader starts first must be slot a.

Exit status: 0 done, 1 error, 2 permanent already, 3 refused.`,
		Example: `  slipstream provision --root image --trust release.pub cam-1.0.slip
  slipstream provision --root image --system os-1.0.slip --partitions a.img,b.img cam-1.0.slip`,
		Args: args(cobra.ExactArgs(1), "one package file"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.provision(cmd.Context(), p, given[0])
		},
	}
	cmd.Flags().StringVar(&p.root, "root", "", "the `DIRECTORY` that becomes the root of the device")
	cmd.Flags().StringVar(&p.trust, "trust", "", "copy this `FILE` (the vendor's root, or release keys) to where the configuration has it, first")
	cmd.Flags().StringVar(&p.system, "system", "", "the package `FILE` of the system that the device comes with")
	cmd.Flags().StringSliceVar(&p.partitions, "partitions", nil, "write the system: the files or partitions `A,B` that become the system slots")
	cmd.Flags().BoolVar(&p.both, "both", false, "write it into slot b, too")
	cmd.Flags().BoolVar(&p.noCopy, "no-copy", false, "do not keep the package in the image")
	return cmd
}

func (c *cli) provision(ctx context.Context, p provisioning, path string) error {
	cfg, err := p.config(c)
	if err != nil {
		return err
	}
	partitions, err := p.systems(cfg)
	if err != nil {
		return err
	}
	if p.trust != "" {
		if err := copyFile(cfg.Trust, p.trust); err != nil {
			return fmt.Errorf("copy the trusted keys: %w", err)
		}
	}
	if err := packageFile(path); err != nil {
		return err
	}
	if p.system != "" {
		if err := packageFile(p.system); err != nil {
			return err
		}
	}
	what := agent.Provisioned{Package: path, System: p.system, Partitions: partitions, Both: p.both}
	r := agent.Provision(ctx, cfg, what, agentLog(c.err, false))
	if (r.Exit == control.ExitDone || r.Exit == control.ExitNothing) && cfg.Factory != "" && p.root != "" && !p.noCopy {
		if err := copyFile(cfg.Factory, path); err != nil {
			return fmt.Errorf("keep the package in the image: %w", err)
		}
	}
	return c.finish(r)
}

// systems are the partitions to be written, if what was asked for makes sense.
func (p provisioning) systems(cfg config.Config) (map[string]string, error) {
	switch {
	case p.system == "" && (len(p.partitions) > 0 || p.both):
		return nil, errors.New("there is no system to be written: name its package with --system")
	case p.system != "" && !cfg.System.Is():
		return nil, errors.New("the configuration has no system slots: name their partitions there ([system] a and b), or leave --system out")
	case p.both && len(p.partitions) == 0:
		return nil, errors.New("--both is about what is written: name what becomes the slots with --partitions A,B")
	case len(p.partitions) == 0:
		return nil, nil
	case len(p.partitions) != 2:
		return nil, errors.New("there are two system slots: --partitions A,B names what becomes a and b")
	case p.root == "":
		return nil, errors.New("this device runs one of its systems, which must not be written: stage the package (slipstream stage), or make an image (--root)")
	}
	return map[string]string{"a": p.partitions[0], "b": p.partitions[1]}, nil
}

// config is the image's, with paths as this machine has them.
func (p provisioning) config(c *cli) (config.Config, error) {
	if p.root == "" {
		return c.config()
	}
	if !c.configSet {
		c.configFile = filepath.Join(p.root, config.File)
	}
	cfg, err := config.LoadImage(c.configFile)
	if errors.Is(err, os.ErrNotExist) {
		return cfg, c.noConfig()
	}
	for _, path := range []*string{&cfg.State, &cfg.Trust, &cfg.Factory} {
		if *path != "" {
			*path = filepath.Join(p.root, *path)
		}
	}
	return cfg, err
}

// copyFile replaces a file by a copy, whole or not at all.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

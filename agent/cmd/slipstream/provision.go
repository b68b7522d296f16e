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

Exit status: 0 done, 1 error, 2 permanent already, 3 refused.`,
		Example: `  slipstream provision --root image --trust release.pub cam-1.0.slip`,
		Args:    args(cobra.ExactArgs(1), "one package file"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.provision(cmd.Context(), p, given[0])
		},
	}
	cmd.Flags().StringVar(&p.root, "root", "", "the `DIRECTORY` that becomes the root of the device")
	cmd.Flags().StringVar(&p.trust, "trust", "", "copy this `FILE` (the vendor's root, or release keys) to where the configuration has it, first")
	cmd.Flags().BoolVar(&p.noCopy, "no-copy", false, "do not keep the package in the image")
	return cmd
}

func (c *cli) provision(ctx context.Context, p provisioning, path string) error {
	cfg, err := p.config(c)
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
	r := agent.Provision(ctx, cfg, path, agentLog(c.err, false))
	if (r.Exit == control.ExitDone || r.Exit == control.ExitNothing) && cfg.Factory != "" && p.root != "" && !p.noCopy {
		if err := copyFile(cfg.Factory, path); err != nil {
			return fmt.Errorf("keep the package in the image: %w", err)
		}
	}
	return c.finish(r)
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

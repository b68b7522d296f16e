package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

const leftStage = "the package is not staged unless slipstream status says so; what was written is kept for the next time; the running version is untouched"

func (c *cli) stageCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "stage FILE|URL",
		Short: "Write a package into the spare slot",
		Long: `Verify a package and write it into the spare slot. Nothing is started; the
running version is not touched. Ctrl-C ends it, as "slipstream cancel" does from
elsewhere.

What is staged already is believed to be there; with --force it is read, and written
again if it is damaged.

Exit status: 0 staged, 1 error, 2 staged or permanent already, 3 refused.`,
		Args: args(cobra.ExactArgs(1), "one package, a file or a URL"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.stage(cmd.Context(), given[0], force)
		},
	}
	forceFlag(cmd, &force)
	return cmd
}

func forceFlag(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "also a version that was reverted before; and read what is staged already")
}

func (c *cli) stage(ctx context.Context, from string, force bool) error {
	request, err := packageAt(from, force)
	if err != nil {
		return err
	}
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	r := c.watched(ctx, agent, status, leftStage, func(ctx context.Context) control.Result {
		return agent.Stage(ctx, request)
	})
	err = c.finish(r)
	if r.Staged != nil && !c.json {
		c.say(c.out, cost(*r.Staged))
	}
	if r.Exit == control.ExitDone || r.Code == control.CodeAlreadyStaged {
		c.next("slipstream activate")
	}
	return err
}

// packageAt tells a URL from a file. The agent is another process: it gets an
// absolute path, and one that leads nowhere is said here, in the words of whoever
// typed it.
func packageAt(from string, force bool) (control.StageRequest, error) {
	if strings.Contains(from, "://") {
		u, err := url.Parse(from)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return control.StageRequest{}, fmt.Errorf("%q is not an http or https address of a package", from)
		}
		return control.StageRequest{URL: from, Force: force}, nil
	}
	if err := packageFile(from); err != nil {
		return control.StageRequest{}, err
	}
	path, err := filepath.Abs(from)
	if err != nil {
		return control.StageRequest{}, fmt.Errorf("find %s: %w", from, err)
	}
	return control.StageRequest{Path: path, Force: force}, nil
}

func packageFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no file %s", path)
	}
	if err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}

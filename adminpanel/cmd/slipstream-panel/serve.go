package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
)

// where is how a command finds the panel's configuration.
type where struct {
	file string
	data string
}

func (w *where) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.file, "config", "", "file of the configuration; without it the environment's SLIPSTREAM_PANEL_… and defaults count")
	cmd.Flags().StringVar(&w.data, "data", "", "directory of the panel's data, in place of what the configuration says")
}

// load reads it. What flags say is like variables of the environment, and has the last word.
func (w *where) load(flags ...string) (config.Config, error) {
	if w.data != "" {
		data, err := filepath.Abs(w.data)
		if err != nil {
			return config.Config{}, err
		}
		flags = append(flags, "DATA="+data)
	}
	environ := os.Environ()
	for _, flag := range flags {
		environ = append(environ, config.EnvPrefix+flag)
	}
	return config.Load(w.file, environ)
}

func serveCommand() *cobra.Command {
	var w where
	var listen, devices, trust, fleet string
	var names []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the panel: devices link to it, people see and update them",
		Long: "Serve the panel until it is stopped. Everything about it is in one file of configuration, in\n" +
			"SLIPSTREAM_PANEL_… of the environment, or left at its default; the flags here are for trying\n" +
			"it out. At its first start it prints a token by which you make the first account.\n\n" +
			"A panel that is to be replaced without refusing anybody gets its sockets from systemd, by the\n" +
			"names people, devices and metrics.",
		Example: "  slipstream-panel serve --data panel\n  slipstream-panel serve --config /etc/slipstream-panel/panel.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var flags []string
			for _, one := range []struct{ key, value string }{
				{"LISTEN", listen}, {"DEVICES", devices}, {"NAMES", strings.Join(names, ",")}, {"TRUST", absolute(trust)}, {"FLEET", absolute(fleet)},
			} {
				if one.value != "" {
					flags = append(flags, one.key+"="+one.value)
				}
			}
			cfg, err := w.load(flags...)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout())
		},
	}
	w.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", "", "address for people, such as 127.0.0.1:8080")
	cmd.Flags().StringVar(&devices, "devices", "", "address at which devices call, by TLS, such as :8443")
	cmd.Flags().StringSliceVar(&names, "name", nil, "name or address by which devices reach the panel; default: this machine's")
	cmd.Flags().StringVar(&trust, "trust", "", "file of public keys or a root: releases they did not sign are refused")
	cmd.Flags().StringVar(&fleet, "fleet", "", "file of the fleet's root: devices that enrol belong to that fleet")
	return cmd
}

// absolute is the path that the panel's configuration wants; "" stays.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil && path != "" {
		return full
	}
	return path
}

func serve(ctx context.Context, cfg config.Config, out io.Writer) (err error) {
	adminpanel.BeThrifty()
	log := logger(cfg.Log)
	at, err := adminpanel.Listen(cfg)
	if err != nil {
		return err
	}
	panel, err := adminpanel.New(ctx, cfg, at, log)
	if err != nil {
		return errors.Join(err, at.Close())
	}
	defer func() { err = errors.Join(err, panel.Close()) }()
	token, err := panel.SetupToken(ctx)
	if err != nil {
		return err
	}
	if token != "" {
		fmt.Fprintf(out, "This panel has no account yet. Make the first one at %s/setup?token=%s\n", panel.URL(), token)
	}
	log.Info("panel is up", "url", panel.URL(), "devices", at.Devices.Addr().String())
	return panel.Serve(ctx)
}

func logger(cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // the configuration was judged before
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

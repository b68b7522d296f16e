// Command slipstream-panel is the fleet server: devices link to it, and people
// see and update them on its page.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"slipstream/adminpanel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-panel:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var listen string
	var cfg adminpanel.Config
	root := &cobra.Command{
		Use:           "slipstream-panel",
		Short:         "Serve the panel: devices link to it, people see and update them",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), listen, cfg)
		},
	}
	root.PersistentFlags().StringVar(&cfg.Data, "data", "", "directory of the panel's data")
	root.MarkPersistentFlagRequired("data")
	root.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "loopback address to serve at")
	root.Flags().StringVar(&cfg.Trust, "trust", "", "file of public keys: releases they did not sign are refused")
	root.AddCommand(token(&cfg.Data))
	return root
}

func serve(ctx context.Context, listen string, cfg adminpanel.Config) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	l, err := adminpanel.Listen(listen)
	if err != nil {
		return err
	}
	panel, err := adminpanel.New(cfg, log)
	if err != nil {
		l.Close()
		return err
	}
	defer panel.Close()
	log.Info("panel is up", "url", "http://"+l.Addr().String())
	return panel.Serve(ctx, l)
}

// Command slipstream-panel is the fleet server: devices link to it, and people
// see and update them on its page.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/shelf/panel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, command(), os.Stderr)
	stop()
	os.Exit(code)
}

// run says errors as plain sentences, and returns the exit code.
func run(ctx context.Context, cmd *cobra.Command, stderr io.Writer) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	fmt.Fprintln(stderr, err)
	return 1
}

func command() *cobra.Command {
	var listen, devices string
	var cfg adminpanel.Config
	root := &cobra.Command{
		Use:           "slipstream-panel",
		Short:         "Serve the panel: devices link to it, people see and update them",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), listen, devices, cfg)
		},
	}
	root.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "loopback address at which people find the page")
	root.Flags().StringVar(&devices, "link", "127.0.0.1:8443", "address at which devices call, by TLS")
	root.Flags().StringSliceVar(&cfg.Names, "name", nil, "name or address by which devices reach the panel; default: this machine's")
	root.Flags().StringVar(&cfg.Trust, "trust", "", "file of public keys: releases they did not sign are refused")
	root.Flags().StringVar(&cfg.Fleet, "fleet", "", "file of the fleet's root: devices that enrol belong to that fleet")
	root.Flags().StringVar(&cfg.Live.Media, "media", "", "UDP address by which browsers watch through the panel, such as :8190; \"\": they cannot")
	root.Flags().StringVar(&cfg.Live.Legs, "legs", "", "UDP address to which devices bring pictures for them; \"\": they bring them on their links")
	root.Flags().StringVar(&cfg.Live.Bin, "bin", filepath.Dir(executable()), "directory of slipstream-forward and slipstream-gateway, with which it does that")
	root.Flags().Func("advertise", "IP told to browsers in place of this machine's own; may be repeated", func(text string) error {
		addr, err := netip.ParseAddr(text)
		cfg.Live.Advertise = append(cfg.Live.Advertise, addr)
		return err
	})
	old := []*cobra.Command{tokenVerbs(token(&cfg.Data)), revoke(&cfg.Data), authority(&cfg.Data)}
	for _, cmd := range append(old, root) {
		if cmd.Use == "ca" {
			cmd.PersistentFlags().StringVar(&cfg.Data, "data", "", "directory of the panel's data")
			cmd.MarkPersistentFlagRequired("data")
			continue
		}
		cmd.Flags().StringVar(&cfg.Data, "data", "", "directory of the panel's data")
		cmd.MarkFlagRequired("data")
	}
	root.AddCommand(old...)
	root.AddCommand(serveCommand(), simulateCommand(), fleetCommand(), userCommand(), backupCommand(), restoreCommand(), verifyCommand(), setupTokenCommand())
	return root
}

// executable is where this program is; "" if nobody knows.
func executable() string {
	name, err := os.Executable()
	if err != nil {
		return ""
	}
	return name
}

func serve(ctx context.Context, listen, link string, cfg adminpanel.Config) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	people, err := adminpanel.Listen(listen)
	if err != nil {
		return err
	}
	devices, err := net.Listen("tcp", link)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for devices: %w", err), people.Close())
	}
	if len(cfg.Names) == 0 {
		cfg.Names = adminpanel.DefaultNames(devices.Addr())
	}
	panel, err := adminpanel.New(cfg, log)
	if err != nil {
		return errors.Join(err, people.Close(), devices.Close())
	}
	defer panel.Close()
	log.Info("panel is up", "url", "http://"+people.Addr().String(), "devices", "https://"+devices.Addr().String(), "names", cfg.Names)
	return panel.Serve(ctx, people, devices)
}

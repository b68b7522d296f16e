// Command slipstream-forward is the stable process between apps and viewers.
// See package stream/core.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"slipstream/stream/core"
)

func main() {
	run := flag.String("run", "/run/slipstream", "directory of the sockets")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := forward(*run, log); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-forward:", err)
		os.Exit(1)
	}
}

func forward(run string, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	c, err := core.New(core.Config{Run: run}, log)
	if err != nil {
		return err
	}
	if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

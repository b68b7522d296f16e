// Command slipstream-camera is the sample camera application. It is packaged
// with a camera.json and clips and started by the agent; see package camera.
package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"slipstream/testrig/camera"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cam, err := camera.New(camera.Environ(), os.Stdout, log)
	if err == nil {
		err = cam.Run(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Error("camera ended", "err", err)
		os.Exit(1)
	}
}

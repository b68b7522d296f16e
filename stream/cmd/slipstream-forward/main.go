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
	"runtime"
	"strings"
	"syscall"

	"slipstream/stream/core"
)

// minProcs lets Go code run on the core thread and on another one at a time, also
// on a device with one processor.
const minProcs = 2

func main() {
	run := flag.String("run", "/run/slipstream", "directory of the sockets")
	ignore := flag.String("ignore", "", "for tests and benchmarks: ways of seeing a death that are switched off (futex, pidfd, eof, stall), with commas between")
	noFIFO := flag.Bool("no-fifo", false, "for tests and benchmarks: do not ask for FIFO priority")
	flag.Parse()
	// A thread that was woken by a publisher's death must not wait for a turn.
	runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0)))
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := forward(core.Config{Run: *run, Priority: !*noFIFO, Ignore: strings.Split(*ignore, ",")}, log); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-forward:", err)
		os.Exit(1)
	}
}

func forward(config core.Config, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	c, err := core.New(config, log)
	if err != nil {
		return err
	}
	if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

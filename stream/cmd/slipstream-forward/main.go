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
	var config core.Config
	flag.StringVar(&config.Run, "run", "/run/slipstream", "`directory` of the sockets")
	succeed := flag.Bool("succeed", false, "take over from the forwarder that runs there, with all its viewers")
	ignore := flag.String("ignore", "", "for tests and benchmarks: `ways` of seeing a death that are switched off (futex, pidfd, eof, stall), with commas between")
	flag.BoolVar(&config.NoGSO, "no-gso", false, "send datagrams one by one: for tests, benchmarks, and network drivers that get larger messages wrong")
	noFIFO := flag.Bool("no-fifo", false, "for tests and benchmarks: do not ask for FIFO priority")
	flag.Parse()
	config.Priority, config.Ignore, config.Notify = !*noFIFO, strings.Split(*ignore, ","), os.Getenv("NOTIFY_SOCKET")
	_ = core.CalmRuntime() // refused: it costs more CPU
	// A thread that was woken by a publisher's death must not wait for a turn.
	runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0)))
	if err := forward(config, *succeed, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-forward:", err)
		os.Exit(1)
	}
}

func forward(config core.Config, succeed bool, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	if config.Inherited, err = core.Inherited(); err != nil {
		return err
	}
	if succeed {
		for _, fd := range config.Inherited { // the running forwarder has better ones
			syscall.Close(fd)
		}
		if config.Predecessor, config.Inherited, err = core.Succeed(config.Run); err != nil {
			return err
		}
	}
	c, err := core.New(config, log)
	if err != nil {
		return err
	}
	switch err := c.Run(ctx); {
	case errors.Is(err, core.ErrSucceeded):
		log.Info("a successor has taken over")
		return nil
	case errors.Is(err, context.Canceled):
		return nil
	default:
		return err
	}
}

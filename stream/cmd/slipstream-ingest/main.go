// Command slipstream-ingest is the RTSP server of one app's slot: what is
// published to it goes to the forwarder. It lives and dies with the slot.
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

	"slipstream/stream/ingest"
)

// secretVar is not an argument, because every user of the machine can read those.
const secretVar = "SLIPSTREAM_INGEST_SECRET"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-ingest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var cfg ingest.Config
	flags := flag.NewFlagSet("slipstream-ingest", flag.ExitOnError)
	flags.StringVar(&cfg.Publish, "publish", "", "the forwarder's publish `socket` for this app")
	flags.Func("stream", "declared stream `name`; may be repeated, the first is also known by the secret alone", func(name string) error {
		if name == "" {
			return errors.New("a stream needs a name")
		}
		cfg.Streams = append(cfg.Streams, name)
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "slipstream-ingest: the first segment of every publisher's path comes from %s\n", secretVar)
		flags.PrintDefaults()
	}
	flags.Parse(args)
	cfg.Secret = os.Getenv(secretVar)
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ln, err := ingest.Inherited()
	if err != nil {
		return err
	}
	s, err := ingest.New(ln, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

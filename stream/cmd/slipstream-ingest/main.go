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
	"strings"
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

// readStream reads NAME or NAME,audio=NAME.
func readStream(text string) (s ingest.Stream, err error) {
	name, option, more := strings.Cut(text, ",")
	audio, isAudio := strings.CutPrefix(option, "audio=")
	if name == "" || more && (!isAudio || audio == "" || strings.Contains(audio, ",")) {
		return s, errors.New("a stream is given as NAME or NAME,audio=NAME")
	}
	return ingest.Stream{Name: name, Audio: audio}, nil
}

func run(args []string) error {
	var cfg ingest.Config
	flags := flag.NewFlagSet("slipstream-ingest", flag.ExitOnError)
	flags.StringVar(&cfg.Publish, "publish", "", "the forwarder's publish `socket` for this app")
	flags.Func("stream", "declared stream `name[,audio=name]`, with the stream that takes the sound announced beside it; may be repeated, the first is also known by the secret alone", func(text string) error {
		s, err := readStream(text)
		cfg.Streams = append(cfg.Streams, s)
		return err
	})
	flags.StringVar(&cfg.Cgroup, "cgroup", "", "`directory` of the app's cgroup, outside of which nobody may publish")
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

// Command slipstream-gateway lets viewers watch by WHEP and RTSP what the
// forwarder sends. It may be replaced at any time.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"slipstream/stream/gateway"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-gateway:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var cfg gateway.Config
	flags := flag.NewFlagSet("slipstream-gateway", flag.ExitOnError)
	flags.StringVar(&cfg.Run, "run", "", "run `directory`, in which the forwarder listens")
	flags.StringVar(&cfg.HTTP, "http", "", "`address` of WHEP, such as 127.0.0.1:8889")
	flags.StringVar(&cfg.RTSP, "rtsp", "", "`address` of RTSP, such as 127.0.0.1:8554")
	flags.StringVar(&cfg.UDP, "udp", "", "`address` of all WHEP media, such as :8189")
	flags.Func("advertise", "`IP` told to viewers in place of the UDP address's own; may be repeated", func(text string) error {
		addr, err := netip.ParseAddr(text)
		cfg.Advertise = append(cfg.Advertise, addr)
		return err
	})
	flags.Parse(args)
	for name, value := range map[string]string{"run": cfg.Run, "http": cfg.HTTP, "rtsp": cfg.RTSP, "udp": cfg.UDP} {
		if value == "" {
			return fmt.Errorf("--%s is missing", name)
		}
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	g, err := gateway.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

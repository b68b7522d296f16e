// Command slipstream-gateway lets viewers watch by WHEP and RTSP what the
// forwarder sends. It may be replaced at any time: viewers play on, but for those
// over RTSPS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"slipstream/stream/gateway"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream-gateway:", err)
		os.Exit(1)
	}
}

// secretEnv holds a secret with which the agent's own link watches. Arguments can
// be read by every user of the device.
const secretEnv = "SLIPSTREAM_GATEWAY_SECRET"

// garbage is how much of it there may be, in percent of what is in use. Handshakes make
// it, packets do not: memory is worth more here than collecting it less often.
const garbage = 25

func run(args []string) error {
	var cfg gateway.Config
	flags := flag.NewFlagSet("slipstream-gateway", flag.ExitOnError)
	flags.StringVar(&cfg.Run, "run", "", "run `directory`, in which the forwarder listens")
	flags.StringVar(&cfg.HTTP, "http", "", "`address` of WHEP, such as 127.0.0.1:8889; without it there is no WHEP")
	flags.StringVar(&cfg.RTSP, "rtsp", "", "`address` of RTSP, such as 127.0.0.1:8554; without it there is no RTSP")
	flags.StringVar(&cfg.RTSPS, "rtsps", "", "`address` of RTSP over TLS, such as 127.0.0.1:8322; without it there is none")
	flags.StringVar(&cfg.TLSCert, "tls-cert", "", "PEM `FILE` of the certificate of RTSPS; read again when it changes")
	flags.StringVar(&cfg.TLSKey, "tls-key", "", "PEM `FILE` of its key")
	flags.BoolVar(&cfg.Public, "public", false, "let everybody watch")
	flags.StringVar(&cfg.Viewers, "viewers", "", "`FILE` of those who may watch, NAME:SECRET a line; read again when it changes")
	flags.StringVar(&cfg.UDP, "udp", "", "`address` of all WHEP media, such as :8189")
	flags.Func("advertise", "`IP` told to viewers in place of the UDP address's own; may be repeated", func(text string) error {
		addr, err := netip.ParseAddr(text)
		cfg.Advertise = append(cfg.Advertise, addr)
		return err
	})
	flags.StringVar(&cfg.Metrics, "metrics", "", "`address` of metrics for Prometheus, such as 127.0.0.1:9189; without it there are none")
	flags.Func("origin", "`ORIGIN` whose web pages may play, such as https://cameras.example.com, or * for all; may be repeated", func(text string) error {
		cfg.Origins = append(cfg.Origins, text)
		return nil
	})
	flags.IntVar(&cfg.MaxViewers, "max-viewers", gateway.DefaultMaxViewers, "how many may watch at once")
	flags.IntVar(&cfg.MaxPerAddress, "max-per-address", gateway.DefaultMaxPerAddress, "how many of them from one address")
	flags.Parse(args)
	switch {
	case cfg.Run == "":
		return errors.New("--run is missing: the directory in which the forwarder listens")
	case cfg.HTTP == "" && cfg.RTSP == "" && cfg.RTSPS == "":
		return errors.New("nothing to serve: give --http and --udp for WHEP, --rtsp, or --rtsps")
	case cfg.HTTP != "" && cfg.UDP == "":
		return errors.New("--udp is missing: WHEP needs an address for its media, beside --http")
	case cfg.RTSPS != "" && (cfg.TLSCert == "" || cfg.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key are missing: RTSPS needs a certificate and its key")
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	cfg.Secret = os.Getenv(secretEnv)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	debug.SetGCPercent(garbage)
	g, err := gateway.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

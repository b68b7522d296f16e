package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/link"
	"slipstream/stream/whep"
)

// stopAllTimeout bounds the end of everything that the agent has started.
const stopAllTimeout = 30 * time.Second

func (c *cli) agentCommand() *cobra.Command {
	var stopAll, verbose bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this device",
		Long: `Run the agent: it supervises the camera application, the forwarder and the
gateway, and updates the application when it is asked to.

SIGTERM and SIGINT end the agent alone. What it has started goes on, and the next
agent takes it over: upgrading the agent never touches a viewer.

When another program is installed in its place, the agent becomes that program, in the
same process, as soon as no update is under way; also on SIGUSR2, and on SIGHUP if it
has no terminal. A program that cannot read the configuration is not become.

What has started the agent is told how it stands, and fed its watchdog, if it speaks
sd_notify(3) as systemd does.

Exit status: 0 ended by a signal, 1 error.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			if c.socketPath == "" {
				c.socketPath = cfg.Socket()
			}
			defer outliveLog()()
			log := agentLog(c.err, verbose)
			reapEnded()
			return c.runAgents(cmd.Context(), cfg, stopAll, log)
		},
	}
	cmd.AddCommand(c.renewCommand(), c.stopAllCommand(), makeRoomCommand())
	cmd.Flags().BoolVar(&stopAll, "stop-all-on-exit", false, "at the end also stop the apps, the forwarder and the gateway")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log details too")
	return cmd
}

// garbage is how much of it there may be, in percent of what is in use. The agent makes
// little, and all day long its memory is worth more than collecting it less often.
const garbage = 40

// runAgents runs an agent, and another one after it only if that was to become the
// installed program and could not.
func (c *cli) runAgents(ctx context.Context, cfg config.Config, stopAll bool, log *slog.Logger) error {
	debug.SetGCPercent(garbage)
	r, err := findRenewal(c.configFile, log)
	if err != nil {
		return err
	}
	defer r.close()
	o := findOverseer(log)
	defer o.close()
	for {
		again, err := runAgent(ctx, cfg, c.socketPath, stopAll, o, r, log)
		if !again {
			o.tell("STOPPING=1")
			return err
		}
		o.reloading()
		if r.start != "" { // whatever has started the agent starts that
			return r.become()
		}
		log.Error("the agent has not become the installed program and goes on as it is", "reason", r.become())
	}
}

// runAgent runs the agent and its two faces, the socket and the link to the
// panel, until ctx ends or, and then again is true, until it may become another
// program. Without the socket there would be two agents, so that ends it; the link
// ends nothing.
func runAgent(ctx context.Context, cfg config.Config, socket string, stopAll bool, o overseer, r *renewal, log *slog.Logger) (again bool, err error) {
	a, err := agent.New(cfg, log)
	if err != nil {
		return false, err
	}
	var telling sync.WaitGroup
	defer telling.Wait()
	run, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 3)
	const services = 3
	go func() { done <- a.Run(run) }()
	go func() { done <- control.NewServer(a, log).Serve(run, socket) }()
	go func() { done <- keepLink(run, cfg, a, log) }()
	telling.Go(func() {
		announce(run, a, cfg, socket, log)
		<-run.Done()
		if ctx.Err() != nil {
			log.Info(goodbye(stopAll))
		}
	})
	telling.Go(func() { o.oversee(run, a, socket) })
	renewed := make(chan bool, 1)
	telling.Go(func() {
		renewed <- r.wait(run, a)
		end()
	})
	var failed error
	for range services {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			failed = errors.Join(failed, err)
			end()
		}
	}
	end()
	if <-renewed && failed == nil && ctx.Err() == nil {
		return true, nil
	}
	if !stopAll {
		return false, failed
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopAllTimeout)
	defer cancel()
	return false, errors.Join(failed, a.StopAll(last))
}

// announce says once where the device can be found.
func announce(ctx context.Context, a *agent.Agent, cfg config.Config, socket string, log *slog.Logger) {
	select {
	case <-a.Up():
	case <-ctx.Done():
		return
	}
	where := []any{"device", cfg.Device, "socket", socket}
	if cfg.Gateway.RTSP != "" {
		where = append(where, "rtsp", "rtsp://"+cfg.Gateway.RTSP)
	}
	if cfg.Gateway.RTSPS != "" {
		where = append(where, "rtsps", "rtsps://"+cfg.Gateway.RTSPS)
	}
	if cfg.Gateway.HTTP != "" {
		where = append(where, "whep", "http://"+cfg.Gateway.HTTP+"/whep")
	}
	log.Info("agent is up", where...)
}

func goodbye(stopAll bool) string {
	if stopAll {
		return "the agent ends, and forwarder, gateway and apps with it"
	}
	return "the agent ends; forwarder, gateway and apps go on (--stop-all-on-exit ends them too)"
}

func agentLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// outliveLog keeps the agent alive when whoever reads its log goes away: Go ends
// a process that writes to a broken standard error. The signal is caught, not
// ignored, because children inherit only the latter.
func outliveLog() (undo func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	return func() { signal.Stop(broken) }
}

// keepLink keeps the device's link to its panel until ctx ends; it waits while there is
// none. The field technician's way in does not depend on it.
func keepLink(ctx context.Context, cfg config.Config, a *agent.Agent, log *slog.Logger) error {
	return link.Run(ctx, a.Identity(), a, whep.New(cfg.Gateway.HTTP, a.GatewaySecret()), log)
}

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
	"slipstream/stream/orders"
)

const stopAllGrace = 2 * time.Second

// StopAll ends Run and then everything that it has started: apps, gateway,
// forwarder. A trial under way is over, and reverted at the next start.
func (a *Agent) StopAll(ctx context.Context) error {
	a.mu.Lock()
	stop := a.stop
	a.mu.Unlock()
	if stop == nil {
		return nil // it has started nothing
	}
	stop()
	select {
	case <-a.ended:
	case <-ctx.Done():
		return fmt.Errorf("agent: stop everything: %w", ctx.Err())
	}
	return a.endAll(ctx)
}

// EndAll ends everything that an agent which has ended itself has left running. While
// one runs it is an error, and nothing is touched.
func EndAll(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := os.MkdirAll(cfg.Run, 0o755); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	lock, err := lockRun(cfg.Run)
	if err != nil {
		return fmt.Errorf("agent: stop everything: %w", err)
	}
	a := &Agent{cfg: cfg, log: log, lock: lock}
	defer a.close()
	// Only to remove their place: whoever asks is in a cgroup of somebody else's, perhaps.
	if groups, err := supervise.NewGroups(cfg.Cgroup, cfg.Run); err == nil {
		a.groups = groups
	}
	return a.endAll(ctx)
}

func (a *Agent) endAll(ctx context.Context) error {
	sup := supervise.New(a.cfg.Run, a.log)
	defer sup.Close()
	names := sup.Recorded() // apps are called a-1 and b-2, so they come before forward
	for _, name := range names {
		if p, ok := sup.Adopt(name); ok {
			g := a.findGroup(orders.SourceID(name), p.PID())
			if g != nil {
				_ = g.Thaw() // a frozen process hears nothing; if this fails it is killed
			}
			p.Stop(stopAllGrace)
			a.endGroup(g)
		}
	}
	a.letGroupsBe()
	return ctx.Err()
}

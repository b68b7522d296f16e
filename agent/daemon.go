package agent

import (
	"context"
	"log/slog"
	"time"

	"slipstream/agent/supervise"
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
	healthy    = 10 * time.Second // having run for so long, a daemon is restarted soon again
)

// daemon keeps one of Slipstream's own processes running: the forwarder or the
// gateway. It is adopted after the agent's restart and never stopped with it.
type daemon struct {
	spec supervise.Spec
	sup  *supervise.Supervisor
	log  *slog.Logger
	lost func(detail string) // told before a new one is started
	kill chan struct{}       // asks for a restart
}

// run returns when ctx ends, and leaves the process as it is. An adopted process
// is given, or nil.
func (d *daemon) run(ctx context.Context, p *supervise.Process) {
	pause := firstPause
	for ctx.Err() == nil {
		begun := time.Now()
		if p == nil {
			var err error
			if p, err = d.sup.Start(d.spec); err != nil {
				d.log.Error("daemon does not start", "name", d.spec.Name, "reason", err)
			}
		}
		if p != nil {
			if !d.watch(ctx, p) {
				return
			}
			detail := d.spec.Name + " " + p.Exit().String()
			d.log.Error("daemon ended", "name", d.spec.Name, "exit", p.Exit(), "log", p.LogTail(5))
			p = nil
			d.lost(detail)
		}
		if time.Since(begun) > healthy {
			pause = firstPause
		}
		wait(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// watch returns true when the process and all that it left is gone.
func (d *daemon) watch(ctx context.Context, p *supervise.Process) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-d.kill:
			p.Kill()
		case <-p.Done():
			p.Kill()
			return true
		}
	}
}

// restart ends the process, and so has it started anew.
func (d *daemon) restart() {
	select {
	case d.kill <- struct{}{}:
	default: // it is being killed already
	}
}

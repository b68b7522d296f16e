package agent

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"slipstream/agent/supervise"
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
	proven     = 2 * time.Second  // a daemon that ends sooner does not run, for people
	healthy    = 10 * time.Second // having run for so long, a daemon is restarted soon again
)

// daemon keeps one of Slipstream's own processes running: the forwarder or the
// gateway. It is adopted after the agent's restart and never stopped with it.
type daemon struct {
	spec supervise.Spec
	find func(name string) (path string, err error)
	sup  *supervise.Supervisor
	log  *slog.Logger
	lost func(detail string) // told before a new one is started
	down func(why string)    // told why it does not stay up; "" once it does
	kill chan struct{}       // asks for a restart
}

// run returns when ctx ends, and leaves the process as it is. An adopted process
// is given, or nil.
func (d *daemon) run(ctx context.Context, p *supervise.Process) {
	pause := firstPause
	for ctx.Err() == nil {
		begun := time.Now()
		if p == nil {
			p = d.start()
		}
		if p != nil {
			if !d.watch(ctx, p) {
				return
			}
			d.ended(p, time.Since(begun))
			p = nil
		}
		if time.Since(begun) > healthy {
			pause = firstPause
		}
		wait(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// start returns nil if the process cannot be started.
func (d *daemon) start() *supervise.Process {
	path, err := d.find(d.spec.Name)
	if err != nil {
		d.log.Error("daemon does not start", "name", d.spec.Name, "reason", err)
		d.down(err.Error())
		return nil
	}
	d.spec.Path = path
	p, err := d.sup.Start(d.spec)
	if err != nil {
		d.log.Error("daemon does not start", "name", d.spec.Name, "reason", err)
		d.down(daemonProblem(d.spec.Name, sentence(err)))
		return nil
	}
	return p
}

// watch returns true when the process and all that it left is gone.
func (d *daemon) watch(ctx context.Context, p *supervise.Process) bool {
	settled := time.NewTimer(proven)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-settled.C:
			d.down("")
		case <-d.kill:
			p.Kill()
		case <-p.Done():
			p.Kill()
			return true
		}
	}
}

// ended tells of an end. One crash is over when the next process runs; only
// what ends at once does not run.
func (d *daemon) ended(p *supervise.Process, lived time.Duration) {
	last := strings.TrimPrefix(lastLine(p), "slipstream-"+d.spec.Name+": ")
	last = strings.TrimPrefix(last, d.spec.Name+": ")
	d.log.Error("daemon ended", "name", d.spec.Name, "exit", p.Exit(), "log", last)
	if lived < proven {
		d.down(daemonProblem(d.spec.Name, cmp.Or(last, p.Exit().String())))
	}
	d.lost(d.spec.Name + " " + p.Exit().String())
}

// restart ends the process, and so has it started anew.
func (d *daemon) restart() {
	select {
	case d.kill <- struct{}{}:
	default: // it is being killed already
	}
}

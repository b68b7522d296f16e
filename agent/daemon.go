package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"slipstream/agent/supervise"
)

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
	proven     = 2 * time.Second  // a daemon that ends sooner does not run, for people
	healthy    = 10 * time.Second // having run for so long, a daemon is restarted soon again
	// freeEvery is how often a dead daemon is started anew at once: viewers wait.
	freeEvery = time.Minute
)

// A daemon that was given descriptors and ends within proven may end because of
// them. It is given none once its quick ends add up to poisoned: two before it was
// ready, or six after.
const (
	quickUnready = 3
	quickReady   = 1
	poisoned     = 6
)

// daemon keeps one of Slipstream's own processes running: the forwarder or the
// gateway. It is adopted after the agent's restart and never stopped with it.
type daemon struct {
	name string // of the daemon; its processes take turns with the names of instances
	spec supervise.Spec
	find func(name string) (path string, err error)
	sup  *supervise.Supervisor
	log  *slog.Logger
	lost func(detail string) // told before a new one is started
	down func(why string)    // told why it does not stay up; "" once it does
	kill chan struct{}       // asks for a restart
	swap chan succession     // asks for a successor, see succeed

	within time.Duration // that a successor has to take over in

	// Of run alone.
	backOff time.Duration
	free    time.Time // of the newest restart at once
	ready   bool      // the process has said READY=1
	quick   int       // ends that its descriptors may be to blame for
}

// instances are the names that a daemon's processes have: two of them live while
// one takes over from the other.
func instances(name string) [2]string { return [2]string{name, name + "-next"} }

// isInstance says whether a process is one of a daemon's.
func isInstance(process, name string) bool {
	both := instances(name)
	return slices.Contains(both[:], process)
}

// run returns when ctx ends, and leaves the process as it is. Adopted processes are
// given, none to two of them; the newer one of two is taking over.
func (d *daemon) run(ctx context.Context, adopted ...*supervise.Process) {
	p := d.adopted(ctx, adopted)
	d.backOff = firstPause
	for ctx.Err() == nil {
		begun := time.Now()
		if p == nil {
			p = d.start(d.spec.Name)
		}
		if p == nil {
			Wait(ctx, d.pause(time.Since(begun)))
			continue
		}
		next, over := d.watch(ctx, p)
		switch {
		case next != nil:
			p = next
			continue
		case !over:
			return
		}
		d.ended(p, time.Since(begun))
		p = nil
		Wait(ctx, d.pause(time.Since(begun)))
	}
}

// pause is how long to wait after an end or a start that failed.
func (d *daemon) pause(lived time.Duration) time.Duration {
	if lived > healthy {
		d.backOff = firstPause
	}
	if time.Since(d.free) >= freeEvery {
		d.free = time.Now()
		return 0
	}
	pause := d.backOff
	d.backOff = min(2*d.backOff, maxPause)
	return pause
}

// start returns nil if the process cannot be started.
func (d *daemon) start(instance string, more ...string) *supervise.Process {
	path, err := d.find(d.name)
	if err != nil {
		d.log.Error("daemon does not start", "name", d.name, "reason", err)
		d.down(err.Error())
		return nil
	}
	p, err := d.sup.Start(d.specOf(instance, path, more...))
	if err != nil {
		d.log.Error("daemon does not start", "name", d.name, "reason", err)
		d.down(daemonProblem(d.name, sentence(err)))
		return nil
	}
	d.spec.Name, d.ready = instance, false
	return p
}

func (d *daemon) specOf(instance, path string, more ...string) supervise.Spec {
	spec := d.spec
	spec.Name, spec.Path, spec.Args = instance, path, append(slices.Clone(spec.Args), more...)
	if spec.FDStore {
		spec.NotifySocket = filepath.Join(filepath.Dir(spec.NotifySocket), instance+".sock")
	}
	return spec
}

// watch returns true when the process and all that it left is gone, or its
// successor once that has taken over.
func (d *daemon) watch(ctx context.Context, p *supervise.Process) (next *supervise.Process, over bool) {
	select {
	case <-d.kill: // meant the process before
	default:
	}
	settled := time.NewTimer(proven)
	defer settled.Stop()
	words := p.Notifications()
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-settled.C:
			d.down("")
			d.quick = 0
		case n, open := <-words:
			if !open {
				words = nil
			}
			d.ready = d.ready || n.Ready
		case <-d.kill:
			p.Kill()
		case ask := <-d.swap:
			if ask.path != "" && !outdated(p, ask.path) {
				ask.done <- nil
				continue
			}
			successor, err := d.succeed(ctx, p, ask.path)
			ask.done <- err
			if successor != nil {
				return successor, false
			}
		case <-p.Done():
			p.Kill()
			return nil, true
		}
	}
}

// ended tells of an end. One crash is over when the next process runs; only
// what ends at once does not run.
func (d *daemon) ended(p *supervise.Process, lived time.Duration) {
	last := d.lastWord(p)
	d.log.Error("daemon ended", "name", d.name, "exit", p.Exit(), "log", last)
	if lived < proven {
		d.down(daemonProblem(d.name, cmp.Or(last, p.Exit().String())))
		d.suspect()
	}
	d.lost(d.name + " " + p.Exit().String())
}

// suspect counts an end that came too soon, and in the end drops what the process
// was given.
func (d *daemon) suspect() {
	if len(d.sup.Stored(d.spec.Name)) == 0 {
		return
	}
	d.quick += quickUnready
	if d.ready {
		d.quick += quickReady - quickUnready
	}
	if d.quick >= poisoned {
		d.log.Error("daemon is started without the descriptors that it had stored: it keeps ending with them", "name", d.name)
		d.sup.DropStored(d.spec.Name)
		d.quick = 0
	}
}

func (d *daemon) lastWord(p *supervise.Process) string {
	last := strings.TrimPrefix(lastLine(p), "slipstream-"+d.name+": ")
	return strings.TrimPrefix(last, d.name+": ")
}

// restart ends the process, and so has it started anew. It says nothing of the next
// one: if none runs just now, one is about to be started anyway.
func (d *daemon) restart() {
	select {
	case d.kill <- struct{}{}:
	default: // it is being killed already
	}
}

// errorOf is how a process ended that should not have, as an error for people.
func (d *daemon) errorOf(p *supervise.Process) error {
	return fmt.Errorf("it %s", strings.TrimSuffix(p.Exit().String()+": "+d.lastWord(p), ": "))
}

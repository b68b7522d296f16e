package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"slipstream/agent/supervise"
)

const (
	// succeedFlag makes a forwarder take over from the one that runs.
	succeedFlag = "--succeed"
	// succeedLimit is the backstop of a take-over: the running forwarder itself goes
	// on after half a second, or two stall limits, without its successor's word. What it
	// is for is the start of the successor's process, during which nothing is taken from
	// viewers.
	succeedLimit = 2 * time.Second
	// succeedStalls is by how many stall limits it is longer: where a silence has to be
	// long to count as one, processes start slowly, too.
	succeedStalls = 10
	// maxSucceedLimit bounds it however long the stall limit is: a trial waits.
	maxSucceedLimit = 30 * time.Second
	// swapLimit bounds the wait for a forwarder that could be succeeded, before it is.
	swapLimit = 10 * time.Second
)

// succeedWithin is how long a take-over may last on a device.
func succeedWithin(stall time.Duration) time.Duration {
	return min(succeedLimit+succeedStalls*stall, maxSucceedLimit)
}

// succession asks for a successor.
type succession struct {
	path string // of its program, if that is not what runs already; "": of the installed one
	done chan<- error
}

// succeed starts the installed program, or another one, beside a running one, whose viewers it takes
// over without a gap. The running one ends by itself, with code 0, once its successor
// has sent a frame to each; until then it can go on as if nothing had been. So its
// end decides, and a successor that is too late is killed.
func (d *daemon) succeed(ctx context.Context, old *supervise.Process, path string) (*supervise.Process, error) {
	before := d.spec.Name
	both := instances(d.name)
	after := both[1-slices.Index(both[:], before)]
	if path == "" {
		var err error
		if path, err = d.find(d.name); err != nil {
			return nil, err
		}
	}
	d.sup.DropStored(after)
	next, err := d.sup.Start(d.specOf(after, path, succeedFlag))
	if err != nil {
		return nil, err
	}
	d.log.Info("daemon is being replaced", "name", d.name, "pid", old.PID(), "by", next.PID())
	if err := d.handOver(ctx, old, next, d.within); err != nil {
		return nil, err
	}
	d.sup.DropStored(before)
	d.spec.Name, d.ready = after, true
	d.down("")
	d.log.Info("daemon replaced", "name", d.name, "pid", next.PID())
	return next, nil
}

// handOver waits until the old process has ended and the next one lives. After an
// error the next one is gone.
func (d *daemon) handOver(ctx context.Context, old, next *supervise.Process, limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	var err error
	select {
	case <-old.Done():
		err = tookOver(old, next)
	case <-next.Done():
		d.abandon(next)
		return d.errorOf(next)
	case <-late.C:
		select {
		case <-old.Done(): // at the last moment
			err = tookOver(old, next)
		default:
			err = fmt.Errorf("it did not take over within %v", limit)
		}
	case <-ctx.Done():
		return ctx.Err() // both go on; the next agent finds out
	}
	if err != nil {
		d.abandon(next)
		return err
	}
	old.Kill()
	return nil
}

// abandon ends a successor that is of no use and all that it left, also the copies of
// descriptors: one that nobody serves would keep its other side waiting.
func (d *daemon) abandon(next *supervise.Process) {
	next.Kill()
	d.sup.DropStored(next.Name())
}

// tookOver says of an old process that has ended whether it was its successor's
// word that ended it.
func tookOver(old, next *supervise.Process) error {
	select {
	case <-next.Done():
		return errors.New("both ended")
	default:
	}
	if exit := old.Exit(); exit.Known && (exit.Code != 0 || exit.Signal != 0) {
		return fmt.Errorf("the old one %s meanwhile", exit)
	}
	return nil
}

// adopted is the process to go on with. Of two, one was taking over when the agent
// died: either the older one ends by itself, or the newer one came too late.
func (d *daemon) adopted(ctx context.Context, living []*supervise.Process) *supervise.Process {
	living = slices.DeleteFunc(living, func(p *supervise.Process) bool { return p == nil })
	if len(living) == 0 {
		return nil
	}
	slices.SortFunc(living, func(x, y *supervise.Process) int { return x.Started().Compare(y.Started()) })
	old := living[0]
	d.spec.Name, d.ready = old.Name(), true
	if len(living) == 1 {
		return old
	}
	next := living[1]
	if err := d.handOver(ctx, old, next, d.within); err != nil {
		d.log.Error("daemon was not replaced", "name", d.name, "reason", err)
		return old
	}
	d.spec.Name = next.Name()
	return next
}

// replace asks for a successor and waits for the outcome.
func (d *daemon) replace(ctx context.Context) error { return d.replaceBy(ctx, "") }

// replaceBy asks for a successor of a program, and does nothing if that runs already.
func (d *daemon) replaceBy(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, swapLimit+d.within)
	defer cancel()
	done := make(chan error, 1)
	select {
	case d.swap <- succession{path, done}:
	case <-ctx.Done():
		return errors.New("it does not run")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("its replacement was not heard of again")
	}
}

// outdated says whether a process runs another program than the one that is
// installed: an update has put a new file in its place.
func outdated(p *supervise.Process, path string) bool {
	running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", p.PID()))
	if err != nil {
		return false // it ended, or we may not look
	}
	installed, err := os.Stat(path)
	return err == nil && !os.SameFile(running, installed)
}

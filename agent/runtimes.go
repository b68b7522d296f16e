package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"slipstream/slots"
	"slipstream/verify"
)

// startEnv is how the start program says where it is.
const startEnv = "SLIPSTREAM_START"

// provenAfter is how long an agent that was reached has to live for its start to count
// as one that worked.
const provenAfter = 30 * time.Second

// runtimeProblems names, among the daemons, what is wrong with the slots of programs.
const runtimeProblems = "runtime"

// runtimeName is a slot of programs among all slots, as the trust state knows them.
func runtimeName(slot string) string { return "runtime-" + slot }

// openRuntimes opens the slots of Slipstream's own programs, if something stands behind
// this agent that could return from a version on trial.
func (a *Agent) openRuntimes() error {
	if a.host.Start == "" {
		return nil
	}
	dir := filepath.Join(a.cfg.State, "runtime")
	set, err := slots.Open(dir, slots.Options{})
	if errors.Is(err, slots.ErrLocked) {
		return fmt.Errorf("another agent already runs here: it uses %s", dir)
	}
	if err != nil {
		a.log.Error("Slipstream's own programs cannot be updated", "reason", err)
		a.setDown(runtimeProblems, fmt.Sprintf("Slipstream's own programs cannot be updated: %s", sentence(err)))
		return nil
	}
	a.runtimes = set
	for _, slot := range slotNames {
		if real(set.Root(slot)) == real(a.host.Programs) {
			a.own = slot
		}
	}
	return nil
}

// programs is the directory of a version's programs; "" is the built-in one.
func (a *Agent) programs(slot string) string {
	switch {
	case slot != "":
		return a.runtimes.Root(slot)
	case a.own != "" && real(a.cfg.Bin) == real(a.host.Programs): // nobody has configured another one
		return filepath.Dir(a.host.Start)
	}
	return a.cfg.Bin
}

// settleHome says where forwarders come from that take nobody's place.
func (a *Agent) settleHome(s State) {
	home := a.programs(s.forwarderHome())
	a.home.Store(&home)
}

// foundRuntimes is what the record, the slots and our own program say.
func (a *Agent) foundRuntimes(r slots.Record) (out Runtimes) {
	if a.runtimes == nil {
		return out
	}
	out.Able, out.Running = true, a.own
	if is, ok := r.Runtime[r.System]; ok {
		out.Permanent = Part{Slot: is.Slot, Digest: is.Digest, Version: is.Version, Counter: is.Counter}
	}
	for i, slot := range slotNames {
		p, err := a.recheckPart(a.runtimeTarget(slot))
		if err != nil && !errors.Is(err, slots.ErrNotStaged) {
			a.log.Error("runtime slot holds no version that may be tried", "slot", slot, "reason", err)
		}
		out.Slots[i] = p
	}
	return out
}

// permanentRuntime also settles where a forwarder would come from.
func (a *Agent) permanentRuntime() Runtimes {
	r, err := a.record.Load()
	if err != nil && !errors.Is(err, slots.ErrNoRecord) {
		a.log.Error("active record not read", "reason", err)
	}
	found, s := a.foundRuntimes(r), a.state
	s.Runtime = found.Programs
	a.settleHome(s)
	return found
}

func (a *Agent) runtimeTarget(slot string) target {
	return target{a.runtimes, slot, a.own, verify.ClassRuntime}
}

// afterRuntime does one thing after all that was asked for programs before.
func (a *Agent) afterRuntime(ctx context.Context, do func()) {
	a.runtimeQueue = a.inTurn(ctx, a.runtimeQueue, do)
}

func (a *Agent) tryRuntime(ctx context.Context, e TryRuntime) {
	trying, cancel := context.WithCancel(ctx)
	a.stopTry = cancel
	a.afterRuntime(ctx, func() {
		done := RuntimeTried{Trial: e.Trial}
		err := errNoRuntimes
		switch {
		case a.runtimes == nil:
		case e.Runtime.BuiltIn: // it is part of the system
			err = nil
		default:
			err = a.verifyPart(trying, a.runtimeTarget(e.Runtime.Slot), e.Runtime)
		}
		if err == nil {
			err = trying.Err()
		}
		if err == nil {
			err = a.forwarding.replaceBy(ctx, a.forwarderIn(a.programs(e.Runtime.Slot)))
		}
		if ctx.Err() != nil {
			return // the next agent does it again
		}
		if err != nil {
			done.Damaged = damaged(err)
			done.Error = "the new forwarder did not take over: " + sentence(err)
			a.log.Error("programs not tried", "version", e.Runtime.Version, "reason", err)
		}
		a.post(done)
	})
}

// errNoRuntimes is why nothing is tried.
var errNoRuntimes = errors.New("no start program stands behind this agent")

func (a *Agent) forwarderIn(dir string) string {
	return filepath.Join(dir, "slipstream-"+forwarderName)
}

// returnForwarder: one that does not hand over is ended, and its viewers are kept by what
// it has stored with the agent.
func (a *Agent) returnForwarder(ctx context.Context, e ReturnForwarder) {
	a.stopTry()
	a.afterRuntime(ctx, func() {
		err := a.forwarding.replaceBy(ctx, a.forwarderIn(*a.home.Load()))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.log.Error("the forwarder on trial does not hand over and is ended", "reason", err)
			a.forwarding.restart()
		}
		a.post(ForwarderReturned(e))
	})
}

// become has this agent's process become another program.
func (a *Agent) become(e Become) {
	if e.Trial != "" {
		err := error(nil)
		if a.unwritten {
			err = errors.New("the journal could not be written, and the new agent would not know of its trial")
		} else {
			err = slots.AskTry(a.cfg.Run, slots.Try{
				Boot: a.state.Boot, Slot: e.Runtime.Slot, Digest: e.Runtime.Digest, Version: e.Runtime.Version, BuiltIn: e.Runtime.BuiltIn, Deadline: e.Deadline,
			})
		}
		if err != nil { // silence reverts
			a.log.Error("the agent does not become the one on trial", "reason", err)
			return
		}
	}
	a.becomeOnce.Do(func() { close(a.becoming) })
}

// Becoming is closed when this agent is to end, and its process to become whatever the
// start program at [Agent.StartProgram] chooses.
func (a *Agent) Becoming() <-chan struct{} { return a.becoming }

// StartProgram is what has started this agent's program; "" is nothing that could return
// from a trial.
func (a *Agent) StartProgram() string { return a.host.Start }

// Answered is told that somebody was answered at the agent's socket.
func (a *Agent) Answered() { a.post(Reached{}) }

// proveStart tells the start program in a while that this start has worked.
func (a *Agent) proveStart(ctx context.Context) {
	if a.runtimes == nil {
		return
	}
	a.wg.Go(func() {
		if !Wait(ctx, provenAfter) {
			return
		}
		if err := slots.ProveStart(a.cfg.Run); err != nil {
			a.log.Error("start not proven", "reason", err)
		}
	})
}

// ownProgram is the directory of this process's program.
func ownProgram() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(exe)
}

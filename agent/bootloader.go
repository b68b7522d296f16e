package agent

import (
	"context"
	"fmt"
	"time"

	"slipstream/slots/boot"
)

const (
	bootTries = 4 // of telling the boot loader one thing
	bootPause = 200 * time.Millisecond
)

// bootProblem names, among the daemons, what is wrong with the boot loader, and
// systemsProblem what with the slots.
const (
	bootProblem    = "boot"
	systemsProblem = "systems"
)

// noBoot is a boot loader that cannot be told anything.
type noBoot struct{ err error }

var _ boot.Control = noBoot{}

func (n noBoot) State() (boot.State, error) { return boot.State{}, n.err }
func (n noBoot) Try(string) error           { return n.err }
func (n noBoot) Commit(string) error        { return n.err }
func (n noBoot) Cancel() error              { return n.err }
func (n noBoot) Disable(string) error       { return n.err }

// afterBoot does one thing after all that was asked of the boot loader before.
func (a *Agent) afterBoot(ctx context.Context, do func()) {
	a.bootQueue = a.inTurn(ctx, a.bootQueue, do)
}

// inTurn does one thing when what was before it in a queue is done, and returns what is
// closed then. Nothing in a queue waits for ever.
func (a *Agent) inTurn(ctx context.Context, before <-chan struct{}, do func()) <-chan struct{} {
	done := make(chan struct{})
	a.wg.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		if ctx.Err() == nil {
			do()
		}
	})
	return done
}

// tell tries to tell the boot loader something.
func (a *Agent) tell(ctx context.Context, what string, do func() error) (err error) {
	for i := range bootTries {
		if i > 0 && !Wait(ctx, bootPause) {
			break
		}
		if err = do(); err == nil {
			a.noteTries()
			return nil
		}
		a.log.Error("boot loader not told", "what", what, "reason", err)
	}
	return err
}

// disableBoot keeps the boot loader from starting a slot that is about to be written.
// What it returns waits until that is so; without a slot there is nothing to be done.
func (a *Agent) disableBoot(ctx context.Context, slot string) (wait func() error) {
	if slot == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	a.afterBoot(ctx, func() { done <- a.tell(ctx, "disable", func() error { return a.boot.Disable(slot) }) })
	return func() error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *Agent) tryBoot(ctx context.Context, e TryBoot) {
	a.afterBoot(ctx, func() {
		done := BootTried{Trial: e.Trial}
		err := a.verifyPart(ctx, a.systemTarget(e.System.Slot), e.System)
		if err == nil {
			err = a.tell(ctx, "try", func() error { return a.boot.Try(e.System.Slot) })
		}
		if err == nil && ctx.Err() == nil {
			a.guard.hold() // before the word by which the device goes down
		}
		if ctx.Err() != nil {
			return // the next agent does it again
		}
		if done.Damaged = damaged(err); err != nil {
			done.Error = fmt.Sprintf("the boot loader was not told to try system slot %s: %s", e.System.Slot, sentence(err))
		}
		a.post(done)
	})
}

func (a *Agent) cancelBoot(ctx context.Context) {
	// What fails here is tried again with the next start: a trial has one try.
	a.afterBoot(ctx, func() { _ = a.tell(ctx, "cancel", a.boot.Cancel) })
}

func (a *Agent) agreeBoot(ctx context.Context, e AgreeBoot) {
	a.afterBoot(ctx, func() {
		err := a.tell(ctx, "agree", func() error {
			changed, err := boot.Reconcile(a.boot, e.Slot)
			if err == nil && changed {
				a.log.Warn("boot loader brought into agreement with the active record", "system", e.Slot)
			}
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.setDown(bootProblem, fmt.Sprintf("the boot loader cannot be told that system slot %s is the permanent one (%s): "+
				"the next start may be of another one; check system.boot in the configuration", e.Slot, sentence(err)))
			return
		}
		a.setDown(bootProblem, a.recoveryProblem())
		a.post(BootAgrees(e))
	})
}

// recoveryProblem is a boot loader that would start neither system.
func (a *Agent) recoveryProblem() string {
	if s, err := a.boot.State(); err != nil || !s.Recovery {
		return ""
	}
	return "the boot loader takes neither system slot for bootable: the next start goes to its recovery; check system.boot in the configuration"
}

// restart starts the device anew, after the boot loader was told.
func (a *Agent) restart(ctx context.Context, e Restart) {
	if e.Journalled && a.unwritten {
		a.log.Error("device not started anew: the journal could not be written, and it could come again and again")
		return
	}
	a.afterBoot(ctx, func() {
		a.log.Warn("device is started anew")
		if err := a.host.Restart(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("device not started anew", "reason", err)
		}
	})
}

package agent

import (
	"context"
	"errors"
	"fmt"

	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// errNoGroup means that an app does not run in a cgroup of its own.
var errNoGroup = errors.New("its app runs in no cgroup of its own")

// findGroups finds out whether apps can have cgroups of their own, and returns why
// they cannot.
func (a *Agent) findGroups() string {
	groups, err := supervise.NewGroups(a.cfg.Cgroup, a.cfg.Run)
	if err != nil {
		a.log.Warn("apps cannot be frozen: there is no cgroup for them", "reason", err)
		return sentence(err)
	}
	a.groups = groups
	controls := groups.Controls()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.controls = controls
	return ""
}

// letGroupsBe removes the place of the cgroups if none is left in it.
func (a *Agent) letGroupsBe() {
	if a.groups != nil {
		a.groups.Remove()
	}
}

// makeGroup makes the cgroup of a run, nil if there can be none: an app works
// without it, but cannot be frozen.
func (a *Agent) makeGroup(source orders.SourceID) *supervise.Group {
	if a.groups == nil {
		return nil
	}
	g, err := a.groups.Make(string(source))
	if err != nil {
		a.log.Error("app runs without a cgroup", "source", source, "reason", err)
		return nil
	}
	return g
}

func (a *Agent) findGroup(source orders.SourceID, pid int) *supervise.Group {
	return supervise.FindGroup(a.cfg.Run, string(source), pid)
}

// endGroup ends what is left of a run, also what has escaped its session.
func (a *Agent) endGroup(g *supervise.Group) {
	if g == nil {
		return
	}
	if err := g.End(); err != nil {
		a.log.Error("cgroup not removed", "reason", err)
	}
}

// freeze writes to the kernel at once: what follows in the same step, such as new
// orders, is said of an app that is being frozen already.
func (a *Agent) freeze(source orders.SourceID) {
	err := errNoGroup
	if r := a.runs[source]; r != nil && r.group != nil {
		err = r.group.Freeze()
	}
	if err != nil {
		a.log.Error("app not frozen; both versions run in full", "source", source, "reason", err)
		a.wg.Go(func() { a.post(FreezeFailed{Source: source, Error: sentence(err)}) })
	}
}

func (a *Agent) thaw(source orders.SourceID) {
	if r := a.runs[source]; r != nil && r.group != nil {
		if err := r.group.Thaw(); err != nil {
			a.log.Error("app not thawed", "source", source, "reason", err)
		}
	}
}

// checkSlot verifies a slot in the background.
func (a *Agent) checkSlot(ctx context.Context, e CheckSlot) {
	a.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, prepareLimit)
		defer cancel()
		done := SlotChecked{Trial: e.Trial}
		if err := a.verifySlot(ctx, e.Version.Slot, e.Version); err != nil {
			done.Error = sentence(err)
		}
		a.post(done)
	})
}

// freezeProblem says that versions ask for what this device cannot do.
func (a *Agent) freezeProblem(s State) string {
	if why := s.Trial.Unfrozen; why != "" {
		return fullProblem(s.Trial.To, why)
	}
	for _, v := range []Version{s.Stage.Version, s.Spare} {
		if s.noFreezer != "" && v.Rules.Overlap == verify.OverlapFrozen {
			return fullProblem(v, s.noFreezer)
		}
	}
	return ""
}

func fullProblem(v Version, why string) string {
	return fmt.Sprintf("version %s wants the one before to be frozen during its trial, and both run in full here: %s; "+
		"give the agent a cgroup of version 2 (`cgroup` in the configuration)", v.Version, why)
}

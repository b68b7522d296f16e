package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	if groups.Occupied() {
		if err := a.stepAside(groups); err != nil {
			a.log.Warn("the agent stays in the cgroup of its apps, which have no limits for that", "reason", err)
		} else {
			a.log.Info("the agent has moved into a cgroup beside its apps", "name", supervise.OwnGroup)
			controls = groups.Controls()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.controls = controls
	return ""
}

// stepAsideVar is set by a unit of systemd that gives the agent a cgroup of its own, and
// takes it back from the agent's remains before it starts another one (agent make-room).
// Without that it could not be started again where apps run on.
const stepAsideVar = "SLIPSTREAM_STEP_ASIDE"

// systemdDir is there where systemd manages the cgroups (sd_booted(3)).
const systemdDir = "/run/systemd/system"

// stepAside leaves the place to the cgroups of apps, so that these can have limits.
func (a *Agent) stepAside(groups *supervise.Groups) error {
	if os.Getenv(stepAsideVar) != "" {
		return groups.StepAside(func(int) bool { return true }) // all of it is the unit's, and so ours
	}
	if _, err := os.Stat(systemdDir); err == nil {
		return errors.New("its unit does not say that it may move (" + stepAsideVar + ", see slipstream.service)")
	}
	return groups.StepAside(a.sup.Ours)
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
			done.Error, done.Damaged = sentence(err), damaged(err)
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

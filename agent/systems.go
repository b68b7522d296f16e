package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
	"slipstream/verify/trust"
)

// firstSystem is the system slot of a device that has no other.
const firstSystem = "a"

// systemName is a system slot among all slots, as the trust state knows them.
func systemName(slot string) string { return "system-" + slot }

// errNoSystems is why nothing is written where systems are.
var errNoSystems = errors.New("the system slots could not be opened")

// openSystems opens the system slots, if there are any. A camera whose systems cannot
// be updated is still a camera.
func (a *Agent) openSystems() error {
	cfg := a.cfg.System
	if !cfg.Is() {
		return nil
	}
	var bootErr, runErr, slotsErr error
	if a.boot, bootErr = openBoot(cfg.Boot); bootErr != nil {
		a.boot = noBoot{bootErr}
	}
	a.system, runErr = a.host.Running()
	dir := filepath.Join(a.cfg.State, "system")
	a.systems, slotsErr = slots.Open(dir, slots.Options{Partitions: map[string]string{"a": cfg.A, "b": cfg.B}})
	if errors.Is(slotsErr, slots.ErrLocked) {
		return fmt.Errorf("another agent already runs here: it uses %s", dir)
	}
	if err := errors.Join(bootErr, runErr, slotsErr); err != nil {
		a.log.Error("systems cannot be updated", "reason", err)
		a.setDown(systemsProblem, fmt.Sprintf("systems cannot be updated: %s; change [system] in the configuration", sentence(err)))
	}
	return nil
}

// foundSystems is what the record and the slots say.
func (a *Agent) foundSystems(r slots.Record) (s Systems) {
	if a.system == "" {
		return s
	}
	s.Running = a.system
	if r.System != "" {
		is := r.Systems[r.System]
		s.Permanent = Part{Slot: r.System, Digest: is.Digest, Version: is.Version, Counter: is.Counter}
	}
	for i, slot := range slotNames {
		p, err := a.recheckSystem(slot)
		if err != nil && !errors.Is(err, slots.ErrNotStaged) && !errors.Is(err, errNoSystems) {
			a.log.Error("system slot holds no version that may be tried", "slot", slot, "reason", err)
		}
		s.Slots[i] = p
	}
	return s
}

// recheckSystem is recheckPart of a system slot.
func (a *Agent) recheckSystem(slot string) (Part, error) {
	if a.systems == nil {
		return Part{}, errNoSystems
	}
	return a.recheckPart(a.systemTarget(slot))
}

func (a *Agent) systemTarget(slot string) target {
	return target{a.systems, slot, a.system, verify.ClassSystem}
}

// recheckPart verifies what is noted of a slot, by what is trusted today.
func (a *Agent) recheckPart(t target) (Part, error) {
	p, _, err := a.readPart(t)
	return p, err
}

// readPart is recheckPart with all that the package says.
func (a *Agent) readPart(t target) (Part, verify.Manifest, error) {
	none := verify.Manifest{}
	st, err := t.set.Status(t.slot)
	if err != nil {
		return Part{}, none, err
	}
	head, err := t.set.Manifest(t.slot)
	if err != nil {
		return Part{}, none, err
	}
	if _, err := verify.Known(head, st.Digest); err != nil {
		return Part{}, none, fmt.Errorf("%w: %w", slots.ErrDamaged, err)
	}
	m, digest, err := a.verified(t.name(), st.Digest, head)
	if err != nil {
		return Part{}, none, err
	}
	p := partOf(m, digest, t.class)
	if digest != st.Digest || p.Image != st.SHA256 {
		return Part{}, none, fmt.Errorf("%w: %s slot %s does not hold the image that was signed", slots.ErrDamaged, t.class, t.slot)
	}
	p.Slot = t.slot
	return p, m, nil
}

// verifyPart says whether a slot holds a version to the last byte.
func (a *Agent) verifyPart(ctx context.Context, t target, want Part) error {
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	p, err := a.recheckPart(t)
	if err == nil && p.Digest != want.Digest {
		err = fmt.Errorf("%w: %s slot %s does not hold version %s any more", slots.ErrDamaged, t.class, want.Slot, want.Version)
	}
	if err != nil {
		return err
	}
	return t.set.Verify(ctx, want.Slot)
}

// partOf is what a manifest brings for a slot class; zero if nothing.
func partOf(m verify.Manifest, digest, class string) Part {
	i := slices.IndexFunc(m.Images, func(i verify.Image) bool { return i.Class == class })
	if i < 0 {
		return Part{}
	}
	return Part{Digest: digest, Image: m.Images[i].SHA256, Version: m.Version, Counter: m.ReleaseCounter}
}

// recordedWith is the system slot whose apps the record is asked for: that which runs, if it
// holds what was permanent there, and else the permanent one. So a system that is on
// trial has the apps of the one before, and one that was gone back to its own.
func (a *Agent) recordedWith(r slots.Record) string {
	if a.systems == nil || a.system == "" {
		return cmp.Or(r.System, firstSystem)
	}
	st, err := a.systems.Status(a.system)
	_, known := r.Live[a.system]
	if err == nil && known && st.Digest == r.Systems[a.system].Digest || r.System == "" {
		return a.system
	}
	return r.System
}

// recorded is the record with a version in it as what is permanent.
func (a *Agent) recorded(r slots.Record, v, previous Version) slots.Record {
	with := a.recordedWith(r)
	live, known := r.Live[with]
	if v.Slot != "" {
		live, known = slots.Live{Slot: v.Slot, Digest: v.Digest, Version: v.Version, Counter: v.Counter}, true
		if !previous.none() {
			live.Previous = &slots.Previous{Slot: previous.Slot, Digest: previous.Digest, Version: previous.Version, Counter: previous.Counter}
		}
	}
	programs, updated := r.Runtime[r.System]
	if p := v.System; p.Slot != "" {
		with, r.System = p.Slot, p.Slot
		if r.Systems == nil {
			r.Systems = map[string]slots.System{}
		}
		r.Systems[with] = slots.System{Digest: p.Digest, Version: p.Version, Counter: p.Counter}
	}
	if r.Live == nil {
		r.Live = map[string]slots.Live{}
	}
	if delete(r.Live, with); known {
		r.Live[with] = live
	}
	if r.System == "" {
		r.System = with
	}
	if p := v.Runtime; p.BuiltIn { // of no slot; what was left is the floor
		programs, updated = slots.Runtime{Version: p.Version, Counter: p.Counter}, true
	} else if p.Slot != "" {
		programs, updated = slots.Runtime{Slot: p.Slot, Digest: p.Digest, Version: p.Version, Counter: p.Counter}, true
		if was := previous.Runtime; was.Slot != "" {
			programs.Previous = &slots.Previous{Slot: was.Slot, Digest: was.Digest, Version: was.Version, Counter: was.Counter}
		}
	}
	if updated {
		r.Runtime = maps.Clone(r.Runtime)
		if r.Runtime == nil {
			r.Runtime = map[string]slots.Runtime{}
		}
		r.Runtime[r.System] = programs
	}
	return r
}

// mayRunAgain are the versions that the record names and that are known here: the
// floors do not rise beyond any of them.
func (a *Agent) mayRunAgain() (list []trust.Installed, err error) {
	r, err := a.record.Load()
	if err != nil {
		return nil, err
	}
	var named []string
	for _, live := range r.Live {
		if named = append(named, live.Digest); live.Previous != nil {
			named = append(named, live.Previous.Digest)
		}
	}
	for _, s := range r.Systems {
		named = append(named, s.Digest)
	}
	for _, p := range r.Runtime {
		named = append(named, p.Digest)
	}
	for _, slot := range slotNames {
		for _, name := range []string{slot, systemName(slot), runtimeName(slot)} {
			if was, ok := a.trusted.Installed(name); ok && slices.Contains(named, was.Digest) {
				list = append(list, was)
			}
		}
	}
	return list, nil
}

// systemProblem is a system that runs in the permanent one's place.
func systemProblem(s State) string {
	if sys := s.System; sys.Running != sys.Permanent.Slot && sys.Permanent.Slot != "" && sys.Running != "" && !s.systemTrial() {
		return fmt.Sprintf("system slot %s runs, although %s is the permanent one, and nothing can be installed: start the device anew; "+
			"if that does not help, system slot %s is damaged", sys.Running, sys.Permanent.Slot, sys.Permanent.Slot)
	}
	return ""
}

// shownSystems are the system slots, as people see them.
func shownSystems(s State) []control.System {
	if s.System.Running == "" {
		return nil
	}
	return shownSlots(s.System.Running, s.System.Permanent, s.Trial.To.System, s.Package.System, s)
}

// shownSlots are both slots of a class beside the apps', by which of its parts runs, is
// permanent, on trial and staged.
func shownSlots(running string, permanent, trial, staged Part, s State) (out []control.System) {
	for _, name := range slotNames {
		shown := control.System{Name: name, Running: name == running}
		switch name {
		case permanent.Slot:
			shown.State, shown.Version = control.StatePermanent, permanent.Version
		case trial.Slot:
			shown.State, shown.Version = control.StateTrial, s.Trial.To.Version
		case staged.Slot:
			shown.State, shown.Version = control.StateStaged, s.Package.Version
		}
		out = append(out, shown)
	}
	return out
}

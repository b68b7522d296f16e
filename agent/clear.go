package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
)

type (
	// ClearAsked asks for a slot to be emptied.
	ClearAsked struct {
		Req  uint64
		Slot string // "a", or "system-a" for the system slot
	}
	// ClearSlots empties slots. Answered by [SlotsCleared].
	ClearSlots struct{ Slots []string }
	// SlotsCleared says what became of it.
	SlotsCleared struct {
		Empty []string // slots that hold nothing now
		Held  []string // versions that were there
		Error string   // why not all of it was done
	}
)

// CodeKept is that of a slot that is never emptied.
const CodeKept = "kept-slot"

// clearing is what a clear is about. It is not in the journal: an agent that is started
// anew finds out what the slots hold.
type clearing struct {
	req    uint64
	slots  []string
	staged bool // something is, and stays so unless it is in one of them
}

// clearAsked decides whether a slot may be emptied: never one that runs, is permanent
// or on trial. A package that lies in two slots goes from both, since half of one is
// of no use.
func (m *machine) clearAsked(e ClearAsked) {
	code, why := m.kept(e.Slot)
	switch {
	case why != "":
		m.answer(e.Req, control.ExitRefused, code, "%s", why)
		return
	case m.Phase != PhaseIdle && m.Phase != PhaseStaged:
		m.busy(e.Req)
		return
	}
	m.clear = clearing{req: e.Req, slots: []string{e.Slot}, staged: m.Phase == PhaseStaged}
	if v := m.staged(); m.clear.staged && slices.Contains(v.places(), e.Slot) {
		m.clear.slots = v.places()
	}
	for _, slot := range m.clear.slots {
		if slices.Contains(slotNames[:], slot) && m.Apps[slotIndex(slot)].Status != AppStopped {
			m.answer(e.Req, control.ExitRefused, CodeBusy, "the version before is still ending in slot %s: try it again in a moment", slot)
			return
		}
	}
	m.Phase = PhaseClearing
	m.do(ClearSlots{m.clear.slots})
}

// kept says why a slot is never emptied; "": it may be.
func (m *machine) kept(name string) (code, why string) {
	class, slot := verify.ClassLive, name
	for _, c := range []string{verify.ClassSystem, verify.ClassRuntime} {
		if rest, found := strings.CutPrefix(name, c+"-"); found {
			class, slot = c, rest
		}
	}
	none := !slices.Contains(slotNames[:], slot)
	var permanent, running string
	switch class {
	case verify.ClassSystem:
		permanent, running = m.System.Permanent.Slot, m.System.Running
		none = none || running == ""
	case verify.ClassRuntime:
		permanent, running = m.Runtime.Permanent.Slot, m.Runtime.Running
		none = none || !m.Runtime.Able
	default:
		permanent = m.Permanent.Slot
	}
	switch slot {
	case permanent:
		why = fmt.Sprintf("slot %s holds the permanent version, which is never removed", name)
	case running:
		why = fmt.Sprintf("slot %s holds the version that runs, which is never removed", name)
	}
	if none {
		why = fmt.Sprintf("this device has no slot %q; slipstream status shows those that it has", name)
	}
	return CodeKept, why
}

// places are the slots of a version, by their names among those of all classes.
func (v Version) places() (names []string) {
	if v.Slot != "" {
		names = append(names, v.Slot)
	}
	if v.System.Slot != "" {
		names = append(names, systemName(v.System.Slot))
	}
	if v.Runtime.Slot != "" {
		names = append(names, runtimeName(v.Runtime.Slot))
	}
	return names
}

// slotsCleared: what a slot no longer holds is not spoken of any more.
func (m *machine) slotsCleared(e SlotsCleared) {
	if m.Phase != PhaseClearing {
		return
	}
	c := m.clear
	m.clear, m.Phase = clearing{}, PhaseIdle
	if staged := m.staged(); c.staged && !slices.ContainsFunc(staged.places(), func(s string) bool { return slices.Contains(e.Empty, s) }) {
		m.Phase = PhaseStaged
	} else {
		m.Package = Version{}
	}
	if slices.Contains(e.Empty, m.Spare.Slot) {
		m.Spare = Version{}
	}
	m.trustAgain(e.Empty)
	names, are := "slot "+c.slots[0], "is"
	if len(c.slots) > 1 {
		names, are = "slots "+strings.Join(c.slots, " and "), "are"
	}
	switch held := strings.Join(slices.Compact(e.Held), " and "); {
	case e.Error != "":
		m.answer(c.req, control.ExitError, CodeStage, "%s could not be emptied: %s", names, e.Error)
	case held == "":
		m.answer(c.req, control.ExitNothing, "", "%s %s empty already", names, are)
	default:
		m.answer(c.req, control.ExitDone, "", "%s %s empty; %s is removed", names, are, held)
	}
}

// clearSlots is the runner's part. The boot loader hears first, as before a stage.
func (a *Agent) clearSlots(ctx context.Context, e ClearSlots) {
	var waits []func() error
	for _, name := range e.Slots {
		if t := a.targetOf(name); t.class == verify.ClassSystem {
			waits = append(waits, a.disableBoot(ctx, t.slot))
		}
	}
	permanent := a.state.Permanent.Slot
	a.wg.Go(func() {
		var done SlotsCleared
		for _, wait := range waits {
			if err := wait(); err != nil {
				done.Error = sentence(err)
				a.post(done)
				return
			}
		}
		for _, name := range e.Slots {
			held, err := a.clearSlot(name, permanent)
			if held != "" {
				done.Held = append(done.Held, held)
			}
			if a.isEmpty(name) {
				done.Empty = append(done.Empty, name)
			}
			if err == nil {
				continue
			}
			a.log.Error("slot not emptied", "slot", name, "reason", err)
			done.Error = clearSentence(err)
			break
		}
		a.post(done)
	})
}

// clearSlot empties one slot, and what belongs to the version that was there. It is
// nothing to be done if there was none.
func (a *Agent) clearSlot(name, permanent string) (held string, err error) {
	t := a.targetOf(name)
	if t.set == nil {
		return "", errNoSystems
	}
	st, err := t.set.Status(t.slot)
	if err != nil {
		return "", err
	}
	if st.State == slots.StateEmpty {
		return "", nil
	}
	if err := t.set.Clear(t.slot); err != nil {
		return "", err
	}
	if err := a.trusted.Cleared(name); err != nil {
		a.log.Error("trust state still names an empty slot", "slot", name, "reason", err) // which starts nothing
	}
	if t.class == verify.ClassLive {
		if err := errors.Join(a.data.drop(t.slot, permanent), a.states.drop(t.slot, permanent)); err != nil {
			a.log.Error("data of a removed version not removed", "slot", t.slot, "reason", err)
		}
	}
	if st.Version == "" {
		return "what could not be read", nil
	}
	return "version " + st.Version, nil
}

// isEmpty says whether nothing in a slot could be started, also after an error.
func (a *Agent) isEmpty(name string) bool {
	t := a.targetOf(name)
	if t.set == nil {
		return true
	}
	st, err := t.set.Status(t.slot)
	return err == nil && st.State == slots.StateEmpty
}

// targetOf is a slot by its name among those of all classes.
func (a *Agent) targetOf(name string) target {
	if slot, system := strings.CutPrefix(name, systemName("")); system {
		return a.systemTarget(slot)
	}
	if slot, runtime := strings.CutPrefix(name, runtimeName("")); runtime {
		return a.runtimeTarget(slot)
	}
	return target{set: a.set, slot: name, class: verify.ClassLive}
}

func clearSentence(err error) string {
	if errors.Is(err, slots.ErrBusy) {
		return "it is in use: a process works in the version there, or has its files open; end it and try again"
	}
	return stageSentence(err)
}

// Clear implements [control.Technician].
func (a *Agent) Clear(ctx context.Context, r control.ClearRequest) control.Result {
	if err := a.ready(ctx); err != nil {
		return unanswered("", err)
	}
	return a.request(ctx, func(req uint64) any { return ClearAsked{Req: req, Slot: r.Slot} })
}

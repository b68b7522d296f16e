package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipstream/agent/control"
	"slipstream/slots"
)

// damaged tells a slot that does not hold what was staged from everything else
// that may keep an app from starting, above all from keys that are not there.
func damaged(err error) bool {
	return errors.Is(err, slots.ErrDamaged) || errors.Is(err, slots.ErrNotStaged)
}

// permanentDamaged: the permanent version cannot be started, now or later. The one
// before takes its place if it is whole, which the runner finds out, and was not
// given up for its security; the floor stays where it is. A crash is no damage:
// whoever can make an app crash must not be able to bring an old one back.
func (m *machine) permanentDamaged(e AppExited) {
	m.Damage = strings.TrimPrefix(e.Detail, "not started: ")
	to := m.Spare
	if m.Phase != PhaseIdle || to.none() || to.Digest != m.Previous.Digest ||
		m.Permanent.Image == "" || to.Epoch < m.Permanent.Epoch {
		return // an unknown manifest may have had any epoch
	}
	to.Counter = m.Permanent.Counter
	m.Phase = PhaseFallback
	m.do(FallBack{From: m.Permanent, To: to})
}

// fellBack: the record names the version before.
func (m *machine) fellBack() {
	if m.Phase != PhaseFallback {
		return
	}
	bad, to := m.Permanent, m.Spare
	to.Counter = bad.Counter
	m.do(Remember{control.Record{
		Time: m.wall, From: to.Version, To: bad.Version, Digest: bad.Digest,
		Outcome: control.OutcomeReverted, Reason: CauseDamaged,
		Detail: fmt.Sprintf("version %s cannot be started (%s); %s runs in its place; stage %s once more to have it back",
			bad.Version, m.Damage, to.Version, bad.Version),
	}})
	m.Permanent, m.Previous, m.Spare = to, bad, Version{}
	m.Apps[slotIndex(bad.Slot)] = App{}
	m.Commits.Live = Commit{} // from here on nothing is undone by itself
	m.Phase, m.Retiring, m.Damage = PhaseIdle, "", ""
	if m.followed() != "" { // else its start sends orders; such without a source would close the streams
		m.sendOrders()
	}
}

// fallBackFailed: the start of the permanent version is tried again, in case the
// damage was in its reading.
func (m *machine) fallBackFailed(e FallBackFailed) {
	if m.Phase == PhaseFallback {
		m.Phase = PhaseIdle
		m.Damage += "; version " + m.Previous.Version + " cannot take its place: " + e.Error
	}
}

// damageProblem tells a technician the way out.
func damageProblem(s State) string {
	if s.Damage == "" {
		return ""
	}
	return fmt.Sprintf("version %s in slot %s is damaged and cannot be started (%s): stage it, or a newer version, and activate that",
		s.Permanent.Version, s.Permanent.Slot, s.Damage)
}

// fallBack checks the version before, and makes it permanent.
func (a *Agent) fallBack(ctx context.Context, e FallBack) {
	a.log.Error("permanent version is damaged; the one before takes its place", "damaged", e.From.Version, "slot", e.From.Slot, "version", e.To.Version)
	verifying, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	err := a.verifySlot(verifying, e.To.Slot, e.To)
	if err == nil {
		err = a.commitRecord(ctx, e.To, e.From)
	}
	switch {
	case err == nil:
		a.post(FellBack{})
	case errors.Is(err, errUndecided): // this agent is ending; the next one asks the record
	default:
		a.log.Error("the version before cannot take its place", "version", e.To.Version, "reason", err)
		a.post(FallBackFailed{sentence(err)})
	}
}

package agent

import (
	"cmp"
	"fmt"
	"time"

	"slipstream/stream/orders"
	"slipstream/verify"
)

// returnSlack is what viewers may wait for the old version beyond its own start
// timeout, before the history says that they wait.
const returnSlack = 5 * time.Second

// planOverlap decides how a version overlaps with the one that runs. The first one has
// nothing to overlap with.
func (m *machine) planOverlap(t *Trial) {
	t.Overlap = cmp.Or(t.To.Rules.Overlap, verify.OverlapFull)
	switch {
	case m.Permanent.none():
		t.Overlap = verify.OverlapFull
	case t.Overlap == verify.OverlapFrozen && m.noFreezer != "":
		t.Overlap, t.Unfrozen = verify.OverlapFull, m.noFreezer
	}
	t.Unbegun = t.Overlap == verify.OverlapNone
}

// freeze stops the old version's app where it is, once viewers see the new one. The
// forwarder has had its freezer since its start, and thaws it before it brings viewers
// back; so it never matters for long which of the two hears of the other first.
func (m *machine) freeze() {
	t := &m.Trial
	app := m.Apps[slotIndex(t.From.Slot)]
	if t.Overlap != verify.OverlapFrozen || app.Status != AppRunning {
		return
	}
	t.Frozen = app.Source
	m.do(Freeze{app.Source})
	m.sendOrders()
}

// freezeAgain repeats a freeze that its agent may have died before, now that the
// forwarder says that viewers are still on the new version.
func (m *machine) freezeAgain() {
	if m.Trial.Frozen != "" {
		m.do(Freeze{m.Trial.Frozen})
	}
}

func (m *machine) freezeFailed(e FreezeFailed) {
	t := &m.Trial
	if t.Frozen == "" || e.Source != t.Frozen {
		return
	}
	m.thaw()
	t.Overlap, t.Unfrozen = verify.OverlapFull, e.Error
	m.sendOrders()
}

// thaw lets the old version's app go on. What it missed meanwhile is not held
// against it. The forwarder hears of it by the next orders.
func (m *machine) thaw() {
	source := m.Trial.Frozen
	if source == "" {
		return
	}
	m.Trial.Frozen = ""
	if i := m.slotOf(source); i >= 0 {
		m.Apps[i].lastPing, m.Apps[i].Lost = m.now, nil
	}
	m.do(Thaw{source})
}

// frozen says whether nothing is to be expected of an app.
func (s *State) frozen(app App) bool { return app.Source != "" && app.Source == s.Trial.Frozen }

// slotChecked: the new version is whole, so the old one makes room for it.
func (m *machine) slotChecked(e SlotChecked) {
	t := &m.Trial
	if e.Trial != t.ID || m.Phase != PhaseStarting || !t.Unbegun || t.Clearing {
		return
	}
	if e.Error != "" {
		m.notStarted(e.Damaged, t.To.Slot, CauseStart, "not started: "+e.Error)
		return
	}
	i := slotIndex(t.From.Slot)
	t.Clearing = true
	switch m.Apps[i].Status {
	case AppStopped, AppBackOff:
		m.cleared(i)
		m.startTrial()
	case AppStopping:
	default:
		m.stopApp(t.From.Slot, t.From.Rules.StopTimeout)
	}
}

// clearing says that a slot's app is being ended to make room.
func (m *machine) clearing(slot string) bool {
	return m.Phase == PhaseStarting && m.Trial.Clearing && slot == m.Trial.From.Slot
}

// cleared: nothing of the old version runs any more. Orders go on to name its last
// run, or the forwarder would close its streams with their viewers.
func (m *machine) cleared(i int) {
	app := &m.Apps[i]
	app.Status, app.PID, app.RetryAt, app.StartBy, app.Lost = AppAway, 0, 0, 0, nil
	m.Trial.Clearing = false
}

// startTrial starts the new version's app.
func (m *machine) startTrial() {
	t := &m.Trial
	t.Unbegun = false
	m.do(t.app())
}

// comeBack is reached when the new version's app is gone. An old one that had made
// room is started again, and the trial is over when viewers see it.
func (m *machine) comeBack() {
	t := &m.Trial
	if t.Reboot.Boot != "" && t.Reboot.Boot == m.Boot {
		m.leave()
		return
	}
	if t.From.none() || m.Apps[slotIndex(t.From.Slot)].Status != AppAway {
		m.cameBack()
		return
	}
	m.Apps[slotIndex(t.To.Slot)] = App{}
	t.ReturnBy = m.now + int64(t.From.Rules.StartTimeout+returnSlack)
	m.startPermanent()
}

// returned ends a revert whose viewers waited for the old version.
func (m *machine) returned() {
	if m.Phase == PhaseReverting && m.Trial.ReturnBy > 0 {
		m.cameBack()
	}
}

// judgeReturn gives up waiting, not the old version: that is started again and again
// like any permanent one.
func (m *machine) judgeReturn() {
	t := &m.Trial
	if t.ReturnBy > 0 && m.now >= t.ReturnBy {
		t.Detail += fmt.Sprintf("; viewers still wait for version %s, which was started again", t.From.Version)
		m.cameBack()
	}
}

// forgetRoom: an app that had made room for a trial that is over is a stopped one.
func (m *machine) forgetRoom() {
	for i, app := range m.Apps {
		if app.Status == AppAway && !m.Trial.under() {
			m.Apps[i] = App{Deaths: app.Deaths}
		}
	}
}

// completes says whether a second word on a revert tells what viewers got when the
// old version was back.
func completes(before *orders.Reverted, e orders.Reverted) bool {
	return before != nil && before.Source == "" && e.Source != "" && e.Trial == before.Trial
}

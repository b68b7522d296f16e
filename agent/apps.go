package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"slipstream/stream/orders"
)

const (
	firstBackOff = 100 * time.Millisecond
	maxBackOff   = 5 * time.Second  // within the restart intensity
	longBackOff  = 30 * time.Second // beyond it
)

// nextSource spends a start number: no two runs of an app share one.
func (m *machine) nextSource(slot string) orders.SourceID {
	m.Starts++
	return orders.SourceID(slot + "-" + strconv.FormatInt(m.Starts, 10))
}

// startPermanent starts the permanent version's app, at boot and after a crash.
func (m *machine) startPermanent() {
	slot := m.Permanent.Slot
	app := &m.Apps[slotIndex(slot)]
	if app.Status == AppBackOff && app.LastExit != "" { // not after a power cut
		app.Restarts++
	}
	*app = App{
		Source: m.nextSource(slot), Status: AppStarting, Since: m.wall, Deaths: app.Deaths,
		Restarts: app.Restarts, LastExit: app.LastExit, LastExitAt: app.LastExitAt, Beyond: app.Beyond, Barred: app.Barred,
	}
	m.sendOrders()
	bare := len(app.Deaths) > m.Permanent.Rules.RestartMax
	m.do(StartApp{Slot: slot, Source: app.Source, Role: RolePermanent, Bare: bare})
}

// judgeApp keeps the permanent app running, and every app's watchdog strict.
func (m *machine) judgeApp(i int) {
	app, slot := &m.Apps[i], slotNames[i]
	if m.restarts(slot) && (app.Status == AppStopped || app.Status == AppBackOff && m.now >= app.RetryAt) {
		m.startPermanent()
		return
	}
	if m.restarts(slot) && app.Status == AppStarting && app.StartBy > 0 && m.now >= app.StartBy {
		m.endPermanent(slot, 0, fmt.Sprintf("ended because it was not ready within %v", m.rules(slot).StartTimeout))
		return
	}
	m.settled(app, m.rules(slot))
	limit := app.period(m.rules(slot).Watchdog)
	if app.Status != AppRunning || limit == 0 || m.frozen(*app) {
		return
	}
	if app.lastPing == 0 {
		app.lastPing = m.now
	}
	if m.now-app.lastPing >= int64(limit) {
		app.lastPing = m.now // a verdict once a period
		m.watchdog(slot, "no WATCHDOG=1 for "+limit.String())
	}
}

// period is how often an app must feed its watchdog: as often as its manifest says, or
// as it says itself, if that is more often.
func (a App) period(limit time.Duration) time.Duration {
	if limit == 0 || a.Period > 0 && a.Period < limit {
		return a.Period
	}
	return limit
}

// watchdog: a trial ends, a permanent app is killed and so restarted.
func (m *machine) watchdog(slot, detail string) {
	switch {
	case m.Trial.under() && slot == m.Trial.To.Slot:
		if m.open() {
			m.revert(CauseWatchdog, detail)
		}
	case slot == m.Permanent.Slot:
		m.endPermanent(slot, 0, "ended because it did not feed its watchdog")
	}
}

// endPermanent ends a permanent app that does not do its work. Its end counts as a
// death, so it is started anew.
func (m *machine) endPermanent(slot string, grace time.Duration, why string) {
	m.Apps[slotIndex(slot)].ended = why
	m.stopApp(slot, grace)
}

// appStarted: from here on start timeout and deadline count. The orders go out
// again because now there is a pidfd to send along.
func (m *machine) appStarted(e AppStarted) {
	i := m.slotOf(e.Source)
	if i < 0 {
		m.do(StopApp{Source: e.Source}) // its trial was over before it was born
		return
	}
	app := &m.Apps[i]
	app.PID, app.Born = e.PID, e.At
	if slotNames[i] == m.Permanent.Slot {
		m.Damage = ""
		if limit := m.Permanent.Rules.StartTimeout; limit > 0 {
			app.StartBy, app.StartLimit = e.At+int64(limit), e.At+int64(m.Permanent.Rules.Deadline)
		}
	}
	if t := &m.Trial; e.Source == t.Source && m.Phase == PhaseStarting && !t.Started {
		t.Started = true
		t.StartBy = e.At + int64(t.To.Rules.StartTimeout)
		if !m.systemTrial() && !m.runtimeTrial() { // else it counts from the reboot, or from their take-over
			t.Deadline = e.At + int64(t.To.Rules.Deadline)
		}
	}
	m.sendOrders()
	if m.rules(slotNames[i]).Silent {
		m.appReady(AppReady{e.Source})
	}
}

// appKnown: orders go out again because now there is a pidfd to send along.
func (m *machine) appKnown(e AppKnown) {
	if i := m.slotOf(e.Source); i >= 0 {
		m.Apps[i].PID = e.PID
		m.sendOrders()
	}
}

// appReady arms the trial: from now on the forwarder switches by itself, and
// reverts by itself.
func (m *machine) appReady(e AppReady) {
	i := m.slotOf(e.Source)
	if i < 0 || m.Apps[i].Status != AppStarting {
		return
	}
	m.Apps[i].Status, m.Apps[i].lastPing = AppRunning, m.now
	if t := &m.Trial; e.Source == t.Source && m.Phase == PhaseStarting && t.Started && !t.Armed {
		t.Armed = true
		m.sendOrders()
	}
}

func (m *machine) appAlive(e AppAlive) {
	if i := m.slotOf(e.Source); i >= 0 {
		m.Apps[i].lastPing = m.now
	}
}

// appHung: an app that says so itself is not waited for.
func (m *machine) appHung(e AppHung) {
	if i := m.slotOf(e.Source); i >= 0 && m.Apps[i].Status == AppRunning {
		m.watchdog(slotNames[i], "it said WATCHDOG=trigger")
	}
}

func (m *machine) appPeriod(e AppPeriod) {
	if i := m.slotOf(e.Source); i >= 0 {
		m.Apps[i].Period, m.Apps[i].lastPing = e.Period, m.now
	}
}

// appExtends gives more time to start, but never past a trial's deadline; outside of
// trials as if it were on one.
func (m *machine) appExtends(e AppExtends) {
	i := m.slotOf(e.Source)
	if i < 0 || m.Apps[i].Status != AppStarting {
		return
	}
	until := m.now + int64(e.For)
	if t := &m.Trial; e.Source == t.Source && m.Phase == PhaseStarting && t.Started {
		t.StartBy = max(t.StartBy, min(until, t.Deadline))
	} else if app := &m.Apps[i]; app.StartBy > 0 {
		app.StartBy = max(app.StartBy, min(until, app.StartLimit))
	}
}

// appExited is the end of one run of an app, for whatever reason.
func (m *machine) appExited(e AppExited) {
	i := m.slotOf(e.Source)
	if i < 0 || m.Apps[i].Status == AppBackOff || m.Apps[i].Status == AppAway {
		return
	}
	if e.Source == m.Trial.Frozen {
		m.Trial.Frozen = ""
	}
	switch slot := slotNames[i]; {
	case m.Trial.under() && slot == m.Trial.To.Slot:
		m.trialExited(i, e)
	case m.clearing(slot):
		m.cleared(i)
		m.startTrial()
	case slot == m.Permanent.Slot:
		if m.Apps[i].Status == AppStopping { // nobody else stops it
			e.Detail = cmp.Or(m.Apps[i].ended, "it was told to end")
		}
		m.backOff(i, e)
		if e.Damaged {
			m.permanentDamaged(e)
			return
		}
		m.escalate(i, e)
	default:
		m.Apps[i] = App{}
		if slot == m.Retiring {
			m.Retiring = ""
		}
		m.sendOrders()
		m.beginStaging()
	}
}

// deaths are causes by which the forwarder sees an app's end; it cannot see why.
var deaths = []string{orders.CauseExit, orders.CauseEOF, orders.CauseStall}

// trialExited: before the commit point the end of the new version's process is
// the end of the trial.
func (m *machine) trialExited(i int, e AppExited) {
	t := &m.Trial
	cause, detail := orders.CauseExit, e.Detail
	switch {
	case e.Damaged && !t.Rehearsal && m.open():
		t.Spoilt = t.To.Slot
		cause, detail = CauseDamaged, damagedDetail(t.To, detail)
	case e.Unborn:
		cause = CauseStart
	case e.OOM:
		cause = CauseOOM
	}
	asked := m.Apps[i].Status == AppStopping && !e.Unasked
	if asked && !e.OOM && t.Cause != orders.CauseExit {
		detail = "when it was told to stop: " + detail
	}
	t.Gone = true
	t.Evidence = append([]string{detail}, e.Evidence[max(0, len(e.Evidence)-maxEvidence):]...)
	m.Apps[i].PID = 0
	switch m.Phase {
	case PhaseStarting, PhaseTrial, PhaseHolding:
		m.revert(cause, detail)
	case PhaseReverting:
		if t.Cause == orders.CauseExit {
			t.Detail = detail
		}
		if e.OOM && slices.Contains(deaths, t.Cause) {
			t.Cause, t.Detail = CauseOOM, detail
		}
		if t.Back {
			m.comeBack()
		}
	case PhaseCommitting, PhaseSettling:
		m.thaw() // viewers are back on the old version until then
		// Too late to revert. The new version is restarted like any permanent one,
		// unless the record turns out not to be written.
		if t.Cause == "" {
			t.Cause, t.Detail = cause, detail
		}
		e.Detail = detail
		m.backOff(i, e)
	}
}

// backOff plans the restart of a dead app: soon at first, and ever later. Beyond
// the manifest's restart intensity it is still tried, at long intervals.
func (m *machine) backOff(i int, e AppExited) {
	app, rules := &m.Apps[i], m.rules(slotNames[i])
	deaths := slices.DeleteFunc(slices.Clone(app.Deaths), func(at int64) bool {
		return at <= m.now-int64(rules.RestartWindow) || at > m.now // of another boot
	})
	deaths = append(deaths, m.now)
	m.beyond(i, len(deaths), e)
	delay := longBackOff
	if n := len(deaths); n <= rules.RestartMax {
		delay = min(firstBackOff<<min(n-1, 10), maxBackOff)
	}
	deaths = deaths[max(0, len(deaths)-rules.RestartMax-1):]
	app.Status, app.PID, app.Deaths, app.RetryAt = AppBackOff, 0, deaths, m.now+int64(delay)
	app.Since, app.LastExit, app.LastExitAt, app.Born = m.wall, e.Detail, m.wall, 0
}

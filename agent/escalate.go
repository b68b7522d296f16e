package agent

import (
	"fmt"
	"time"

	"slipstream/verify"
)

// A permanent app that keeps ending is restarted, then restarted at long intervals and
// without what was handed over to it. If it still ends, the version before comes back by
// itself, or else the system before, if that is not a way to bring an old version back by
// crashing the new one: within FallbackFor of the commit, with the same security epoch, above
// all floors. It is a trial like any other, so that of two versions that both end the
// permanent one stays; and each of them is left once and not again.

const (
	// FallbackFor is how young a commit must be for the device to undo it by itself, if
	// neither the manifest nor the configuration says less.
	FallbackFor = 24 * time.Hour
	// escalateAfter is how many deaths beyond the restart intensity are too many: the
	// first one is followed by a start without what was handed over.
	escalateAfter = 2
	// returnTries bounds how often the device begins to return by itself from one commit: an
	// attempt that is cut short by a power cut is no fault of the version before.
	returnTries = 3
	// systemEvery is how long the device has to run before it starts the other system by
	// itself once more. It is no less than FallbackFor: one commit of a system is left once.
	systemEvery = 24 * time.Hour
	// settledFor is how long an app has to run at least to count as one that does not
	// keep ending.
	settledFor = time.Minute
)

// fallbackBound is how young a commit must be; 0: the device does not return by itself.
type fallbackBound = time.Duration

// settles says how long a version's app has to run.
func (r Rules) settles() int64 { return int64(max(r.RestartWindow, settledFor)) }

// beyond counts how often an app has ended beyond its restart intensity without having
// run for long in between. It is called before a death is added to the others.
func (m *machine) beyond(i int, deaths int, e AppExited) {
	app, rules := &m.Apps[i], m.rules(slotNames[i])
	switch {
	case app.Born > 0 && app.Born <= m.now && m.now-app.Born >= rules.settles():
		app.Beyond, app.Barred = 0, ""
	case deaths > rules.RestartMax && !e.Unborn: // what was never started has not ended
		app.Beyond++
	}
}

// settled forgets an app's deaths once it runs.
func (m *machine) settled(app *App, rules Rules) {
	if app.Beyond > 0 && app.Status == AppRunning && app.Born > 0 && m.now-app.Born >= rules.settles() {
		app.Beyond, app.Barred = 0, ""
	}
}

// escalate follows a death of the permanent app that restarting does not help against.
func (m *machine) escalate(i int, e AppExited) {
	app := &m.Apps[i]
	if app.Beyond < escalateAfter || e.Back == nil {
		return
	}
	if !m.resting() || m.replace.under {
		return // it ends again, or it does not
	}
	detail := fmt.Sprintf("version %s kept ending: %s", m.Permanent.Version, app.LastExit)
	to, whyNot := m.fallback(verify.ClassLive, *e.Back)
	if whyNot == "" {
		if m.Apps[slotIndex(to.Slot)].Status != AppStopped {
			m.retire() // viewers may still see it, in a run that nothing watches over
			return
		}
		m.Commits.Live.Tries++
		m.goBack(to, CauseCrashing, detail, e.Evidence)
		return
	}
	system, whySystem := m.fallback(verify.ClassSystem, *e.Back)
	if whySystem == "" {
		m.Escalated = Age{Boot: m.Boot, Mark: m.now, Wall: m.wall}
		m.Commits.System.Tries++
		m.goBack(system, CauseCrashing, detail, e.Evidence)
		return
	}
	app.Barred = whyNot
	if e.Back.System.Version.Digest+e.Back.System.Why != "" {
		app.Barred += "; nor to the system before: " + whySystem
	}
}

// cutShort gives the day's attempt back that a power cut has ended, which says nothing of the
// system before. There are no more than returnTries of them.
func (m *machine) cutShort(t Trial) {
	if t.Return == CauseCrashing && t.To.System.Slot != "" && t.Cause == CausePower {
		m.Escalated = Age{}
	}
}

// fallback is the version of a class that the device may return to by itself, or why it
// may not.
func (m *machine) fallback(class string, r Returns) (to Version, whyNot string) {
	c, known := m.current(class)
	to, _, whyNot = m.wayBack(class, r)
	left := "version " + m.Permanent.Version
	if class == verify.ClassSystem {
		left = "system " + m.System.Permanent.Version
	}
	switch {
	case whyNot != "":
		return Version{}, whyNot
	case to.Digest == "":
		return Version{}, "there is none"
	case !known:
		return Version{}, fmt.Sprintf("it is not known for how long %s has been permanent", left)
	case c.Back:
		return Version{}, fmt.Sprintf("the device has returned to %s from there", left)
	case m.forbidden(to, false):
		return Version{}, m.triedBefore(to)
	case c.Tries >= returnTries:
		return Version{}, fmt.Sprintf("%d attempts were cut short", c.Tries)
	case r.Bound == 0:
		return Version{}, "its manifest or the configuration says so"
	case c.Age.most(m.now, m.wall) >= r.Bound:
		return Version{}, fmt.Sprintf("%s may have been permanent for longer than %v", left, r.Bound)
	case class == verify.ClassSystem && m.Escalated.known() && m.Escalated.least(m.now) < systemEvery:
		return Version{}, "another system was started for that within a day"
	}
	if to.Rules.Greenlight == verify.GreenlightOperator {
		to.Rules.Greenlight = verify.GreenlightAuto // an operator has given it before, and is not here now
	}
	return to, ""
}

// grow lets the ages of what matters while it is young grow in the journal.
func (m *machine) grow() {
	for _, a := range m.ages() {
		if a.Boot != m.Boot || a.young() {
			*a = a.passed(m.Boot, m.now)
		}
	}
}

// ages are those by which it is judged what the device does by itself.
func (s *State) ages() []*Age {
	return []*Age{&s.Commits.Live.Age, &s.Commits.System.Age, &s.Escalated}
}

// young says that it still matters how old it is.
func (a Age) young() bool { return a.known() && a.Lived < int64(max(FallbackFor, systemEvery)) }

// grown is when the next age is to be kept.
func (s *State) grown() (at int64) {
	for _, a := range s.ages() {
		if next := a.Mark + int64(ageStep); a.young() && a.Boot == s.Boot && (at == 0 || next < at) {
			at = next
		}
	}
	return at
}

// barredProblem tells a technician of an app that keeps ending, and why the version before
// does not come back by itself.
func barredProblem(s State) string {
	app := s.Apps[slotIndex(s.Permanent.Slot)]
	if s.Permanent.none() || app.Barred == "" || s.Trial.under() {
		return ""
	}
	return fmt.Sprintf("version %s keeps ending (%s) and is started again every %v; the device does not return by itself to the version before: %s; "+
		"install a newer version, or: slipstream revert", s.Permanent.Version, app.LastExit, longBackOff, app.Barred)
}

// fallbackBound is what the manifest of the permanent version and the configuration say;
// the less of the two holds.
func (a *Agent) fallbackBound() fallbackBound {
	bound := FallbackFor
	if m, err := a.knownManifest(a.state.Permanent.Slot); err == nil && m.App.FallbackForMS != nil {
		bound = min(bound, milliseconds(*m.App.FallbackForMS))
	}
	if own := a.cfg.Apps.FallbackMinutes; own != nil {
		bound = min(bound, time.Duration(*own)*time.Minute)
	}
	return bound
}

// withReturns adds to the end of a permanent app that keeps ending what the device could
// return to.
func (a *Agent) withReturns(e AppExited) AppExited {
	i := slotIndex(a.state.Permanent.Slot)
	if app := a.state.Apps[i]; app.Source == e.Source && app.Beyond+1 >= escalateAfter && a.state.resting() {
		found := a.returns()
		e.Back = &found
	}
	return e
}

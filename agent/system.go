package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"slipstream/stream/orders"
	"slipstream/verify"
)

// rebootEvery is how often a reboot that does not come is asked for again.
const rebootEvery = time.Minute

// Part is a package's image for a system slot.
type Part struct {
	Slot    string `json:"slot,omitempty"` // "" until it is staged
	Digest  string `json:"digest"`         // of the package
	Image   string `json:"image"`          // SHA-256 of the image
	Version string `json:"version"`
	Counter int64  `json:"counter"`
	BuiltIn bool   `json:"builtIn,omitempty"` // no package's: the programs that came with the system
}

func (p Part) none() bool { return p.Image == "" && p.Digest == "" && !p.BuiltIn }

// System is what is known of the system slots.
type System struct {
	Running   string `json:"running,omitempty"` // slot that runs; "" on a device without system slots
	Permanent Part   `json:"permanent,omitzero"`
	Sent      string `json:"sent,omitempty"`   // permanent slot that a reboot was asked for, and that has not run since
	SentIn    string `json:"sentIn,omitempty"` // id of the boot in which it was
}

// Reboot is how far the reboots of a trial have come.
type Reboot struct {
	Times   int       `json:"times"`             // how many there were, or are asked for
	Left    int64     `json:"left,omitempty"`    // ns of the deadline when the first one was asked for; 0: not known
	Asked   time.Time `json:"asked,omitzero"`    // the first one, by the wall clock
	Again   int64     `json:"again,omitempty"`   // when it is asked for once more
	Boot    string    `json:"boot,omitempty"`    // id of the boot in which the new system came up
	Leaving bool      `json:"leaving,omitempty"` // the old system is to be started
}

// hasLive says whether a version brings an app.
func (v Version) hasLive() bool { return v.Image != "" }

// app is what a version is in its live slot: the system that came with it has a life
// of its own.
func (v Version) app() Version {
	v.System, v.Runtime = Part{}, Part{}
	return v
}

// spareSystem is the system slot that may be written: never the one that runs.
func (s State) spareSystem() string {
	if s.System.Running == slotNames[0] {
		return slotNames[1]
	}
	return slotNames[0]
}

// systemTrial says whether the trial under way is of a system, alone or with its app.
func (s State) systemTrial() bool { return s.Trial.To.System.Slot != "" }

// staged is the version that the next trial is of. A package of an app alone is
// known by its slot.
func (s State) staged() Version {
	if s.Package.Digest != "" {
		return s.Package
	}
	return s.Spare
}

// lacks says why a version cannot be tried beside what is permanent in the system
// slots; "": it can.
func (m *machine) lacks(v Version) (code, sentence string) {
	sys := m.System
	switch {
	case !v.System.none() && sys.Running == "":
		return CodeSystem, fmt.Sprintf("version %s brings a system, and it is not known which system slot runs: slipstream status says more", v.Version)
	case sys.Running != "" && sys.Permanent.Slot != "" && sys.Running != sys.Permanent.Slot:
		return CodeSystem, fmt.Sprintf("system slot %s runs, although %s is the permanent one: start the device anew; "+
			"if that does not help, system slot %s is damaged", sys.Running, sys.Permanent.Slot, sys.Permanent.Slot)
	case v.System.none() && v.Requires.System > sys.Permanent.Counter:
		return CodeRequires, fmt.Sprintf("version %s requires a system of release %d or later, this device has release %d: install that first",
			v.Version, v.Requires.System, sys.Permanent.Counter)
	}
	return m.lacksRuntime(v)
}

// beginSystem begins the trial of a package with a system. Nothing of it is started
// before that runs.
func (m *machine) beginSystem(to Version) {
	m.Trials++
	t := Trial{
		ID: trialID(m.Trials), From: m.Permanent, To: to, Began: m.wall, Deadline: m.now + int64(to.Rules.Deadline), Unbegun: true,
	}
	if to.Slot == "" {
		t.From = Version{Version: m.System.Permanent.Version, System: m.System.Permanent}
		t.Unbegun, t.Gone = false, true // there is no app
	}
	if !to.Runtime.none() {
		t.From.Runtime = m.ownPrograms()
	}
	m.Trial, m.Phase, m.Package = t, PhaseArming, Version{}
	m.do(TryBoot{Trial: t.ID, System: to.System})
}

// bootTried: the next boot starts the new system, and only that one.
func (m *machine) bootTried(e BootTried) {
	if e.Trial != m.Trial.ID || m.Phase != PhaseArming || m.changesPrograms() {
		return
	}
	if e.Error != "" {
		m.notStarted(e.Damaged, systemName(m.Trial.To.System.Slot), CauseBoot, e.Error)
		return
	}
	m.Phase = PhaseRebooting
	m.Trial.Reboot.Times, m.Trial.Reboot.Asked = 1, m.wall
	m.reboot()
}

// reboot asks for it, and is asked again if it does not come.
func (m *machine) reboot() {
	t := &m.Trial
	t.Reboot.Again = m.now + int64(rebootEvery)
	if m.Phase == PhaseRebooting {
		t.Reboot.Left = max(1, t.Deadline-m.now)
	}
	// A new system that has just come up has spent its try: it may be left even if
	// the journal cannot be written, because the next boot is not its again.
	m.do(Restart{Journalled: t.Reboot.Boot != m.Boot})
}

// judgeReboot waits for the end that every reboot is.
func (m *machine) judgeReboot() {
	t := &m.Trial
	switch {
	case m.Phase != PhaseReverting && m.changesPrograms():
		m.judgeRenewing()
	case m.Phase != PhaseReverting && m.now >= t.Deadline:
		m.revert(orders.CauseDeadline, fmt.Sprintf("the device was not started anew within %v", t.To.Rules.Deadline))
	case t.Reboot.Again > 0 && m.now >= t.Reboot.Again:
		m.reboot()
	}
}

// leave goes back to the old system. The trial is over when that runs.
func (m *machine) leave() {
	t := &m.Trial
	if t.To.Slot != "" {
		m.Apps[slotIndex(t.To.Slot)] = App{}
		m.sendOrders()
	}
	if !t.Reboot.Leaving {
		t.Reboot.Leaving = true
		t.Reboot.Times++
	}
	m.do(CancelBoot{})
	m.reboot()
}

// cameUp is the first start of the agent in the new system. What was left of the
// deadline when the reboot was asked for goes on from the start of its kernel: no clock
// that is the same before and after can be trusted, so the way between is not counted.
func (m *machine) cameUp(up int64) {
	t := &m.Trial
	t.Reboot.Boot, t.Reboot.Again, t.Forgotten = m.Boot, 0, false
	left := cmp.Or(t.Reboot.Left, int64(t.To.Rules.Deadline)) // an older agent kept none
	t.Deadline = m.now - up + left
	if m.runtimeTrial() { // the programs of before have come up with it
		m.tryPrograms()
		return
	}
	m.do(WatchMarker{t.ID})
	if t.To.Slot == "" {
		m.Phase = PhaseTrial
		return
	}
	m.Phase = PhaseStarting
	t.Source, t.StartBy = m.nextSource(t.To.Slot), m.now+int64(prepareLimit)
	m.planOverlap(t)
	if t.Overlap == verify.OverlapNone { // nothing runs that would have to make room
		m.Apps[slotIndex(t.From.Slot)] = App{Status: AppAway}
	}
	m.Apps[slotIndex(t.To.Slot)] = App{Source: t.Source, Status: AppStarting, Since: m.wall}
	m.sendOrders()
	m.startTrial()
}

// agree brings the boot loader into agreement with the record, if no trial is about
// what it says.
func (m *machine) agree() {
	e := AgreeBoot{m.System.Permanent.Slot}
	if m.System.Running != "" && e.Slot != "" && !m.systemTrial() && !slices.Contains(m.effects, Effect(e)) {
		m.do(e)
	}
}

// agreeAfter follows a trial that is over, whatever became of cancelling, and does
// what waited for its end.
func (m *machine) agreeAfter(t Trial) {
	if t.To.System.Slot != "" || m.System.Running != m.System.Permanent.Slot {
		m.agree()
	}
}

// bootAgrees: the next boot starts the permanent system. If another one runs, it was
// between the record and the boot loader that the power failed, or the permanent one
// could not be loaded. A second reboot would not help against that.
func (m *machine) bootAgrees(e BootAgrees) {
	s := &m.System
	tried := s.Sent == s.Permanent.Slot && s.SentIn != m.Boot
	if e.Slot != s.Permanent.Slot || m.Trial.under() || s.Running == s.Permanent.Slot || tried {
		return
	}
	s.Sent, s.SentIn = s.Permanent.Slot, m.Boot
	m.do(Restart{Journalled: true})
}

// recoverSystem goes on with a trial of a system, unless it goes on like any other.
func (m *machine) recoverSystem(e Recover, sameBoot bool) (done bool) {
	t := &m.Trial
	committed := m.System.Permanent.Slot == t.To.System.Slot && m.System.Permanent.Digest == t.To.System.Digest
	switch {
	case committed && (!sameBoot || t.To.Slot == ""):
		m.replace.wanted = e.Outdated
		m.finishSystem()
	case committed:
		m.do(AgreeBoot{t.To.System.Slot})
		return false
	case !sameBoot:
		m.rebooted(e.Up)
	case m.Phase == PhaseArming && t.Reboot.Boot == "":
		m.do(TryBoot{Trial: t.ID, System: t.To.System})
	case m.Phase == PhaseRebooting:
		m.reboot()
	case t.Reboot.Leaving:
		m.leave()
	case t.To.Slot != "" || m.runtimeTrial():
		return false
	case m.Phase == PhaseReverting:
		m.revert(t.Cause, t.Detail)
	default: // the record was not written
		m.Phase, t.SoakEnds = PhaseTrial, 0
		t.Deadline = min(t.Deadline, m.now+int64(t.To.Rules.Deadline))
		m.do(WatchMarker{t.ID})
	}
	return true
}

// rebooted: the device was started anew in a trial, once as it was to be, or by
// whatever else.
func (m *machine) rebooted(up int64) {
	t := &m.Trial
	came := m.System.Running == t.To.System.Slot
	before := m.Phase
	if came && t.Reboot.Boot == "" && (before == PhaseArming || before == PhaseRebooting) {
		m.cameUp(up)
		return
	}
	t.Back, t.Gone = true, true
	cause, detail := CausePower, "the device was started anew during the trial"
	if before == PhaseRebooting {
		cause = CauseBoot
		detail = fmt.Sprintf("system slot %s did not come up, and the boot loader started slot %s again", t.To.System.Slot, m.System.Running)
	}
	if came && before != PhaseReverting { // against all agreements, but so it is
		t.Cause, t.Detail, m.Phase = cause, detail, PhaseReverting
		m.leave()
		return
	}
	m.lost(cause, detail)
}

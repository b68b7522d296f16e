package agent

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

const (
	lease        = 2 * time.Second        // the forwarder reverts so long after the newest hold
	askEvery     = 500 * time.Millisecond // hold is renewed, and an unanswered request repeated
	maxHoldAsks  = 4                      // a hold without an answer for a whole lease is none
	maxAsks      = 10                     // a forwarder that is silent for longer is restarted
	backstop     = time.Second            // the agent ends a trial so long after the forwarder should have
	prepareLimit = 10 * time.Minute       // verifying the slot before its app is started
	revertGrace  = time.Second            // a reverted app gets no more time to say goodbye
	lastWords    = 150 * time.Millisecond // an app that closed its streams mostly ends by itself, and says why
)

// Step is the whole upgrade: no I/O, no clock, no randomness. The runner commits
// the returned State to the journal before it performs any Effect, so a power cut
// between the two repeats an effect and never skips one. Effects are idempotent.
func Step(s State, e Event) (State, []Effect) {
	m := &machine{State: s, now: e.Now, wall: e.Wall}
	m.take(e.What)
	m.judge()
	return m.State, m.effects
}

// machine is one Step under way: a copy of the state, and the effects so far.
type machine struct {
	State
	now     int64
	wall    time.Time
	effects []Effect
}

func (m *machine) do(e ...Effect) { m.effects = append(m.effects, e...) }

func (m *machine) take(what any) {
	switch e := what.(type) {
	case Recover:
		m.recover(e)
	case Tick: // judge does all that time asks for

	case StageAsked:
		m.stageAsked(e)
	case StageDone:
		m.stageDone(e)
	case PackageRefused:
		m.refused(e.To, "", e.Code, e.Message)
		m.answer(e.Req, control.ExitRefused, e.Code, "%s", e.Message)
	case CancelAsked:
		m.cancelAsked(e)
	case ClearAsked:
		m.clearAsked(e)
	case SlotsCleared:
		m.slotsCleared(e)
	case ActivateAsked:
		m.activateAsked(e)
	case GreenlightAsked:
		m.greenlightAsked(e)
	case RevertAsked:
		m.revertAsked(e)
	case RehearseAsked:
		m.rehearseAsked(e)

	case RuntimeTried:
		m.runtimeTried(e)
	case ForwarderReturned:
		m.forwarderReturned(e)
	case Reached:
		m.face.reached = true
	case GatewaySeen:
		m.face.gateway, m.face.gone = e.Down == "", e.Down

	case BootTried:
		m.bootTried(e)
	case BootAgrees:
		m.bootAgrees(e)

	case SlotChecked:
		m.slotChecked(e)
	case FreezeFailed:
		m.freezeFailed(e)
	case AppStarted:
		m.appStarted(e)
	case AppKnown:
		m.appKnown(e)
	case AppReady:
		m.appReady(e)
	case AppAlive:
		m.appAlive(e)
	case AppHung:
		m.appHung(e)
	case AppPeriod:
		m.appPeriod(e)
	case AppExtends:
		m.appExtends(e)
	case AppExited:
		m.appExited(e)

	case MarkerSeen:
		m.markerSeen(e)
	case MarkerFailed:
		m.markerFailed(e)

	case ChecksSeen:
		m.checksSeen(e)
	case ForwarderConnected:
		m.forwarderConnected()
	case ForwarderLost:
		m.forwarderLost(e)
	case ForwarderStatus:
		m.forwarderStatus(e)
	case ReplaceAsked:
		m.replaceAsked(e)
	case ForwarderReplaced:
		m.forwarderReplaced(e)
	case LineLost:
		m.lineLost(e)
	case LinesSeen:
		m.linesSeen(e)
	case TookOver:
		m.tookOver(e.Switched)
	case TrialReverted:
		m.trialReverted(e.Reverted)
	case Held:
		m.held(e)
	case HoldWaits:
		m.holdWaits(e)
	case RecordWritten:
		m.recordWritten(e)
	case RecordFailed:
		m.recordFailed(e)
	case FellBack:
		m.fellBack()
	case FallBackFailed:
		m.fallBackFailed(e)
	case Settled:
		if e.Trial == m.Trial.ID && m.Phase == PhaseSettling {
			m.finishCommit()
		}
	default:
		panic(fmt.Sprintf("agent: unknown event %T", what))
	}
}

// judge does what follows from the state and the time alone, after every event.
func (m *machine) judge() {
	m.grow()
	for i := range m.Apps {
		m.judgeApp(i)
	}
	m.judgeForwarder()
	switch m.Phase {
	case PhaseArming, PhaseRebooting:
		m.judgeReboot()
	case PhaseRenewing:
		m.judgeRenewing()
	case PhaseStarting, PhaseTrial:
		m.judgeTrial()
	case PhaseHolding, PhaseCommitting, PhaseSettling, PhaseReverting:
		if at := m.Trial.askAt; at > 0 && m.now >= at {
			m.askAgain()
		}
		m.judgeReturn()
		if m.Trial.Reboot.Leaving {
			m.judgeReboot()
		}
	}
}

// open says that the trial under way may still end either way.
func (m *machine) open() bool {
	return m.Phase == PhaseStarting || m.Phase == PhaseTrial || m.Phase == PhaseHolding
}

// begin starts the trial of the staged version.
func (m *machine) begin() {
	switch to := m.staged(); {
	case !to.System.none():
		m.beginSystem(to)
		return
	case !to.Runtime.none():
		m.beginRuntime(to)
		return
	}
	m.beginLive(m.Spare)
}

// beginLive begins the trial of an app alone.
func (m *machine) beginLive(to Version) {
	m.Trials++
	m.start(Trial{
		ID:       trialID(m.Trials),
		From:     m.Permanent,
		To:       to,
		Source:   m.nextSource(to.Slot),
		Began:    m.wall,
		StartBy:  m.now + int64(prepareLimit),
		Deadline: m.now + int64(prepareLimit) + int64(to.Rules.Deadline),
	})
}

// start begins a trial: first the socket on which its app will publish, then the app.
func (m *machine) start(t Trial) {
	m.planOverlap(&t)
	m.Trial, m.Phase = t, PhaseStarting
	m.Apps[slotIndex(t.To.Slot)] = App{Source: t.Source, Status: AppStarting, Since: m.wall}
	m.do(WatchMarker{t.ID})
	m.sendOrders()
	if t.Unbegun {
		m.do(CheckSlot{Trial: t.ID, Version: t.content()}) // the old version makes room for one that can run only
		return
	}
	m.startTrial()
}

func trialID(n int64) orders.TrialID { return orders.TrialID("t" + strconv.FormatInt(n, 10)) }

// judgeTrial lets silence revert, and asks for the right to commit once marker,
// soak and invariants agree. An invariant that fails ends the trial at once, so
// here all of them hold.
func (m *machine) judgeTrial() {
	t := &m.Trial
	switch {
	case t.To.Slot == "":
		m.judgeSystemTrial()
	case !t.Armed && m.now >= t.StartBy:
		m.revert(CauseStart, fmt.Sprintf("not ready within %v", t.To.Rules.StartTimeout))
	case m.now >= t.giveUp():
		m.revert(orders.CauseDeadline, m.lateness())
	case m.Phase == PhaseStarting && m.now >= t.StartBy:
		m.judgeLate()
	case m.rehearsed():
		m.revert(CauseRehearsal, "viewers saw a second copy of it, and are to come back")
	case m.Phase == PhaseTrial && !m.soaks(): // the programs beside it are not proven
	case m.Phase == PhaseTrial && m.now >= t.SoakEnds:
		if t.To.Rules.Greenlight == verify.GreenlightAuto {
			t.Latched = true
		}
		if t.Latched && t.checked() {
			m.enter(PhaseHolding)
		}
	}
}

// judgeLate: the start timeout is over and viewers were not heard to have come
// over. The forwarder is asked first, because its report may have been lost, and
// because it knows which picture is missing.
func (m *machine) judgeLate() {
	t := &m.Trial
	switch {
	case t.lateBy == 0:
		t.lateBy = m.now + int64(backstop)
		m.do(AskStatus{})
	case m.now >= t.lateBy:
		m.late(nil)
	}
}

// late ends a trial that viewers never saw.
func (m *machine) late(missing []string) {
	what := "it did not take over the streams"
	if len(missing) > 0 {
		what = "no key frame came of stream " + strings.Join(missing, " and of stream ")
	}
	m.revert(CauseStart, fmt.Sprintf("%s within %v", what, m.Trial.To.Rules.StartTimeout))
}

// enter goes to a phase that begins with a request to the forwarder.
func (m *machine) enter(p Phase) {
	m.Phase, m.Trial.asked = p, 0
	m.ask()
}

// ask sends the phase's request. All of them may be repeated.
func (m *machine) ask() {
	t := &m.Trial
	t.askAt = m.now + int64(askEvery)
	switch m.Phase {
	case PhaseHolding, PhaseCommitting:
		m.do(Hold{t.ID})
	case PhaseSettling:
		m.do(Settle{Trial: t.ID, Source: t.Source})
	case PhaseReverting:
		m.do(RevertTrial{Trial: t.ID, Reason: t.Cause})
	}
}

// askAgain renews a hold or repeats what got no answer. Repetitions are counted
// and not timed, because an agent that was stopped for a minute would else take
// its own absence for the forwarder's.
func (m *machine) askAgain() {
	t := &m.Trial
	t.asked++
	switch {
	case m.Phase == PhaseHolding && t.asked >= maxHoldAsks:
		m.revert(CauseForwarder, "the forwarder did not answer when asked to hold")
		return
	case (m.Phase == PhaseSettling || m.Phase == PhaseReverting) && t.asked >= maxAsks:
		t.asked = 0
		m.do(RestartForwarder{})
	}
	m.ask()
}

// held passes on to the commit point. In the committing phase it only says that
// the lease was renewed.
func (m *machine) held(e Held) {
	t := &m.Trial
	if e.Trial != t.ID || m.Phase != PhaseHolding && m.Phase != PhaseCommitting {
		return
	}
	t.asked = 0
	if m.Phase == PhaseHolding {
		m.Phase, t.Verdicts = PhaseCommitting, e.Verdicts
		m.do(WriteRecord{Trial: t.ID, Version: t.To, Previous: t.From})
	}
}

// holdWaits: the forwarder lives and answers, so it is asked for as long as the trial
// stands.
func (m *machine) holdWaits(e HoldWaits) {
	if e.Trial == m.Trial.ID && m.Phase == PhaseHolding {
		m.Trial.asked = 0
	}
}

// recordWritten: the new version is the permanent one, whatever happens now.
func (m *machine) recordWritten(e RecordWritten) {
	if e.Trial != m.Trial.ID || m.Phase != PhaseCommitting {
		return
	}
	if m.systemTrial() {
		m.systemWritten()
	}
	if m.runtimeTrial() {
		m.runtimeWritten()
	}
	if m.Trial.To.Slot == "" {
		m.finishSystem()
		return
	}
	m.Permanent, m.Previous, m.Damage = m.Trial.To.app(), m.Trial.From.app(), ""
	if m.Trial.Forgotten {
		m.sendOrders()
	}
	m.enter(PhaseSettling)
}

// recordFailed: the commit point was not passed, so the trial ends. If the
// forwarder or the app ended it meanwhile, that is the cause.
func (m *machine) recordFailed(e RecordFailed) {
	t := &m.Trial
	if e.Trial != t.ID || m.Phase != PhaseCommitting {
		return
	}
	m.revert(cmp.Or(t.Cause, CauseRecord), cmp.Or(t.Detail, e.Error))
}

// finishCommit is reached when viewers are on the new version for good. Only now
// may the old app stop.
func (m *machine) finishCommit() {
	m.thaw() // or it could not be stopped, and may be needed once more
	t := m.Trial
	m.do(Remember{m.entry(control.OutcomePermanent)}, EndTrial{Trial: t.ID, Slot: t.To.Slot, Kept: true})
	m.forgive(t.To)
	m.committed(t)
	m.leftBehind(t)
	m.Phase, m.Trial, m.Spare = PhaseIdle, Trial{}, t.From.app()
	m.leaveOld(t.From)
	m.answerWaiting(&t, control.ExitDone, "version "+t.To.Version+" is permanent")
	m.sendOrders()
}

// revert ends the trial: switch first, kill afterwards.
func (m *machine) revert(cause, detail string) {
	t := &m.Trial
	m.thaw()
	t.Cause, t.Detail = cause, detail
	if m.systemTrial() {
		m.do(CancelBoot{})
	}
	if !t.Armed || t.Forgotten {
		t.Back = true // viewers never left, or a new forwarder knows nothing else
	}
	if t.Back {
		m.Phase = PhaseReverting
		m.endTrialApp()
		return
	}
	m.enter(PhaseReverting)
}

// endTrialApp follows once viewers are back.
func (m *machine) endTrialApp() {
	t := &m.Trial
	if t.askAt = 0; t.Gone || t.Unbegun {
		m.comeBack()
		return
	}
	leave := time.Duration(0)
	grace := min(t.To.Rules.StopTimeout, revertGrace)
	switch {
	case t.Overlap == verify.OverlapNone:
		grace = min(grace, lastWords) // viewers wait for the room that it takes
	case t.Cause == orders.CauseEOF:
		leave = lastWords // viewers are back already
	}
	m.stopAppAfter(leave, t.To.Slot, grace)
}

// finishRevert is reached when viewers are back and the app is gone.
func (m *machine) finishRevert() {
	if m.Trial.Rehearsal {
		m.finishRehearsal()
		return
	}
	t := m.Trial
	m.do(Remember{m.entry(control.OutcomeReverted)}, EndTrial{Trial: t.ID, Slot: t.To.Slot})
	switch {
	case t.Spoilt != "":
		m.spoil(t.Spoilt)
	case t.blamed():
		m.reject(t.To)
	}
	if t.To.Slot != "" {
		m.Apps[slotIndex(t.To.Slot)] = App{}
	}
	m.Phase, m.Trial = PhaseIdle, Trial{}
	m.cutShort(t)
	m.agreeAfter(t)
	m.answerWaiting(&t, control.ExitError, "the trial of version "+t.To.Version+" ended before its greenlight was seen")
	m.sendOrders()
}

// entry is the trial's line in the history.
func (m *machine) entry(outcome string) control.Record {
	t := m.Trial
	r := control.Record{
		Time: m.wall, Trial: string(t.ID), From: t.From.Version, To: t.To.Version, Digest: t.To.Digest,
		Began: t.Began, TookOver: t.TookOver, Outcome: outcome, Proof: t.proof(), Class: t.To.class(), Return: t.Return,
	}
	if t.Overlap != verify.OverlapFull {
		r.Overlap = t.Overlap
	}
	dark := t.TookOver.Sub(t.Reboot.Asked) // by the wall clock, which may have jumped
	if r.Reboots = t.Reboot.Times; r.Reboots > 0 && dark > 0 && dark < t.To.Rules.Deadline+prepareLimit {
		r.DarkMS = dark.Milliseconds()
	}
	if outcome == control.OutcomeReverted {
		r.Reason, r.Detail, r.Evidence = t.Cause, t.Detail, t.Evidence
	}
	return r
}

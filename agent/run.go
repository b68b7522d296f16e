package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// loop owns the state: it takes one event at a time, journals what follows from
// it, and only then lets the effects begin.
func (a *Agent) loop(ctx context.Context) error {
	for _, problem := range a.trustProblems() {
		a.log.Warn(problem)
	}
	if a.wasGuarded = a.guarded(); a.wasGuarded {
		a.guard.hold() // it may be running since before the reboot
	}
	first, err := a.recovered(ctx)
	if err != nil {
		return err
	}
	a.catchUp(first)
	a.wg.Go(func() { a.keepTime(ctx) })
	a.wg.Go(a.tryConfinement)
	a.step(ctx, first)
	close(a.begun)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		a.setTimer(timer)
		what, ok := a.next(ctx, timer)
		if !ok {
			return ctx.Err()
		}
		a.take(ctx, what)
	}
}

// next is the next event, unless the agent is to end. What is called off by its end comes
// back as failed, which must not be taken for a fault of the version on trial.
func (a *Agent) next(ctx context.Context, timer *time.Timer) (what any, ok bool) {
	select {
	case <-ctx.Done():
	case what = <-a.events:
	case <-timer.C:
		what = Tick{}
	}
	return what, ctx.Err() == nil
}

func (a *Agent) setTimer(timer *time.Timer) {
	at := a.state.Wake()
	if at == 0 {
		timer.Stop()
		return
	}
	timer.Reset(max(0, time.Duration(at-int64(publish.Monotonic()))))
}

// take does what the runner itself has to do with an event first.
func (a *Agent) take(ctx context.Context, what any) {
	switch e := what.(type) {
	case sign:
		close(e.seen)
		return
	case connected:
		a.forward.admit(e.number)
		a.giveAll()
		what = ForwarderConnected{}
	case ActivateAsked:
		e.Held = a.states.schema(a.state.Permanent.Slot)
		what = e
	case RevertAsked:
		if a.state.resting() { // the record is written by nobody
			e.Back = a.returns()
		}
		what = e
	case AppExited:
		what = a.withReturns(e)
	case Reached:
		a.proveStart(ctx)
	case started:
		a.appStarted(e)
		what = e.AppStarted
	case status:
		what = ForwarderStatus{Trial: e.Trial, Phase: e.Phase, Missing: a.missing(e.Status)}
	}
	a.step(ctx, what)
}

// missing are the streams that the trial's manifest declares and of which its app
// has sent no key frame.
func (a *Agent) missing(st orders.Status) (names []string) {
	source := a.state.Trial.Source
	r := a.runs[source]
	if r == nil || r.manifest.App == nil {
		return nil
	}
	for _, declared := range r.manifest.App.Streams {
		if !keyFrameCame(st, source, declared.Name) {
			names = append(names, declared.Name)
		}
	}
	return names
}

func keyFrameCame(st orders.Status, source orders.SourceID, stream string) bool {
	for _, s := range st.Streams {
		for _, line := range s.Lines {
			if s.Name == stream && line.Source == source && line.KeyFrames > 0 {
				return true
			}
		}
	}
	return false
}

func (a *Agent) step(ctx context.Context, what any) {
	before := a.state
	next, effects := Step(a.state, Event{Now: int64(publish.Monotonic()), Wall: time.Now().UTC(), What: what})
	news := a.remembered(effects)
	err := a.journal.commit(next, news)
	a.unwritten = err != nil
	if err != nil {
		// The journal may be lost at any time; the record alone decides. So the
		// device goes on without one rather than not at all.
		a.log.Error("journal not written", "reason", err)
	}
	a.state = next
	a.settleHome(next)
	if before.Phase != next.Phase && before.Phase != "" {
		a.log.Info("phase", "from", before.Phase, "to", next.Phase, "trial", next.Trial.ID)
	}
	var answers []Answer
	for _, e := range effects {
		if answer, ok := e.(Answer); ok {
			answers = append(answers, answer)
			continue
		}
		a.perform(ctx, e)
	}
	a.prune()
	a.tendWatchdog(ctx)
	a.desk.Steer(a.state.steering())
	a.publish(news)
	for _, answer := range answers { // who gets one sees the state that it speaks of
		a.deliver(answer)
	}
}

// prune forgets runs that the state no longer knows.
func (a *Agent) prune() {
	known := func(source orders.SourceID) bool {
		return a.state.Apps[0].Source == source || a.state.Apps[1].Source == source
	}
	forgotten := len(a.runs)
	maps.DeleteFunc(a.runs, func(s orders.SourceID, _ *run) bool { return !known(s) })
	if len(a.runs) < forgotten {
		a.sockets.keep(a.declaredSockets())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.words, func(s orders.SourceID, _ string) bool { return !known(s) })
	maps.DeleteFunc(a.untaken, func(s orders.SourceID, _ string) bool { return !known(s) })
	a.forgetStored(known)
	maps.DeleteFunc(a.doubts, func(s orders.SourceID, _ string) bool { return !known(s) })
}

func (a *Agent) remembered(effects []Effect) (news []control.Record) {
	for _, e := range effects {
		if r, ok := e.(Remember); ok {
			news = append(news, a.withMarker(a.withSamples(r.Record)))
		}
	}
	return news
}

// problemsEvery is how often it is looked for new problems while nothing else changes:
// files are read for it, and the forwarder reports each second.
const problemsEvery = 5 * time.Second

// publish shows the new state to everybody else.
func (a *Agent) publish(news []control.Record) {
	for _, r := range news {
		level := slog.LevelInfo
		if r.Outcome != control.OutcomePermanent {
			level = slog.LevelWarn
		}
		a.log.Log(context.Background(), level, "update ended", "outcome", r.Outcome, "from", r.From, "to", r.To,
			"reason", r.Reason, "detail", r.Detail)
	}
	state, err := json.Marshal(a.state) // what is not in it nobody sees, such as a watchdog's pings
	same := err == nil && len(news) == 0 && bytes.Equal(state, a.shownState)
	if same && time.Since(a.lookedAt) < problemsEvery {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen.state = a.state
		return
	}
	a.shownState, a.lookedAt = state, time.Now()
	shown := fmt.Appendf(bytes.Clone(state), "%q", a.problems())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen.state = a.state
	if n := len(news); n > 0 {
		a.seen.last = &news[n-1]
	}
	if err != nil || len(news) > 0 || !bytes.Equal(shown, a.shown) {
		a.shown = shown
		a.announce()
	}
}

// perform begins an effect. None of them waits here: what takes time goes on in
// the background and ends in an event.
func (a *Agent) perform(ctx context.Context, e Effect) {
	switch e := e.(type) {
	case StartApp:
		a.startApp(ctx, e)
	case StopApp:
		a.stopApp(e)
	case CheckSlot:
		a.checkSlot(ctx, e)
	case Freeze:
		a.freeze(e.Source)
	case Thaw:
		a.thaw(e.Source)
	case SendOrders:
		a.sendOrders(e)
	case AskStatus:
		a.forward.ask(question{Request: orders.Request{Status: true}, core: true})
	case Hold:
		a.forward.ask(question{Request: orders.Request{Hold: &orders.Hold{Trial: e.Trial, LeaseMS: lease.Milliseconds()}}})
	case Settle:
		a.forward.ask(question{Request: orders.Request{Settle: &orders.Settle{Trial: e.Trial, Source: e.Source}}})
	case RevertTrial:
		a.forward.ask(question{Request: orders.Request{Revert: &orders.Revert{Trial: e.Trial, Reason: e.Reason}}})
	case RestartForwarder:
		a.log.Error("forwarder does not answer and is restarted")
		a.forwarding.restart()
	case ReplaceForwarder:
		a.wg.Go(func() { a.replaceForwarder(ctx) })
	case TryBoot:
		a.tryBoot(ctx, e)
	case CancelBoot:
		a.cancelBoot(ctx)
	case AgreeBoot:
		a.agreeBoot(ctx, e)
	case Restart:
		a.restart(ctx, e)
	case TryRuntime:
		a.tryRuntime(ctx, e)
	case ReturnForwarder:
		a.returnForwarder(ctx, e)
	case Become:
		a.become(e)
	case WriteRecord:
		a.wg.Go(func() { a.writeRecord(ctx, e) })
	case FallBack:
		a.wg.Go(func() { a.fallBack(ctx, e) })
	case StageSlot:
		a.stageSlot(ctx, e)
	case CancelStage:
		a.cancelStage(e)
	case ClearSlots:
		a.clearSlots(ctx, e)
	case Distrust:
		a.distrust(ctx, e)
	case WatchMarker:
		a.watchMarker(ctx, e.Trial)
	case WatchChecks:
		a.watchChecks(ctx, e)
	case MakeMarker:
		if err := a.markers.make(e.Trial); err != nil {
			a.log.Error("greenlight not made", "trial", e.Trial, "reason", err)
			a.wg.Go(func() { a.post(MarkerFailed{Trial: e.Trial, Error: sentence(err)}) })
		}
	case EndTrial:
		a.endTrial(e)
	case Remember: // done, with the state
	default:
		panic(fmt.Sprintf("agent: unknown effect %T", e))
	}
}

func (a *Agent) replaceRecord(v, previous Version) error {
	r, err := a.record.Load()
	if err != nil && !errors.Is(err, slots.ErrNoRecord) && !errors.Is(err, slots.ErrRecordLost) {
		return err
	}
	return a.record.Replace(a.recorded(r, v, previous))
}

func (a *Agent) watchMarker(ctx context.Context, id orders.TrialID) {
	a.stopWatch()
	to := a.state.Trial.To
	m := a.markersOf(to.Slot, to.Rules.Greenlight)
	if err := m.prepare(id); err != nil {
		a.log.Error("no place for the greenlight marker", "trial", id, "reason", err)
		return // silence reverts
	}
	ctx, a.stopWatch = context.WithCancel(ctx)
	a.wg.Go(func() {
		m.watch(ctx, id, func() { a.post(MarkerSeen{id}) }, func(reason string) { a.noMarker(id, reason) })
	})
}

func (a *Agent) endTrial(e EndTrial) {
	a.stopWatch()
	a.stopChecks()
	a.markers.clean("")
	if err := slots.EndTry(a.cfg.Run); err != nil {
		a.log.Error("trial of programs not called off", "reason", err)
	}
	if e.Kept || e.Slot == "" {
		return
	}
	if err := a.data.drop(e.Slot, a.state.Permanent.Slot); err != nil {
		a.log.Error("data of a reverted version not removed", "slot", e.Slot, "reason", err)
	}
	if err := a.states.drop(e.Slot, a.state.Permanent.Slot); err != nil {
		a.log.Error("state of a reverted version not removed", "slot", e.Slot, "reason", err)
	}
}

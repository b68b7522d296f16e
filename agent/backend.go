package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// maxShown bounds one answer's past updates.
const maxShown = maxHistory

// Status implements [control.Backend].
func (a *Agent) Status(ctx context.Context) (control.Status, error) {
	if err := a.ready(ctx); err != nil {
		return control.Status{}, err
	}
	seen := a.snapshot()
	s := seen.state
	out := control.Status{
		Seq: seen.seq, Device: a.cfg.Device, Product: a.cfg.Product, Hardware: a.cfg.Hardware, Agent: agentVersion(),
		Phase: shownPhase(s.Phase), Permanent: s.Permanent.Version, Streams: a.shownStreams(s), Last: seen.last,
		Staging: a.progress(s), Problems: a.problems(), Time: time.Now().UTC(),
	}
	for _, p := range a.Protections() {
		out.Protections = append(out.Protections, control.Protection(p))
	}
	for i, name := range slotNames {
		out.Slots = append(out.Slots, a.shownSlot(s, name, s.Apps[i]))
	}
	out.Systems, out.Runtimes = a.withStored(shownSystems(s), a.systemTarget, a.triesLeft()), a.withStored(shownRuntimes(s), a.runtimeTarget, nil)
	if s.Trial.under() {
		out.Trial = a.shownTrial(s)
	}
	return out, nil
}

// WaitStatus implements [control.Backend].
func (a *Agent) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	for {
		a.mu.Lock()
		now, news := a.seen.seq, a.news
		a.mu.Unlock()
		if now != seq {
			return a.Status(ctx)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return control.Status{}, ctx.Err()
		case <-a.stopped:
			return control.Status{}, errStopping
		}
	}
}

// History implements [control.Backend].
func (a *Agent) History(_ context.Context, most int) ([]control.Record, error) {
	return a.journal.history(min(max(most, 0), maxShown))
}

// Activate implements [control.Backend].
func (a *Agent) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	answer, err := a.ask(ctx, func(req uint64) any { return ActivateAsked{Req: req, Force: r.Force, Digest: r.Digest} })
	if err != nil {
		return unanswered("", err)
	}
	return a.trialResult(ctx, answer, r.Wait)
}

// trialResult is the answer to who has begun a trial, and may wait for its end.
func (a *Agent) trialResult(ctx context.Context, answer Answer, wait bool) control.Result {
	if answer.Exit != control.ExitDone || !wait {
		return answer.Result
	}
	record, err := a.ending(ctx, answer.Trial)
	switch {
	case err != nil:
		return unanswered("the trial goes on: ", err)
	case record.Outcome == control.OutcomePermanent:
		return control.Result{Exit: control.ExitDone, Message: fmt.Sprintf("version %s is permanent", record.To), Record: record}
	}
	return control.Result{
		Exit: control.ExitReverted, Record: record,
		Message: fmt.Sprintf("version %s was reverted (%s): %s", record.To, record.Reason, record.Detail),
	}
}

// unanswered tells a caller whether asking the next agent is worth it.
func unanswered(meanwhile string, err error) control.Result {
	code := ""
	if errors.Is(err, errStopping) {
		code = control.CodeLost
	}
	return result(control.ExitError, code, meanwhile+sentence(err))
}

// Greenlight implements [control.Backend].
func (a *Agent) Greenlight(ctx context.Context) control.Result {
	return a.request(ctx, func(req uint64) any { return GreenlightAsked{Req: req} })
}

// Revert implements [control.Backend]. It returns when the new version is gone, or when the
// trial of the one before has begun.
func (a *Agent) Revert(ctx context.Context) control.Result {
	answer, err := a.ask(ctx, func(req uint64) any { return RevertAsked{Req: req} })
	if err != nil {
		return result(control.ExitError, "", sentence(err))
	}
	if answer.Exit != control.ExitDone || answer.Begun {
		return answer.Result
	}
	record, err := a.ending(ctx, answer.Trial)
	if err != nil {
		return unanswered("the revert goes on: ", err)
	}
	return control.Result{Exit: control.ExitDone, Message: fmt.Sprintf("version %s is reverted", record.To), Record: record}
}

// ending waits for the end of a trial and returns its line in the history.
func (a *Agent) ending(ctx context.Context, id orders.TrialID) (*control.Record, error) {
	for {
		a.mu.Lock()
		state, last, news := a.seen.state, a.seen.last, a.news
		a.mu.Unlock()
		if state.Trial.ID != id {
			if last != nil && last.Trial == string(id) {
				return last, nil
			}
			return a.past(id)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-a.stopped:
			return nil, errStopping
		}
	}
}

// past finds a trial among the newest lines: others may have followed already.
func (a *Agent) past(id orders.TrialID) (*control.Record, error) {
	records, err := a.journal.history(maxReverted)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Trial == string(id) {
			return &r, nil
		}
	}
	return nil, fmt.Errorf("trial %s is not in the history", id)
}

// shownFrozen is an app that runs and is frozen.
const shownFrozen = "frozen"

func (a *Agent) shownSlot(s State, name string, app App) control.Slot {
	state, v := s.SlotState(name)
	out := control.Slot{
		Name: name, State: state, Version: v.Version, Digest: v.Digest, App: "stopped", PID: app.PID, Since: app.Since,
		Restarts: app.Restarts, LastExit: app.LastExit, LastExitAt: app.LastExitAt, Stored: a.stored(target{set: a.set, slot: name}),
	}
	if app.Status != AppStopped {
		out.App = string(app.Status)
	}
	if s.frozen(app) {
		out.App = shownFrozen
	}
	out.Contract = a.contract(app.Source)
	a.mu.Lock()
	defer a.mu.Unlock()
	if app.Source != "" {
		out.Status = a.words[app.Source]
	}
	return out
}

func (a *Agent) shownTrial(s State) *control.Trial {
	t, now := s.Trial, int64(publish.Monotonic())
	out := &control.Trial{
		ID: string(t.ID), Slot: t.To.Slot, From: t.From.Version, Version: t.To.Version,
		Greenlight: t.To.Rules.Greenlight, Marker: a.markers.path(t.ID), Latched: t.Latched,
		Started: t.Began, TookOver: t.TookOver, SoakMS: t.To.Rules.Soak.Milliseconds(),
		RemainingMS: t.To.Rules.Deadline.Milliseconds(), Rehearsal: t.Rehearsal, Return: t.Return,
	}
	if t.Started {
		out.RemainingMS = max(0, t.Deadline-now) / int64(time.Millisecond)
	}
	if t.SoakEnds > 0 {
		out.SoakMS = max(0, t.SoakEnds-now) / int64(time.Millisecond)
	}
	out.Verdicts = append(a.forward.verdicts(t.ID), a.checksOf(t)...)
	return out
}

// progress of the package that is being written.
func (a *Agent) progress(s State) *control.Progress {
	if s.Phase != PhaseStaging {
		return nil
	}
	p := &control.Progress{Version: s.Stage.Version.Version}
	if in := a.expected(s.Stage.req); in != nil {
		if now := in.progress.Load(); now != nil {
			p.Done, p.Total, p.Origins = now.Done, now.Total, control.Origins(now.Origins)
		}
	}
	return p
}

// shownStreams is the forwarder's newest word, as people see it.
func (a *Agent) shownStreams(s State) []control.StreamStatus {
	out := []control.StreamStatus{}
	st := a.forward.streams()
	if st == nil {
		return out
	}
	for _, stream := range st.Streams {
		shown := control.StreamStatus{Name: stream.Name, Viewers: stream.Viewers}
		if http := a.cfg.Gateway.HTTP; http != "" {
			shown.WHEP = "http://" + http + "/whep/" + stream.Name
		}
		if rtsp := a.cfg.Gateway.RTSP; rtsp != "" {
			shown.RTSP = "rtsp://" + rtsp + "/" + stream.Name
		}
		for i, app := range s.Apps {
			if app.Source != "" && app.Source == stream.Followed {
				v := s.version(slotNames[i])
				shown.Version = v.Version
			}
		}
		for _, line := range stream.Lines {
			if line.Source == stream.Followed {
				shown.Frames, shown.LongestGapMS = line.Frames, line.LongestGapMS
				shown.Codec, shown.Width, shown.Height = line.Codec, line.Width, line.Height
			}
		}
		out = append(out, shown)
	}
	return out
}

// release is set by the linker in what is built for devices.
var release string

// agentVersion is what the Go tool knows of this build.
func agentVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// shownPhase joins the steps of a commit into one word for people.
func shownPhase(p Phase) string {
	switch p {
	case PhaseHolding, PhaseSettling:
		return string(PhaseCommitting)
	case PhaseFallback:
		return string(PhaseReverting)
	case "":
		return string(PhaseIdle)
	}
	return string(p)
}

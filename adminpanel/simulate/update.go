package simulate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"slipstream/agent/control"
)

// Phases of a status.
const (
	phaseIdle     = "idle"
	phaseStaging  = "staging"
	phaseStaged   = "staged"
	phaseStarting = "starting"
	phaseTrial    = "trial"
)

// Stage implements [control.Backend].
func (d *Device) Stage(ctx context.Context, r control.StageRequest) control.Result {
	if busy, ok := d.claim(); !ok {
		return busy
	}
	p, err := d.heads.read(ctx, d.identity, r.URL)
	if err == nil && d.Download {
		err = p.download(ctx, d.identity, r.URL)
	}
	if err == nil {
		err = pause(ctx, d.some(d.Times.Stage))
	}
	if err != nil {
		d.change("stage", d.free)
		return control.Result{Exit: control.ExitError, Code: "fetch", Message: err.Error()}
	}
	return d.staged(p, r.Force)
}

// claim begins a stage, if the device is free.
func (d *Device) claim() (busy control.Result, ok bool) {
	d.change("", func(s *control.Status) {
		if ok = s.Phase == phaseIdle || s.Phase == phaseStaged; ok {
			s.Phase = phaseStaging
		} else {
			busy = control.Result{Exit: control.ExitRefused, Code: control.CodeBusy, Message: "the device is busy: " + s.Phase}
		}
	})
	return busy, ok
}

// free is the phase in which nothing is under way.
func (d *Device) free(s *control.Status) {
	s.Phase = phaseIdle
	if spare(s).State == control.StateStaged {
		s.Phase = phaseStaged
	}
}

// staged puts a package into the spare slot, or says why not.
func (d *Device) staged(p head, force bool) (result control.Result) {
	d.change("stage "+p.version, func(s *control.Status) {
		d.free(s)
		slot := spare(s)
		switch {
		case active(s).Digest == p.digest:
			result = control.Result{Exit: control.ExitNothing, Message: p.version + " is permanent already"}
		case slot.State == control.StateStaged && slot.Digest == p.digest:
			result = control.Result{Exit: control.ExitNothing, Code: control.CodeAlreadyStaged, Message: p.version + " is staged already"}
		case d.Fate == Refuses:
			result = d.refuse(s, p, "refused", "a simulated device refuses this package, as it was made to")
		case !force && d.reverted(p.digest):
			result = d.refuse(s, p, "reverted", p.version+" was tried before and reverted; only force installs it again")
		default:
			d.counts.Stages++
			s.Phase = phaseStaged
			*slot = control.Slot{Name: slot.Name, State: control.StateStaged, Version: p.version, Digest: p.digest, Since: d.now()}
			result = control.Result{Message: p.version + " is staged in slot " + slot.Name}
		}
	})
	return result
}

// reverted needs the lock.
func (d *Device) reverted(digest string) bool {
	return slices.ContainsFunc(d.history, func(r control.Record) bool {
		return r.Digest == digest && r.Outcome == control.OutcomeReverted
	})
}

func (d *Device) refuse(s *control.Status, p head, code, why string) control.Result {
	d.counts.Refused++
	r := control.Record{Time: d.now(), From: s.Permanent, To: p.version, Digest: p.digest, Outcome: control.OutcomeRefused, Reason: code, Detail: why}
	d.enter(s, r)
	return control.Result{Exit: control.ExitRefused, Code: code, Message: why, Record: &r}
}

// enter adds a line to the history. It needs the lock.
func (d *Device) enter(s *control.Status, r control.Record) {
	s.Last = &r
	d.history = append([]control.Record{r}, d.history[:min(len(d.history), keptHistory-1)]...)
}

// Activate implements [control.Backend].
func (d *Device) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	if d.Fate == Silent {
		d.remember("activate")
		<-ctx.Done()
		return control.Result{Exit: control.ExitError, Message: "the device says nothing"}
	}
	refused, ok := d.begin(r)
	if !ok {
		return refused
	}
	if err := pause(ctx, d.some(d.Times.Start)); err != nil {
		return control.Result{Exit: control.ExitError, Message: err.Error()}
	}
	d.change("", d.takesOver)
	return control.Result{Message: "the trial has begun"}
}

// begin starts the trial, if there is something to try.
func (d *Device) begin(r control.ActivateRequest) (refused control.Result, ok bool) {
	d.change("activate", func(s *control.Status) {
		slot := spare(s)
		switch {
		case s.Trial != nil:
			refused = control.Result{Exit: control.ExitRefused, Code: control.CodeBusy, Message: "a trial is under way"}
		case slot.State != control.StateStaged, r.Digest != "" && r.Digest != slot.Digest:
			refused = control.Result{Exit: control.ExitNothing, Message: "nothing of that kind is staged"}
		case !r.Force && d.reverted(slot.Digest):
			refused = d.refuse(s, head{version: slot.Version, digest: slot.Digest}, "reverted", slot.Version+" was tried before and reverted")
		default:
			ok = true
			d.trials++
			d.counts.Trials++
			d.begun = time.Now()
			now := d.now()
			id := fmt.Sprint("t", d.trials)
			slot.State, slot.App, slot.Since = control.StateTrial, "starting", now
			s.Phase = phaseStarting
			s.Trial = &control.Trial{
				ID: id, Slot: slot.Name, From: s.Permanent, Version: slot.Version, Greenlight: d.Marker, Marker: "trial/" + id + "/greenlight",
				Started: now, SoakMS: d.Times.Soak.Milliseconds(),
			}
		}
	})
	return refused, ok
}

// takesOver shows the new version to viewers, and says how the trial goes on.
func (d *Device) takesOver(s *control.Status) {
	if s.Trial == nil {
		return // it was reverted meanwhile
	}
	s.Phase, s.Trial.TookOver = phaseTrial, d.now()
	slot := spare(s)
	slot.App, slot.PID, slot.Status = "ready", 202, "30 frames/s"
	s.Streams[0].Version = slot.Version
	s.Trial.Verdicts = []control.Verdict{{Stream: "main", Invariant: "frames", Measure: "frame-rate", Against: "nothing", Value: 30, Compared: 30, Required: true, Judged: true, Holds: true}}
	soak := d.scatter(d.Times.Soak)
	switch {
	case d.Fate == Hangs:
	case d.Fate == Fails:
		d.later(soak/2, s.Trial.ID, control.Record{Outcome: control.OutcomeReverted, Reason: "stall", Detail: "no picture for 500 ms", Evidence: []string{"camera: frame 1041 sent"}})
	case d.Fate == Offline:
		d.at(soak/2, d.cut)
	case d.Marker == "operator":
		d.later(d.Times.Deadline, s.Trial.ID, control.Record{Outcome: control.OutcomeReverted, Reason: "deadline", Detail: "nobody gave the greenlight in time"})
	default:
		d.later(soak, s.Trial.ID, control.Record{Outcome: control.OutcomePermanent})
	}
}

// later ends a trial, if it is still that one. It needs the lock, as at does.
func (d *Device) later(after time.Duration, trial string, r control.Record) {
	d.at(after, func() {
		d.change("", func(s *control.Status) {
			if s.Trial != nil && s.Trial.ID == trial {
				d.end(s, r)
			}
		})
	})
}

// at plans the device's next step, in the place of another.
func (d *Device) at(after time.Duration, do func()) {
	if d.due != nil {
		d.due.Stop()
	}
	d.due = time.AfterFunc(after, do)
}

// Greenlight implements [control.Backend].
func (d *Device) Greenlight(context.Context) control.Result {
	return d.ends("greenlight", control.Record{Outcome: control.OutcomePermanent})
}

// Revert implements [control.Backend].
func (d *Device) Revert(ctx context.Context) control.Result {
	d.mu.Lock()
	trial := d.status.Trial != nil
	d.mu.Unlock()
	if !trial {
		return d.returns(ctx)
	}
	return d.ends("revert", control.Record{
		Outcome: control.OutcomeReverted, Reason: "operator", Detail: "taken back from the panel",
		Evidence: []string{"exit status: still running", "camera: frame 1041 sent"},
		Proof:    &control.Proof{DetectToFirstMS: 0.8},
	})
}

// returns goes back to the version that was permanent before, if it is still there.
func (d *Device) returns(ctx context.Context) control.Result {
	result := control.Result{Exit: control.ExitNothing, Message: "there is no version to go back to"}
	if pause(ctx, d.some(d.Times.Start)) != nil {
		return result
	}
	d.change("revert", func(s *control.Status) {
		if d.back(s, "operator", "taken back from the panel") {
			result = control.Result{Message: s.Permanent + " is back"}
		}
	})
	return result
}

func (d *Device) ends(asked string, r control.Record) control.Result {
	result := control.Result{Exit: control.ExitNothing, Message: "no trial is under way"}
	d.change(asked, func(s *control.Status) {
		if s.Trial != nil {
			r = d.end(s, r)
			result = control.Result{Message: r.To + " is " + r.Outcome, Record: &r}
		}
	})
	return result
}

// end ends the trial as r says. It needs the lock.
func (d *Device) end(s *control.Status, r control.Record) control.Record {
	old, fresh := active(s), spare(s)
	r.Time, r.Trial, r.Began, r.TookOver = d.now(), s.Trial.ID, s.Trial.Started, s.Trial.TookOver
	r.From, r.To, r.Digest = s.Permanent, s.Trial.Version, fresh.Digest
	if r.Outcome == control.OutcomePermanent {
		d.counts.Permanent++
		old.State, fresh.State = control.StatePrevious, control.StatePermanent
		old.App, old.PID, old.Status = "stopped", 0, ""
		s.Permanent = fresh.Version
	} else {
		d.counts.Reverted++
		fresh.State, fresh.App, fresh.PID, fresh.Status = control.StateReverted, "stopped", 0, ""
	}
	s.Phase, s.Trial = phaseIdle, nil
	s.Streams[0].Version = s.Permanent
	d.enter(s, r)
	if d.Fate == Late && r.Outcome == control.OutcomePermanent {
		d.at(d.scatter(d.Times.Late), func() { d.change("", d.regret) })
	}
	return r
}

// regret goes back long after the trial.
func (d *Device) regret(s *control.Status) { d.back(s, "crashing", "the app ended again and again") }

// back makes the version before permanent again, and says whether there was one. It needs
// the lock.
func (d *Device) back(s *control.Status, by, why string) bool {
	fresh, old := active(s), spare(s)
	if old.State != control.StatePrevious || s.Trial != nil {
		return false // something newer has its slot
	}
	d.counts.Permanent--
	d.counts.Reverted++
	r := control.Record{Time: d.now(), From: fresh.Version, To: old.Version, Digest: old.Digest, Outcome: control.OutcomePermanent, Return: by, Detail: why}
	fresh.State, old.State = control.StateReverted, control.StatePermanent
	fresh.App, fresh.PID, old.App, old.PID = "stopped", 0, "ready", 101
	s.Permanent, s.Streams[0].Version = old.Version, old.Version
	d.enter(s, r)
	return true
}

func active(s *control.Status) *control.Slot {
	if s.Slots[0].State == control.StatePermanent {
		return &s.Slots[0]
	}
	return &s.Slots[1]
}

func spare(s *control.Status) *control.Slot {
	if s.Slots[0].State == control.StatePermanent {
		return &s.Slots[1]
	}
	return &s.Slots[0]
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package link

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// desire brings the device to what its panel wants it to be: it looks at what is,
// does the next step, and looks again. It remembers nothing that the panel does not
// say again, so a link, an agent or a device that is lost costs time and nothing else.
type desire struct {
	stage   func(context.Context, wire.Stage) control.Result
	backend control.Backend
	log     *slog.Logger

	mu      sync.Mutex // guards what follows
	newest  *wish      // nil before the first
	news    uint64     // counts what was said of it
	wake    func()     // ends the wait for something new
	said    *wire.Report
	shown   uint64        // seq of the status that said goes by
	changed chan struct{} // closed when said is another one
}

// wish is what is desired in one epoch, and how far it has come.
type wish struct {
	wire.Desired
	due    time.Time       // to activate, if Activate
	ctx    context.Context // ends with the epoch
	cancel context.CancelFunc

	staged    *control.Result // of the newest try; nil: not tried
	seq       uint64          // of the status at that try
	activated *control.Result // likewise
	under     chan struct{}   // closed when the activation under way has ended; nil: none is
}

func newDesire(stage func(context.Context, wire.Stage) control.Result, backend control.Backend, log *slog.Logger) *desire {
	return &desire{stage: stage, backend: backend, log: log, wake: func() {}, changed: make(chan struct{})}
}

// take takes the panel's word. An older one is none.
func (d *desire) take(line wire.Desired) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.newest
	switch {
	case w != nil && line.Epoch < w.Epoch:
		d.log.Info("something older is desired by the panel, and is ignored", "epoch", line.Epoch, "newest", w.Epoch)
		return
	case w == nil || line.Epoch > w.Epoch:
		if w != nil {
			w.cancel()
		}
		w = &wish{Desired: line}
		w.ctx, w.cancel = context.WithCancel(context.Background())
		d.newest = w
	default: // of the same epoch only the activation may be another one
		w.Activate, w.ActivateInMS, w.Order = line.Activate, line.ActivateInMS, line.Order
		w.staged, w.activated = unlessFailed(w.staged), unlessFailed(w.activated)
	}
	w.due = time.Now().Add(time.Duration(max(0, line.ActivateInMS)) * time.Millisecond)
	d.stir()
}

// unlessFailed forgets what failed for want of something: it is tried again.
func unlessFailed(r *control.Result) *control.Result {
	if r != nil && (r.Exit == control.ExitError || r.Code == control.CodeBusy) {
		return nil
	}
	return r
}

// stir makes run look again. The caller holds mu.
func (d *desire) stir() {
	d.news++
	d.wake()
}

// run goes on until ctx ends.
func (d *desire) run(ctx context.Context) {
	defer d.giveUp()
	for ctx.Err() == nil {
		d.mu.Lock()
		w, news := d.newest, d.news
		d.mu.Unlock()
		var seq uint64
		var due time.Time
		if w != nil {
			s, err := d.backend.Status(ctx)
			if err != nil {
				return // the agent ends
			}
			if d.next(ctx, w, s) {
				continue
			}
			seq, due = s.Seq, d.dueOf(w)
		}
		d.rest(ctx, news, w != nil, seq, due)
	}
}

func (d *desire) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest != nil {
		d.newest.cancel()
	}
}

// rest waits until there is something new: a word of the panel's, a change of the
// device, or the moment of the activation.
func (d *desire) rest(ctx context.Context, news uint64, watch bool, seq uint64, due time.Time) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	if d.news != news {
		d.mu.Unlock()
		return
	}
	d.wake = cancel
	d.mu.Unlock()
	if !due.IsZero() {
		timer := time.AfterFunc(time.Until(due), cancel)
		defer timer.Stop()
	}
	if !watch {
		<-ctx.Done()
		return
	}
	_, _ = d.backend.WaitStatus(ctx, seq) // whatever it says is looked at anew
}

// dueOf is when the version is to be activated, if that lies ahead.
func (d *desire) dueOf(w *wish) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.Activate && w.activated == nil && w.due.After(time.Now()) {
		return w.due
	}
	return time.Time{}
}

// next does one step towards what is desired, if there is one to do now.
func (d *desire) next(ctx context.Context, w *wish, s control.Status) (did bool) {
	if w.nothing() {
		d.say(wire.Report{Epoch: w.Epoch, State: wire.ReportNothing}, s.Seq)
		return false
	}
	d.mu.Lock()
	w.freed(s)
	standing := w.standing(s)
	stage := standing.State == "" && s.Phase != phaseStaging
	activate := standing.State == wire.ReportStaged && w.Activate && w.activated == nil && !w.due.After(time.Now())
	order := w.Order
	d.mu.Unlock()
	switch {
	case stage:
		d.say(wire.Report{Epoch: w.Epoch, State: wire.ReportStaging}, s.Seq)
		r := d.stageIn(ctx, w, wire.Stage{URL: w.Live.URL, Force: w.Force, Order: order})
		d.log.Info("staged what the panel desires", "epoch", w.Epoch, "exit", r.Exit, "message", r.Message)
		d.mu.Lock()
		w.staged, w.seq = &r, s.Seq
		d.mu.Unlock()
		return true
	case activate:
		d.activate(ctx, w.Epoch, false)
		return true
	case standing.State == "":
		standing.State = wire.ReportStaging // by somebody else, who is waited for
	}
	d.say(standing, s.Seq)
	return false
}

// nothing is what is desired without a package.
func (w *wish) nothing() bool { return w.Live.Digest == "" }

// stageIn ends with its epoch.
func (d *desire) stageIn(ctx context.Context, w *wish, ask wire.Stage) control.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	return d.stage(ctx, ask)
}

// Phases of a status.
const (
	phaseIdle    = "idle"
	phaseStaging = "staging"
	phaseStaged  = "staged"
)

// freed forgets that the device was busy, once it is no more.
func (w *wish) freed(s control.Status) {
	if s.Seq == w.seq || s.Phase != phaseIdle && s.Phase != phaseStaged {
		return
	}
	for _, r := range []**control.Result{&w.staged, &w.activated} {
		if *r != nil && (*r).Code == control.CodeBusy {
			*r = nil
		}
	}
}

// standing is where the version is by what the device shows, and by what it has
// answered; without a state it is not here.
func (w *wish) standing(s control.Status) wire.Report {
	r := wire.Report{Epoch: w.Epoch}
	if i := slices.IndexFunc(s.Slots, func(slot control.Slot) bool { return slot.Digest == w.Live.Digest }); i >= 0 {
		switch s.Slots[i].State {
		case control.StatePermanent:
			r.State = wire.ReportPermanent
		case control.StateTrial:
			r.State = wire.ReportTrial
		case control.StateStaged:
			r.State = wire.ReportStaged
		case control.StateReverted:
			if !w.Force || w.activated != nil {
				r.State = wire.ReportReverted
			}
		}
	}
	if r.State == "" && s.Trial == nil && s.Last != nil && s.Last.Digest == w.Live.Digest && w.activated != nil {
		switch s.Last.Outcome {
		case control.OutcomePermanent:
			r.State = wire.ReportPermanent
		case control.OutcomeReverted:
			r.State = wire.ReportReverted
		}
	}
	if r.State == wire.ReportReverted && s.Last != nil && s.Last.Digest == w.Live.Digest {
		r.Code, r.Message = s.Last.Reason, s.Last.Detail
	}
	if r.State == "" && w.staged != nil {
		r = answered(r, w.staged)
	}
	if r.State == wire.ReportStaged && w.activated != nil && w.activated.Exit != control.ExitDone {
		r = answered(r, w.activated)
	}
	return r
}

// answered is where a version is that does not show, by the answer of the device.
func answered(r wire.Report, to *control.Result) wire.Report {
	switch {
	case to.Exit == control.ExitDone, to.Code == control.CodeAlreadyStaged:
		r.State = wire.ReportStaged
		return r
	case to.Exit == control.ExitNothing:
		r.State = wire.ReportPermanent
		return r
	case to.Exit == control.ExitError:
		r.State = wire.ReportFailed
	case to.Code == control.CodeBusy:
		r.State = wire.ReportFailed
	default:
		r.State = wire.ReportRefused
	}
	r.Code, r.Message = to.Code, to.Message
	return r
}

// activate begins the trial of what is desired in an epoch. Asked again it gives the
// answer of the first time, unless that was a failure.
func (d *desire) activate(ctx context.Context, epoch uint64, force bool) control.Result {
	for {
		d.mu.Lock()
		w := d.newest
		switch {
		case w == nil || w.Epoch != epoch || w.nothing():
			d.mu.Unlock()
			return control.Result{Exit: control.ExitRefused, Code: wire.CodeOldEpoch, Message: "the device is not at this epoch: its panel must say what is desired first"}
		case w.activated != nil:
			defer d.mu.Unlock()
			return *w.activated
		case w.under != nil:
			under := w.under
			d.mu.Unlock()
			select {
			case <-under:
				continue
			case <-ctx.Done():
				return control.Result{Exit: control.ExitError, Message: ctx.Err().Error()}
			}
		}
		w.under = make(chan struct{})
		d.mu.Unlock()
		r := d.backend.Activate(ctx, control.ActivateRequest{Force: force || w.Force, Digest: w.Live.Digest})
		d.log.Info("activated what the panel desires", "epoch", epoch, "exit", r.Exit, "message", r.Message)
		d.mu.Lock()
		w.activated = &r
		close(w.under)
		w.under = nil
		d.stir()
		d.mu.Unlock()
		return r
	}
}

// say keeps where things stand by a status, for the links of now and later.
func (d *desire) say(r wire.Report, shown uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.said != nil && *d.said == r {
		return
	}
	d.said, d.shown = &r, shown
	close(d.changed)
	d.changed = make(chan struct{})
}

// report tells one link where things stand, now and on each change. That a version is staged
// it tells behind the status that shows it: who hears that may ask at once for a trial of
// what the status shows.
func (d *desire) report(ctx context.Context, c *conn) error {
	for {
		d.mu.Lock()
		said, shown, changed := d.said, d.shown, d.changed
		d.mu.Unlock()
		var newer <-chan struct{} // never, if said needs no status
		if said != nil && said.State == wire.ReportStaged {
			var is bool
			if is, newer = c.sent(shown); is {
				newer = nil
			}
		}
		if said != nil && newer == nil {
			if err := c.sendLater(ctx, wire.Up{Report: said}); err != nil {
				return err
			}
		}
		select {
		case <-newer:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

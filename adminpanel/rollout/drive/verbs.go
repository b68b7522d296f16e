package drive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// Caller is who wants something of a rollout.
type Caller struct {
	By     string `json:"by"`               // as in view.AuditLine.Actor
	Person string `json:"person,omitempty"` // who answers for it, also by a token; "": By
	From   string `json:"from,omitempty"`   // their address
	Why    string `json:"why,omitempty"`
	Rev    int64  `json:"rev,omitempty"` // of the rollout as they saw it; 0: however it is
}

// person is by whom rollouts are made and approved: nobody becomes two by a token.
func (c Caller) person() string { return orElse(c.Person, c.By) }

func (c Caller) line(verb, id string, now time.Time) view.AuditLine {
	return view.AuditLine{At: now, Actor: c.By, From: c.From, Action: "rollout." + verb, Object: ofRollout + id, Detail: c.Why}
}

// changes is a line with the states before and after; "" is none.
func (c Caller) changes(verb, id, before, after string, now time.Time) view.AuditLine {
	line := c.line(verb, id, now)
	if before != "" {
		line.Before = audit.Value(before)
	}
	line.After = audit.Value(after)
	return line
}

// Create makes a rollout of a plan. Needed is how many other people have to approve it;
// with none it is approved.
func (d *Driver) Create(ctx context.Context, plan view.Plan, needed int, c Caller) (view.Rollout, error) {
	r, err := d.decide(ctx, request{Plan: &plan, Needed: needed, Caller: c})
	if err != nil {
		return view.Rollout{}, err
	}
	return *r.Rollout, nil
}

func (d *Driver) create(ctx context.Context, plan view.Plan, needed int, c Caller) (v *view.Rollout, err error) {
	b, err := d.bring(ctx, plan)
	if err != nil {
		return nil, err
	}
	err = d.do(ctx, func(ctx context.Context, l *leader) error {
		now := time.Now().UTC()
		engine, err := rollout.New(plan, nil)
		if err != nil {
			return refuse("%v", err)
		}
		r := &run{engine: engine, selector: b.selector, record: record{
			ID: strings.ToLower(rand.Text()[:12]), Plan: plan, Head: engine.Head(), By: c.person(), Created: now,
			Needed: needed, Approvals: []view.Approval{}, Version: b.releases[plan.Release].Version, Targets: b.targets(),
		}}
		if needed == 0 {
			r.Head.State = view.RolloutApproved
		}
		if err := l.restore(ctx, r, now); err != nil {
			return refuse("%v", err)
		}
		if err := l.commitHead(ctx, r, []view.AuditLine{c.changes("create", r.ID, "", r.Head.State, now)}); err != nil {
			return err
		}
		l.runs[r.ID] = r
		v = new(r.show(now))
		return nil
	})
	return v, err
}

// Preview tells what a plan would do now.
func (d *Driver) Preview(ctx context.Context, plan view.Plan) (p view.Preview, err error) {
	b, err := d.bring(ctx, plan)
	if err != nil {
		return p, err
	}
	var busy map[string]string
	err = d.do(ctx, func(_ context.Context, l *leader) error {
		busy = l.busy("")
		return nil
	})
	if errors.Is(err, ErrNotLeading) {
		busy, err = d.busyStored(ctx)
	}
	if err != nil {
		return p, err
	}
	c := d.choose(&b, func(device string) string { return busy[device] }, time.Now())
	return c.preview(&b), nil
}

// busy names the rollout of each device that is in one which has not ended.
func (l *leader) busy(but string) map[string]string {
	busy := map[string]string{}
	for device := range l.holders {
		if r := l.holder(device, but); r != nil {
			busy[device] = "rollout " + orElse(r.Plan.Name, r.ID)
		}
	}
	return busy
}

// busyStored is busy as the store knows it.
func (d *Driver) busyStored(ctx context.Context) (map[string]string, error) {
	busy := map[string]string{}
	_, err := store.All(ctx, d.cfg.Store, prefixRollouts, func(item store.Item) error {
		rec, err := readRecord(item)
		if err != nil || rec.waits() || !rec.Head.Ended.IsZero() {
			return err
		}
		courses, err := readCourses(ctx, d.cfg.Store, rec.ID)
		for _, c := range courses {
			if c.Phase != view.PhaseSkipped {
				busy[c.Device] = "rollout " + orElse(rec.Plan.Name, rec.ID)
			}
		}
		return err
	})
	return busy, err
}

// holder is the rollout that has a device and has not ended, besides one.
func (l *leader) holder(device, but string) *run {
	for _, r := range l.holders[device] {
		if r.ID == but || r.engine.Over() {
			continue
		}
		if c, ok := r.engine.Course(device); ok && c.Phase != view.PhaseSkipped {
			return r
		}
	}
	return nil
}

// Verbs of rollouts, in the words of view.Step.
const (
	VerbApprove     = "approve"
	VerbStart       = "start"
	VerbPause       = "pause"
	VerbResume      = "resume"
	VerbAbort       = "abort"
	VerbAbortRevert = "abort-revert"
	VerbRetry       = "retry"
	VerbSkipWave    = "skip-wave"
	VerbConfirm     = "confirm"
)

// Verb does something with a rollout, and returns it as it is then. When it returns
// without an error, all of it is journaled.
func (d *Driver) Verb(ctx context.Context, id, verb string, c Caller) (view.Rollout, error) {
	r, err := d.decide(ctx, request{ID: id, Verb: verb, Caller: c})
	if err != nil {
		return view.Rollout{}, err
	}
	return *r.Rollout, nil
}

func (d *Driver) verb(ctx context.Context, id, verb string, c Caller) (v *view.Rollout, err error) {
	err = d.do(ctx, func(ctx context.Context, l *leader) error {
		r, ok := l.runs[id]
		switch {
		case !ok:
			return fmt.Errorf("%w: rollout %s", store.ErrNotFound, id)
		case c.Rev != 0 && c.Rev != r.rev:
			return ErrStale
		}
		now := time.Now()
		if r.engine == nil {
			if err := l.restore(ctx, r, now); err != nil {
				return err
			}
		}
		if err := l.verb(ctx, r, verb, c, now); err != nil {
			return err
		}
		if err := l.flush(ctx, now); err != nil {
			return err
		}
		v = new(r.show(now))
		return nil
	})
	return v, err
}

func (l *leader) verb(ctx context.Context, r *run, verb string, c Caller, now time.Time) error {
	var e rollout.Event
	switch verb {
	case VerbApprove:
		return l.approve(ctx, r, c, now)
	case VerbStart:
		return l.start(ctx, r, c, now)
	case VerbPause:
		e = rollout.Pause{At: now, Why: c.Why}
	case VerbResume:
		e = rollout.Resume{At: now}
	case VerbAbort:
		e = rollout.Abort{At: now, Why: c.Why}
	case VerbAbortRevert:
		e = rollout.AbortRevert{At: now, Why: c.Why}
	case VerbRetry:
		e = rollout.Retry{At: now}
	case VerbSkipWave:
		e = rollout.SkipWave{At: now}
	case VerbConfirm:
		e = rollout.Confirm{At: now}
	default:
		return refuse("a rollout has no %q", verb)
	}
	before := r.engine.Head().State
	if err := r.step(e); err != nil {
		return err
	}
	r.batch.lines = append(r.batch.lines, c.changes(verb, r.ID, before, r.engine.Head().State, now))
	return nil
}

// approve takes another person's word. Who made the rollout is none of them.
func (l *leader) approve(ctx context.Context, r *run, c Caller, now time.Time) error {
	switch {
	case r.Head.State != view.RolloutDraft:
		return fmt.Errorf("%w: a rollout that is %s cannot be approved", rollout.ErrState, r.Head.State)
	case c.person() == r.By:
		return refuse("you made this rollout: somebody else has to approve it")
	case slices.ContainsFunc(r.Approvals, func(a view.Approval) bool { return a.By == c.person() }):
		return refuse("you have approved this rollout already")
	}
	r.Approvals = append(r.Approvals, view.Approval{By: c.person(), At: now.UTC()})
	if len(r.Approvals) >= r.Needed {
		r.Head.State = view.RolloutApproved
	}
	if err := l.restore(ctx, r, now); err != nil {
		return err
	}
	return l.commitHead(ctx, r, []view.AuditLine{c.changes(VerbApprove, r.ID, view.RolloutDraft, r.Head.State, now)})
}

// start freezes the members and begins. Their courses are journaled before the head says
// that it has begun: what a start that was cut short has left is swept by the next.
func (l *leader) start(ctx context.Context, r *run, c Caller, now time.Time) error {
	switch {
	case r.Head.State == view.RolloutDraft:
		return refuse("this rollout has %d of %d approvals", len(r.Approvals), r.Needed)
	case r.Head.State != view.RolloutApproved:
		return fmt.Errorf("%w: a rollout that is %s cannot be started", rollout.ErrState, r.Head.State)
	case now.Before(r.Plan.NotBefore):
		return refuse("this rollout starts by itself at %s, and not before", r.Plan.NotBefore.UTC().Format(time.RFC3339))
	}
	b, err := l.d.bring(ctx, r.Plan)
	if err != nil {
		return err
	}
	busy := l.busy(r.ID)
	picked := l.d.choose(&b, func(device string) string { return busy[device] }, now)
	if len(picked.members) == 0 {
		return refuse("no device can take part: %s", whyNone(picked.refused))
	}
	if err := l.hold(ctx, r, len(picked.members), c, now); err != nil {
		return err
	}
	if err := l.order(ctx, r, picked.members, c); err != nil {
		return err
	}
	for i := range picked.members {
		m := &picked.members[i]
		m.Epoch, m.Online = l.asks[m.Device].Epoch, l.online[m.Device]
	}
	engine, err := rollout.New(r.Plan, picked.members)
	if err != nil {
		return refuse("%v", err)
	}
	if err := l.sweep(ctx, r.ID); err != nil {
		return err
	}
	if err := l.enrol(ctx, r.ID, engine, picked.members); err != nil {
		return err
	}
	r.engine, r.Targets = engine, b.targets()
	if err := r.step(rollout.Start{At: now}); err != nil {
		return err
	}
	for _, m := range picked.members {
		l.holders[m.Device] = append(l.holders[m.Device], r)
	}
	l.reached = time.Time{} // some may be at other panels
	detail := fmt.Sprintf("%d devices", len(picked.members))
	if len(picked.refused) > 0 {
		detail += fmt.Sprintf(", without %d that cannot take part", len(picked.refused))
	}
	r.batch.notes = append([]string{"started with " + detail}, r.batch.notes...)
	r.batch.lines = append(r.batch.lines, c.changes(VerbStart, r.ID, view.RolloutApproved, r.engine.Head().State, now))
	return nil
}

// order has the fleet order the rollout's releases for its devices.
func (l *leader) order(ctx context.Context, r *run, members []rollout.Member, c Caller) error {
	if l.d.cfg.Orders == nil {
		return nil
	}
	devices := map[string][]string{}
	for _, m := range members {
		for _, release := range m.Steps {
			devices[release] = append(devices[release], m.Device)
		}
	}
	who, why := audit.Who{Actor: c.By, From: c.From}, ofRollout+r.ID
	for release, list := range devices {
		if err := l.d.cfg.Orders.Cover(ctx, who, release, list, r.Plan.Dynamic, why); err != nil {
			return refuse("release %s could not be ordered for its devices: %v", release, err)
		}
	}
	return nil
}

// hold makes a draft again of a rollout that needs more approvals by now than it has.
func (l *leader) hold(ctx context.Context, r *run, devices int, c Caller, now time.Time) error {
	if l.d.cfg.Approvals == nil {
		return nil
	}
	needed := l.d.cfg.Approvals(r.Plan, devices)
	if needed <= len(r.Approvals) {
		return nil
	}
	r.Needed, r.Head.State = needed, view.RolloutDraft
	if err := l.restore(ctx, r, now); err != nil {
		return err
	}
	line := c.changes("hold", r.ID, view.RolloutApproved, r.Head.State, now)
	line.Detail = fmt.Sprintf("it means %d devices by now", devices)
	if err := l.commitHead(ctx, r, []view.AuditLine{line}); err != nil {
		return err
	}
	return refuse("this rollout means %d devices by now, and needs the word of somebody else: it has %d of %d approvals", devices, len(r.Approvals), needed)
}

func whyNone(refused []view.Refusal) string {
	if len(refused) == 0 {
		return "none meets the selector"
	}
	return refused[0].Device + ": " + refused[0].Why
}

// sweep removes courses of a start that was cut short.
func (l *leader) sweep(ctx context.Context, id string) error {
	var ops []store.Op
	_, err := store.All(ctx, l.d.cfg.Store, courseKey(id, ""), func(item store.Item) error {
		ops = append(ops, store.Op{Key: item.Key, Delete: true})
		return nil
	})
	if err != nil {
		return err
	}
	return l.commitAll(ctx, slices.Collect(slices.Chunk(ops, store.MaxOps)))
}

// enrol journals who takes part.
func (l *leader) enrol(ctx context.Context, id string, engine *rollout.Rollout, members []rollout.Member) error {
	ops := make([]store.Op, 0, len(members))
	for _, m := range members {
		c, _ := engine.Course(m.Device)
		op, err := courseOp(id, c)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	return l.commitAll(ctx, slices.Collect(slices.Chunk(ops, store.MaxOps)))
}

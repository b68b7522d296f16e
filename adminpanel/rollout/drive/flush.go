package drive

import (
	"context"
	"sync"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	// maxLines is how many audit lines go with a commit.
	maxLines = 40
	// commitsAtOnce is how many commits of courses are under way together: the store
	// takes those that meet to the disk in one go.
	commitsAtOnce = 16
)

// flush journals what the engines have decided, and then has the devices asked.
func (l *leader) flush(ctx context.Context, now time.Time) error {
	for _, r := range l.runs {
		for device := range r.batch.asks {
			l.take(device, r, now)
		}
	}
	for _, r := range l.sorted() {
		if err := l.flushRun(ctx, r, now); err != nil {
			return err
		}
	}
	return l.flushCame(ctx)
}

// flushCame journals how far people's asks have come, and desires no more than that.
func (l *leader) flushCame(ctx context.Context) error {
	var commits [][]store.Op
	var ops []store.Op
	for device, a := range l.came {
		if l.asks[device].Epoch != a.Epoch {
			delete(l.came, device)
			continue
		}
		op, err := a.op()
		if err != nil {
			return err
		}
		if len(ops) == store.MaxOps {
			commits, ops = append(commits, ops), nil
		}
		ops = append(ops, op)
	}
	if len(ops) == 0 {
		return nil
	}
	if err := l.commitAll(ctx, append(commits, ops)); err != nil {
		return err
	}
	l.d.mu.Lock()
	for device, a := range l.came {
		l.asks[device], l.d.asks[device] = a, a
	}
	l.d.mu.Unlock()
	for _, a := range l.came {
		l.d.outbox.put(a, false)
	}
	clear(l.came)
	return nil
}

// take tells the other rollouts that a device is in that they have it no more.
func (l *leader) take(device string, by *run, now time.Time) {
	held := l.holders[device]
	if len(held) < 2 {
		return
	}
	c, ok := by.engine.Course(device)
	if !ok || c.Epoch <= l.asks[device].Epoch {
		return
	}
	for _, r := range held {
		if r != by {
			l.step(r, rollout.Taken{At: now, Device: device, Epoch: c.Epoch})
		}
	}
}

func (l *leader) flushRun(ctx context.Context, r *run, now time.Time) error {
	b := r.batch
	r.batch = batch{}
	for _, note := range b.notes {
		b.lines = append(b.lines, view.AuditLine{At: now, Actor: ofRollout + r.ID, Action: "rollout.note", Object: ofRollout + r.ID, Detail: note})
	}
	if b.head || len(b.lines) > 0 {
		if err := l.commitHead(ctx, r, b.lines); err != nil {
			return err
		}
	}
	changed, err := l.commitCourses(ctx, r, b.changed(), now)
	if err != nil {
		return err
	}
	l.d.mu.Lock()
	for _, a := range changed {
		l.asks[a.Device], l.d.asks[a.Device] = a, a
		l.d.tell(a.Device) // what it has said already may be all there is to say
	}
	l.d.mu.Unlock()
	for _, a := range changed {
		if _, asked := b.asks[a.Device]; !asked {
			l.d.outbox.put(a, false)
		}
	}
	for device := range b.asks {
		if a := l.asks[device]; a.Rollout() == r.ID {
			l.d.outbox.put(a, true)
		}
	}
	return nil
}

// commitHead writes the rollout's record, and the lines with it.
func (l *leader) commitHead(ctx context.Context, r *run, lines []view.AuditLine) error {
	r.Head = r.engine.Head()
	for first := true; first || len(lines) > 0; first = false {
		op, err := r.op()
		if err != nil {
			return err
		}
		n := min(len(lines), maxLines)
		rev, err := l.d.cfg.Audit.Commit(ctx, []store.Cond{l.cond}, []store.Op{op}, lines[:n]...)
		if err != nil {
			return err
		}
		r.rev, lines = rev, lines[n:]
	}
	return nil
}

// commitCourses writes the courses of devices, each with the newest ask of it if that is
// another one by it, and returns the asks.
func (l *leader) commitCourses(ctx context.Context, r *run, devices []string, now time.Time) (changed []Ask, err error) {
	var ops []store.Op
	var commits [][]store.Op
	for _, device := range devices {
		c, ok := r.engine.Course(device)
		if !ok {
			continue
		}
		op, err := courseOp(r.ID, c)
		if err != nil {
			return nil, err
		}
		mine := []store.Op{op}
		if a, other := l.asked(r, c, now); other {
			if op, err = a.op(); err != nil {
				return nil, err
			}
			mine = append(mine, op)
			changed = append(changed, a)
		}
		if len(ops)+len(mine) > store.MaxOps {
			commits, ops = append(commits, ops), nil
		}
		ops = append(ops, mine...)
	}
	if len(ops) > 0 {
		commits = append(commits, ops)
	}
	return changed, l.commitAll(ctx, commits)
}

// asked is the ask that follows from a course, and whether it differs from what is known. A
// device that somebody else has asked since is left alone.
func (l *leader) asked(r *run, c rollout.Course, now time.Time) (Ask, bool) {
	before := l.asks[c.Device]
	if c.Want == "" || c.Epoch < before.Epoch || c.Epoch == before.Epoch && before.Rollout() != r.ID {
		return Ask{}, false
	}
	a := r.askOf(c, before, l.last(c.Device), now)
	return a, !a.same(before)
}

// last marks the newest line of a device's history.
func (l *leader) last(device string) string {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if w := l.d.words[device]; w.here() {
		return markOf(w.Status.Last)
	}
	return l.d.shares[device].Mark
}

// commitAll returns when all are on disk, or the first error.
func (l *leader) commitAll(ctx context.Context, commits [][]store.Op) error {
	if len(commits) == 1 {
		_, err := l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond}, commits[0])
		return err
	}
	var under sync.WaitGroup
	errs := make([]error, len(commits))
	room := make(chan struct{}, commitsAtOnce)
	for i, ops := range commits {
		room <- struct{}{}
		under.Go(func() {
			defer func() { <-room }()
			_, errs[i] = l.d.cfg.Store.Commit(ctx, []store.Cond{l.cond}, ops)
		})
	}
	under.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

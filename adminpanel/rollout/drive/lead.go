package drive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// leader is what a driver knows while it leads. One goroutine has it.
type leader struct {
	d       *Driver
	cond    store.Cond // of its term
	runs    map[string]*run
	holders map[string][]*run // by device: the rollouts that it is in
	asks    map[string]Ask
	came    map[string]Ask // people's, that have come further than the store knows
	online  map[string]bool
	looks   looks
	reached time.Time // when it is looked again which devices are at other panels
	apart   bool      // some devices of rollouts are not linked to this panel
}

const resignTimeout = 5 * time.Second

// lead leads once, from the campaign to the end of the term, and says why it has ended.
func (d *Driver) lead(ctx context.Context) error {
	held, err := d.cfg.Store.Lead(ctx, leadName)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
		defer cancel()
		if err := held.Resign(ctx); err != nil {
			d.log.Debug("the term had ended already", "cause", err)
		}
	}()
	l, err := d.load(ctx, held.Cond())
	if err != nil {
		return err
	}
	t := &term{commands: make(chan command), over: make(chan struct{})}
	var owned sync.WaitGroup
	defer owned.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.begin(t)
	defer d.end(t)
	owned.Go(func() { l.serve(ctx) })
	d.log.Info("this panel drives the rollouts", "rollouts", len(l.runs))
	return l.run(ctx, held.Lost(), t.commands)
}

// begin has the leader take everyone's words.
func (d *Driver) begin(t *term) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.term = t
	for device := range d.words {
		d.news[device] = struct{}{}
	}
	for device := range d.shares {
		d.news[device] = struct{}{}
	}
	d.stir()
}

func (d *Driver) end(t *term) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.term = nil
	close(t.over)
	for device := range d.words {
		d.toShare(device)
	}
}

// load reads the journal.
func (d *Driver) load(ctx context.Context, cond store.Cond) (*leader, error) {
	l := &leader{d: d, cond: cond, runs: map[string]*run{}, holders: map[string][]*run{}, asks: map[string]Ask{}, came: map[string]Ask{}, online: map[string]bool{}}
	_, err := store.All(ctx, d.cfg.Store, prefixAsks, func(item store.Item) error {
		a, err := ReadAsk(item)
		l.asks[a.Device] = a
		return err
	})
	if err != nil {
		return nil, err
	}
	_, err = store.All(ctx, d.cfg.Store, prefixRollouts, func(item store.Item) error {
		rec, err := readRecord(item)
		if err != nil {
			return err
		}
		l.runs[rec.ID] = &run{record: rec, rev: item.Rev}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, r := range l.sorted() {
		if !r.waits() && !r.heard(now) {
			continue // its engine is made when somebody wants it
		}
		if err := l.restore(ctx, r, now); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// sorted are the rollouts in the order in which they were made.
func (l *leader) sorted() []*run {
	list := make([]*run, 0, len(l.runs))
	for _, r := range l.runs {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *run) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return list
}

// restore makes the engine of a rollout out of the journal.
func (l *leader) restore(ctx context.Context, r *run, now time.Time) (err error) {
	var courses []rollout.Course
	if !r.waits() {
		if courses, err = readCourses(ctx, l.d.cfg.Store, r.ID); err != nil {
			return err
		}
	}
	if r.selector, err = fleet.ParseSelector(r.Plan.Selector); err != nil {
		return fmt.Errorf("rollout %s: %w", r.ID, err)
	}
	if r.engine, err = rollout.Restore(r.Plan, r.Head, courses, now); err != nil {
		return fmt.Errorf("rollout %s: %w", r.ID, err)
	}
	for _, c := range courses {
		l.holders[c.Device] = append(l.holders[c.Device], r)
		if a := l.asks[c.Device]; c.Want != "" && a.Owner != ofRollout+r.ID {
			if err := r.step(rollout.Taken{At: now, Device: c.Device, Epoch: a.Epoch}); err != nil {
				return err
			}
		}
	}
	if err := r.step(rollout.Tick{At: now}); err != nil {
		return err
	}
	for _, c := range courses { // of a rollout that is looked into again
		if l.online[c.Device] {
			if err := r.step(rollout.Link{At: now, Device: c.Device, Online: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// run takes what happens until the term is over.
func (l *leader) run(ctx context.Context, lost <-chan struct{}, commands <-chan command) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		l.hear(ctx, now)
		if err := l.tick(ctx, now); err != nil {
			return err
		}
		if err := l.flush(ctx, now); err != nil {
			return err
		}
		timer.Reset(l.next(now))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return errors.New("another panel drives the rollouts now")
		case c := <-commands:
			err := c.do(ctx, l)
			fatal := !harmless(err)
			if err == nil {
				err = l.flush(ctx, time.Now())
				fatal = err != nil
			}
			c.done <- err
			if fatal {
				return err
			}
		case <-l.d.wake:
		case <-timer.C:
		}
	}
}

// harmless errors say that nothing was changed.
func harmless(err error) bool {
	return err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrStale) || errors.Is(err, rollout.ErrState) || errors.Is(err, store.ErrNotFound)
}

// step is for events that are never refused.
func (l *leader) step(r *run, e rollout.Event) {
	if err := r.step(e); err != nil {
		l.d.log.Error("an event was not taken", "rollout", r.ID, "cause", err)
	}
}

// hear takes the words that are new.
func (l *leader) hear(ctx context.Context, now time.Time) {
	d := l.d
	d.mu.Lock()
	words := make([]Word, 0, len(d.news))
	said, others := map[string]answer{}, map[string]shared{}
	for device := range d.news {
		w, ok := d.words[device]
		if ok {
			words = append(words, w)
		}
		if s, ok := d.shares[device]; ok && !w.here() {
			others[device] = s
		}
		if a, ok := d.answers[device]; ok {
			said[device] = a
		}
	}
	clear(d.news)
	gone := d.gone
	d.gone = nil
	d.mu.Unlock()
	for _, device := range gone {
		for _, r := range l.holders[device] {
			l.step(r, rollout.Leave{At: now, Device: device})
		}
	}
	slices.SortFunc(words, func(a, b Word) int { return cmp.Compare(a.Device, b.Device) })
	for _, w := range words {
		l.link(ctx, w, now)
		var a *answer
		if s, ok := said[w.Device]; ok {
			a = &s
		}
		l.look(w, a, now)
	}
	for _, device := range slices.Sorted(maps.Keys(others)) {
		l.lookElsewhere(device, others[device], now)
	}
}

// link notes whether a device is here: without a status nothing is known of it.
func (l *leader) link(ctx context.Context, w Word, now time.Time) {
	online := w.here() || l.elsewhere(w)
	if online == l.online[w.Device] {
		return
	}
	l.online[w.Device] = online
	for _, r := range l.holders[w.Device] {
		l.step(r, rollout.Link{At: now, Device: w.Device, Online: online})
	}
	if !online {
		delete(l.online, w.Device)
		return
	}
	if a, ok := l.asks[w.Device]; ok && a.Rollout() == "" && w.Online {
		l.d.outbox.put(a, false)
	}
	l.join(ctx, w.Device, now)
}

// look tells the rollout that has asked a device where that stands.
func (l *leader) look(w Word, said *answer, now time.Time) {
	a, ok := l.asks[w.Device]
	if ok && a.Rollout() == "" {
		seen, _ := translate(a, w, said, now)
		l.come(a, seen.What)
		return
	}
	r := l.runs[a.Rollout()]
	if !ok || r == nil || r.engine == nil {
		return
	}
	seen, again := translate(a, w, said, now)
	if !again.IsZero() {
		l.looks.add(again, w.Device)
	}
	if seen.What != "" {
		l.step(r, seen)
	}
}

// takesIn tells whether devices that come to meet the selector are taken in.
func (r *run) takesIn() bool {
	return r.Plan.Dynamic && r.engine != nil && (r.Head.State == view.RolloutRunning || r.Head.State == view.RolloutPaused)
}

// come notes how far a person's ask has come, to be journaled.
func (l *leader) come(a Ask, what string) {
	switch what {
	case rollout.SeenTrial, rollout.SeenReady:
		a.Tried = true
	case rollout.SeenDone, rollout.SeenReverted:
		a.Tried, a.Ended = true, true
	}
	if a.tries() && !a.same(l.asks[a.Device]) {
		l.came[a.Device] = a
	}
}

// join takes a device that is new to the fleet into rollouts that wait for such.
func (l *leader) join(ctx context.Context, device string, now time.Time) {
	for _, r := range l.sorted() {
		if !r.takesIn() {
			continue
		}
		if _, in := r.engine.Course(device); in {
			continue
		}
		d, known := l.d.cfg.Fleet.Get(device)
		if !known || !r.selector.Meets(&d, now) || l.holder(device, r.ID) != nil {
			continue
		}
		b, err := l.d.bring(ctx, r.Plan)
		if err != nil {
			l.d.log.Warn("a device could not join a rollout", "rollout", r.ID, "device", device, "cause", err)
			continue
		}
		m, why := l.d.member(&b, &d)
		if why != "" {
			continue
		}
		m.Epoch, m.Online = l.asks[device].Epoch, true
		if err := r.step(rollout.Join{At: now, Member: m}); err == nil {
			l.holders[device] = append(l.holders[device], r)
		}
	}
}

// tick does what is due.
func (l *leader) tick(ctx context.Context, now time.Time) error {
	l.reach(ctx, now)
	for _, r := range l.runs {
		if r.engine != nil && !r.wake.IsZero() && !r.wake.After(now) {
			l.step(r, rollout.Tick{At: now})
		}
	}
	for _, device := range l.looks.due(now) {
		l.d.mu.Lock()
		w, ok := l.d.words[device]
		l.d.mu.Unlock()
		if ok {
			l.look(w, nil, now)
		}
	}
	for _, r := range l.sorted() {
		if r.late || r.Head.State != view.RolloutApproved || r.Plan.NotBefore.IsZero() || r.Plan.NotBefore.After(now) {
			continue
		}
		r.late = true // once: what it is refused for now a person has to look at
		err := l.start(ctx, r, Caller{By: ofRollout + r.ID, Why: "its time has come"}, now)
		if !harmless(err) {
			return err
		}
		if err != nil {
			l.d.log.Warn("a rollout could not start at its time", "rollout", r.ID, "cause", err)
		}
	}
	return nil
}

const forever = 24 * time.Hour

// next is how long nothing is due.
func (l *leader) next(now time.Time) time.Duration {
	next := now.Add(forever)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	for _, r := range l.runs {
		if r.engine != nil {
			sooner(r.wake)
		}
		if r.Head.State == view.RolloutApproved && !r.late {
			sooner(r.Plan.NotBefore)
		}
	}
	sooner(l.looks.next())
	if l.apart {
		sooner(l.reached)
	}
	return max(0, next.Sub(now))
}

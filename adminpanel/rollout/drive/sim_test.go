package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Times of the simulated devices.
const (
	stageTakes = 20 * time.Second
	startTakes = 300 * time.Millisecond
	soakTakes  = 10 * time.Second
)

// Fates of a device that is brought a version.
const (
	good     = ""
	reverts  = "reverts"  // the trial goes badly
	unstable = "unstable" // the first stage fails
	silent   = "silent"   // the trial never ends
	operator = "operator" // somebody has to give the greenlight
	mute     = "mute"     // it says nothing but changes of its slots
)

// sim is devices and the hub that they are linked to. Both outlive panels.
type sim struct {
	t      *testing.T
	others *sim // that are linked to another panel

	mu     sync.Mutex // guards what follows
	cams   map[string]*cam
	driver *drive.Driver // nil while no panel lives
	store  store.Store   // what is on disk
	most   int           // that may be on trial at a time; 0: any
	above  int           // rollouts to more devices need an approval; 0: none does
}

func (s *sim) approvals(_ view.Plan, devices int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.above > 0 && devices > s.above {
		return 1
	}
	return 0
}

// cam does what package link has a device do.
type cam struct {
	id, fate string
	sim      *sim
	online   bool
	status   control.Status
	at       time.Time
	report   *wire.Report

	hub     wire.Desired // what the hub would send on the next link
	desired wire.Desired
	staged  bool // the stage of this epoch was tried
	tried   bool // the activation of this epoch was tried
	stages  int
	trials  int
	epochs  map[int64]bool // of activations that were acted upon
}

func newSim(t *testing.T) *sim { return &sim{t: t, cams: map[string]*cam{}} }

func (s *sim) add(id, fate, version string) *cam {
	c := &cam{id: id, fate: fate, sim: s, online: true, at: time.Now(), epochs: map[int64]bool{}}
	c.status = control.Status{
		Device: id, Product: "cam", Hardware: "rev-b", Phase: "idle", Permanent: version,
		Slots: []control.Slot{{Name: "a", State: control.StatePermanent, Version: version, Digest: "d" + version}, {Name: "b", State: control.StateEmpty}},
	}
	s.cams[id] = c
	return c
}

// begin has the devices speak to another panel, as after its restart: its hub knows nothing.
func (s *sim) begin(d *drive.Driver, on store.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.driver, s.store = d, on
	for _, c := range s.cams {
		c.hub = wire.Desired{}
		if d != nil {
			c.say()
		}
	}
}

// say tells the panel the newest. The caller holds mu.
func (c *cam) say() {
	c.at = time.Now()
	if c.sim.driver != nil {
		c.sim.driver.Hear(drive.Word{Device: c.id, Online: c.online, Status: copied(c.sim.t, c.status), At: c.at, Report: c.report})
	}
}

// copied is a status as it comes from the line.
func copied(t *testing.T, s control.Status) *control.Status {
	text, err := json.Marshal(s)
	var got control.Status
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Error(err)
	}
	return &got
}

func (s *sim) link(id string, online bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cams[id]
	c.online = online
	if online && c.hub.Epoch > 0 {
		c.take(c.hub)
	}
	c.say()
}

// forget starts the device's agent anew: it knows of no epoch any more.
func (s *sim) forget(id string) {
	s.link(id, false)
	s.mu.Lock()
	c := s.cams[id]
	c.desired, c.report, c.staged, c.tried = wire.Desired{}, nil, false, false
	s.mu.Unlock()
	s.link(id, true)
}

// asker is what one panel sends by: one that was killed says nothing more.
type asker struct {
	*sim
	dead func() bool
}

func (a asker) SetDesired(device string, d wire.Desired, _ time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead() || a.driver == nil {
		return errKilled
	}
	c, here := a.cams[device]
	if !here {
		return nil // a hub keeps it for a device that may never call
	}
	if d.Epoch < c.hub.Epoch {
		return hub.ErrOldEpoch
	}
	a.journaled(device, d)
	c.hub = d
	if c.online {
		c.take(d)
	}
	return nil
}

// journaled fails when something is desired that the store does not know of.
func (s *sim) journaled(device string, d wire.Desired) {
	item, err := s.store.Get(context.Background(), "da/"+device)
	if err != nil {
		s.t.Errorf("%s is asked (epoch %d), and the store knows nothing of it: %v", device, d.Epoch, err)
		return
	}
	a, err := drive.ReadAsk(item)
	if err != nil || uint64(a.Epoch) < d.Epoch || uint64(a.Epoch) == d.Epoch && d.Activate && !a.Activate && a.Want != rollout.WantRevert && !s.cams[device].ended(a) {
		s.t.Errorf("%s is asked for %+v, and the store has %+v, %v", device, d, a, err)
	}
	if id := a.Rollout(); id != "" {
		item, err := s.store.Get(context.Background(), "rd/"+id+"/"+device)
		var course rollout.Course
		if err == nil {
			err = json.Unmarshal(item.Value, &course)
		}
		if err != nil || uint64(course.Epoch) < d.Epoch {
			s.t.Errorf("%s is asked with epoch %d, and its course has %d, %v", device, d.Epoch, course.Epoch, err)
		}
	}
}

// ended tells whether the device has what was asked for behind it already: what is on
// disk may be newer than what is being sent.
func (c *cam) ended(a drive.Ask) bool { return c.slotOf(a.Live.Digest) != control.StateStaged }

func (a asker) Ask(_ context.Context, device string, ask wire.Ask) (wire.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.cams[device]
	switch {
	case a.dead() || a.driver == nil:
		return wire.Answer{}, errKilled
	case c == nil || !c.online:
		return wire.Answer{}, hub.ErrOffline
	}
	r := control.Result{Exit: control.ExitNothing, Message: "no version is on trial"}
	if c.status.Trial != nil {
		r = control.Result{Exit: control.ExitDone}
		if ask.Revert != nil {
			c.end(control.OutcomeReverted, "operator")
		} else {
			c.end(control.OutcomePermanent, "")
		}
	}
	text, err := json.Marshal(r)
	return wire.Answer{Result: text}, err
}

// take is a line of the panel's.
func (c *cam) take(d wire.Desired) {
	if d.Epoch < c.desired.Epoch {
		return
	}
	if d.Epoch > c.desired.Epoch {
		c.staged, c.tried = false, false
	} else if c.report != nil && c.report.State == wire.ReportFailed {
		c.staged = false
	}
	c.desired = d
	c.next()
}

func (c *cam) slotOf(digest string) string {
	for _, s := range c.status.Slots {
		if s.Digest == digest && digest != "" {
			return s.State
		}
	}
	return ""
}

// next does one step towards what is desired.
func (c *cam) next() {
	d := c.desired
	state := c.slotOf(d.Live.Digest)
	switch {
	case d.Live.Digest == "" || c.status.Phase == "staging":
		return
	case state == "" && !c.staged, state == control.StateReverted && d.Force && !c.staged:
		c.stage(d)
	case state == control.StateStaged && d.Activate && !c.tried && c.status.Trial == nil:
		c.tried = true
		c.trials++
		c.epochs[int64(d.Epoch)] = true
		c.try(d)
	}
	c.tell()
}

func (c *cam) stage(d wire.Desired) {
	c.staged = true
	c.stages++
	first := c.stages == 1
	c.status.Phase = "staging"
	c.report = &wire.Report{Epoch: d.Epoch, State: wire.ReportStaging}
	c.after(stageTakes, func() {
		c.status.Phase = "idle"
		if c.fate == unstable && first {
			c.report = &wire.Report{Epoch: c.desired.Epoch, State: wire.ReportFailed, Code: "unreadable", Message: "the line was cut"}
			c.say()
			return
		}
		c.status.Phase = "staged"
		c.status.Slots[1] = control.Slot{Name: "b", State: control.StateStaged, Version: d.Live.Version, Digest: d.Live.Digest}
		c.next()
	})
}

func (c *cam) try(d wire.Desired) {
	c.status.Slots[1].State, c.status.Phase = control.StateTrial, "starting"
	c.status.Trial = &control.Trial{ID: fmt.Sprint("t", c.trials), Version: d.Live.Version, Greenlight: "app", SoakMS: soakTakes.Milliseconds()}
	if c.fate == operator {
		c.status.Trial.Greenlight = "operator"
	}
	c.sim.crowd()
	trial := c.status.Trial
	c.after(startTakes, func() {
		if c.status.Trial == trial {
			c.status.Phase, trial.TookOver = "trial", time.Now()
		}
	})
	c.after(startTakes+soakTakes, func() {
		switch {
		case c.status.Trial != trial || c.fate == silent || c.fate == operator:
		case c.fate == reverts && d.Live.Version == "2.0":
			c.end(control.OutcomeReverted, "stall")
		default:
			c.end(control.OutcomePermanent, "")
		}
	})
}

// crowd counts who is on trial. Whoever may be given up before its end is not counted.
func (s *sim) crowd() {
	n := 0
	for _, c := range s.cams {
		if c.status.Trial != nil && c.fate != silent && c.fate != operator {
			n++
		}
	}
	if s.most > 0 && n > s.most {
		s.t.Errorf("%d devices are on trial, %d at most may be", n, s.most)
	}
}

// end ends the trial.
func (c *cam) end(outcome, reason string) {
	s := &c.status
	s.Last = &control.Record{
		Time: time.Now(), Trial: s.Trial.ID, From: s.Permanent, To: s.Slots[1].Version, Digest: s.Slots[1].Digest, Outcome: outcome, Reason: reason,
	}
	if outcome == control.OutcomePermanent {
		s.Slots[0], s.Slots[1] = s.Slots[1], s.Slots[0]
		s.Slots[0].State, s.Slots[1].State = control.StatePermanent, control.StatePrevious
		s.Permanent = s.Slots[0].Version
	} else {
		s.Slots[1].State = control.StateReverted
	}
	s.Trial, s.Phase = nil, "idle"
	c.next()
}

// tell reports where things stand, as far as they show.
func (c *cam) tell() {
	if c.fate == mute {
		return
	}
	words := map[string]string{
		control.StateStaged: wire.ReportStaged, control.StateTrial: wire.ReportTrial,
		control.StatePermanent: wire.ReportPermanent, control.StateReverted: wire.ReportReverted,
	}
	if w, ok := words[c.slotOf(c.desired.Live.Digest)]; ok && (w != wire.ReportReverted || !c.desired.Force || c.tried) {
		c.report = &wire.Report{Epoch: c.desired.Epoch, State: w}
	}
	c.say()
}

// after does something later.
func (c *cam) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		c.sim.mu.Lock()
		defer c.sim.mu.Unlock()
		do()
		c.say()
	})
}

var errKilled = errors.New("killed")

// mortal is a store that dies with its panel at a commit.
type mortal struct {
	store.Store
	t       *testing.T
	mu      sync.Mutex
	commits int
	at      int  // the commit that it dies at; 0: it lives
	after   bool // that one is on disk still
	died    chan struct{}
}

func (m *mortal) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	fenced := slices.ContainsFunc(ifs, func(c store.Cond) bool { return c.Key == "lead/rollouts" && c.Rev > 0 })
	if !fenced && !strings.HasPrefix(ops[0].Key, "fw/") && !strings.HasPrefix(ops[0].Key, "dw/") {
		m.t.Errorf("a commit of %s without the leader's condition", ops[0].Key)
	}
	m.mu.Lock()
	m.commits++
	n := m.commits
	if m.at > 0 && n == m.at {
		close(m.died)
	}
	m.mu.Unlock()
	if m.at > 0 && (n > m.at || n == m.at && !m.after) {
		return 0, errKilled
	}
	rev, err := m.Store.Commit(ctx, ifs, ops)
	if m.at > 0 && n == m.at {
		return 0, errKilled
	}
	return rev, err
}

func (m *mortal) dead() bool {
	select {
	case <-m.died:
		return true
	default:
		return false
	}
}

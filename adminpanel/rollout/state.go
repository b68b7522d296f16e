package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
)

// Head is what is journaled of a rollout besides its devices.
type Head struct {
	State   string     `json:"state"`
	Why     string     `json:"why,omitempty"`
	Wave    int        `json:"wave"` // open one, from 0; -1 before the first
	Waves   []WaveHead `json:"waves"`
	Started time.Time  `json:"started,omitzero"`
	Ended   time.Time  `json:"ended,omitzero"`
	// Accepted are the failures that a person has resumed after, and Of the devices
	// that had ended by then: the limits count from there.
	Accepted int `json:"accepted,omitempty"`
	Of       int `json:"of,omitempty"`
}

// WaveHead is what is journaled of a wave.
type WaveHead struct {
	Verdict string    `json:"verdict"` // as in view.WaveState
	Why     string    `json:"why,omitempty"`
	Opened  time.Time `json:"opened,omitzero"`
	Reached time.Time `json:"reached,omitzero"` // enough of it were done; its soak began
	Moment  time.Time `json:"moment,omitzero"`  // all of it was activated together
	Closed  time.Time `json:"closed,omitzero"`
}

// Wave verdicts.
const (
	waveWaiting = "waiting"
	waveOpen    = "open"
	waveSoaking = "soaking"
	wavePassed  = "passed"
	waveFailed  = "failed"
	waveSkipped = "skipped"
)

// Member is a device as it joins.
type Member struct {
	Device string
	Wave   int    // from 0
	Site   string // "": of none, and no limit by site holds it
	Tags   []string
	Zone   string   // IANA name; unknown ones count as UTC
	Steps  []string // releases that it takes one after the other; the plan's is the last
	From   string   // version that it runs
	Epoch  int64    // of the newest ask that was ever sent to it
	Online bool
	Has    bool // it runs the release for good already
}

// Course is what is journaled of a device.
type Course struct {
	Device string    `json:"device"`
	Wave   int       `json:"wave"`
	Phase  string    `json:"phase"` // one of view's phases, but never unknown
	Since  time.Time `json:"since"`
	Step   int       `json:"step"` // which of Steps it is at
	Steps  []string  `json:"steps"`
	Want   string    `json:"want,omitempty"` // newest ask
	Epoch  int64     `json:"epoch"`          // of that
	Heard  int64     `json:"heard"`          // epochs below are not heard any more
	Force  bool      `json:"force,omitempty"`
	Tries  int       `json:"tries,omitempty"`
	Until  time.Time `json:"until,omitzero"` // deadline of the phase
	Retry  time.Time `json:"retry,omitzero"` // end of the pause between two tries
	Cause  string    `json:"cause,omitempty"`
	Detail string    `json:"detail,omitempty"`
	From   string    `json:"from,omitempty"`
	Site   string    `json:"site,omitempty"`
	Tags   []string  `json:"tags,omitempty"`
	Zone   string    `json:"zone,omitempty"`
	ActMS  float64   `json:"actMs,omitempty"` // from the ask to the trial
	GapMS  float64   `json:"gapMs,omitempty"`
}

// device is a course and what is only known while the panel runs.
type device struct {
	Course
	online  bool
	dirty   bool // to be journaled
	waits   bool // its trial waits for a greenlight
	unknown bool // in flight when the panel started, and silent since
	staging bool // is in the queue for staging
	ready   bool // is in the queue for activation, or held back from it
	zone    *time.Location
	gone    bool // left the fleet
}

// Rollout is the state. It is not safe for concurrent use.
type Rollout struct {
	plan    view.Plan
	windows []weekly
	head    Head

	devices []device
	index   map[string]int
	total   view.Counts
	waves   []view.Counts

	staging queues    // devices to stage, by wave
	ready   queues    // devices to activate, by wave
	back    []int     // devices to revert
	held    holds     // devices that a limit or a window holds back
	busy    busyCount // devices unavailable by what limits them
	pausing []int     // devices between two tries, by wave
	alarms  alarms

	acts, gaps spread
	worst      string
	causes     map[string]*cause

	torn  bool // the end of an abort or a roll-back may not be journaled
	out   Outcome
	dirty []int // devices to be journaled
}

// New makes a draft of a plan that [Check] accepts, with its members.
func New(plan view.Plan, members []Member) (*Rollout, error) {
	if err := Check(plan); err != nil {
		return nil, err
	}
	if len(members) > MaxDevices {
		return nil, fmt.Errorf("a rollout takes %d devices at most, and the selector meets %d", MaxDevices, len(members))
	}
	r := blank(plan)
	r.head = Head{State: view.RolloutDraft, Wave: -1, Waves: make([]WaveHead, len(plan.Waves))}
	for i := range r.head.Waves {
		r.head.Waves[i].Verdict = waveWaiting
	}
	for _, m := range members {
		if _, err := r.add(m, time.Time{}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func blank(plan view.Plan) *Rollout {
	r := &Rollout{
		plan: plan, index: map[string]int{}, waves: make([]view.Counts, len(plan.Waves)),
		staging: make(queues, len(plan.Waves)), ready: make(queues, len(plan.Waves)),
		held: holds{}, busy: busyCount{}, pausing: make([]int, len(plan.Waves)), causes: map[string]*cause{},
	}
	for _, w := range plan.Windows {
		if parsed, err := parseWindow(w); err == nil { // Check has seen them
			r.windows = append(r.windows, parsed)
		}
	}
	return r
}

func (r *Rollout) add(m Member, at time.Time) (int, error) {
	switch {
	case m.Device == "" || len(m.Steps) == 0 || m.Steps[len(m.Steps)-1] != r.plan.Release:
		return 0, fmt.Errorf("device %q does not end at the plan's release", m.Device)
	case m.Wave < 0 || m.Wave >= len(r.waves):
		return 0, fmt.Errorf("device %s is in no wave of the plan", m.Device)
	}
	if _, twice := r.index[m.Device]; twice {
		return 0, fmt.Errorf("device %s is in the rollout already", m.Device)
	}
	c := Course{
		Device: m.Device, Wave: m.Wave, Phase: view.PhaseQueued, Since: at, Steps: slices.Clone(m.Steps), Epoch: m.Epoch, Heard: m.Epoch,
		From: m.From, Site: m.Site, Tags: slices.Clone(m.Tags), Zone: m.Zone, Force: r.plan.Force,
	}
	if m.Has {
		c.Phase, c.Step, c.Detail = view.PhaseDone, len(c.Steps)-1, "it ran this version already"
	}
	return r.put(device{Course: c, online: m.Online}), nil
}

// put takes a device in as it is, and counts it.
func (r *Rollout) put(d device) int {
	i := len(r.devices)
	d.zone = zoneOf(d.Zone)
	r.devices = append(r.devices, d)
	r.index[d.Device] = i
	r.tally(i, 1)
	return i
}

func zoneOf(name string) *time.Location {
	if zone, err := time.LoadLocation(name); err == nil {
		return zone
	}
	return time.UTC
}

// tally adds n to every count that device i is in at present.
func (r *Rollout) tally(i, n int) {
	d := &r.devices[i]
	for _, c := range []*view.Counts{&r.total, &r.waves[d.Wave]} {
		c.Devices += n
		*phaseCount(c, d) += n
		if !d.online && !ended(d.Phase) {
			c.Offline += n
		}
	}
	if d.Phase == view.PhaseQueued && !d.Retry.IsZero() && d.online {
		r.pausing[d.Wave] += n
	}
	if unavailable(d.Phase) {
		r.busy.add(r.limitsOf(d), n)
	}
	if d.Phase == view.PhaseFailed || d.Phase == view.PhaseReverted {
		r.blame(d, n)
	}
}

func phaseCount(c *view.Counts, d *device) *int {
	if d.unknown {
		return &c.Unknown
	}
	switch d.Phase {
	case view.PhaseQueued:
		return &c.Queued
	case view.PhaseStaging:
		return &c.Staging
	case view.PhaseStaged:
		return &c.Staged
	case view.PhaseActivating:
		return &c.Activating
	case view.PhaseTrial:
		return &c.Trial
	case view.PhaseDone:
		return &c.Done
	case view.PhaseFailed:
		return &c.Failed
	case view.PhaseReverting:
		return &c.Reverting
	case view.PhaseReverted:
		return &c.Reverted
	default:
		return &c.Skipped
	}
}

func ended(phase string) bool {
	switch phase {
	case view.PhaseDone, view.PhaseFailed, view.PhaseReverted, view.PhaseSkipped:
		return true
	}
	return false
}

// unavailable phases are those in which a picture may be at risk.
func unavailable(phase string) bool {
	return phase == view.PhaseActivating || phase == view.PhaseTrial || phase == view.PhaseReverting
}

// change alters device i, keeps every count right, and has it journaled.
func (r *Rollout) change(i int, alter func(*device)) {
	r.tally(i, -1)
	alter(&r.devices[i])
	r.tally(i, 1)
	r.mark(i)
}

// mark has device i journaled. A map would cost its greatest size at every step.
func (r *Rollout) mark(i int) {
	if !r.devices[i].dirty {
		r.devices[i].dirty = true
		r.dirty = append(r.dirty, i)
	}
}

// enter brings device i into a phase.
func (r *Rollout) enter(i int, phase string, at time.Time) {
	r.change(i, func(d *device) {
		d.Phase, d.Since, d.Until, d.Retry, d.unknown, d.waits = phase, at, time.Time{}, time.Time{}, false, false
	})
}

// anyDevice is the name of the limit that holds for all devices together.
const anyDevice = ""

// most is how many devices may be unavailable at a time: all of them, if they are
// meant to be activated together.
func (r *Rollout) most() int {
	if r.plan.Activation == "together" {
		return len(r.devices)
	}
	return r.plan.MaxUnavailable
}

// limitsOf names what limits a device besides the rollout's own limit: its site and
// its tags.
func (r *Rollout) limitsOf(d *device) []limit {
	list := []limit{{anyDevice, r.most()}}
	if r.plan.MaxPerSite > 0 && d.Site != "" {
		list = append(list, limit{"site " + d.Site, r.plan.MaxPerSite})
	}
	for _, tag := range d.Tags {
		key, _, ok := strings.Cut(tag, "=")
		if most := r.plan.MaxPerTag[key]; ok && most > 0 {
			list = append(list, limit{"tag " + tag, most})
		}
	}
	return list
}

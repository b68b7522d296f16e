package agent

import (
	"cmp"
	"slices"
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// Phase is how far an update has come.
type Phase string

const (
	PhaseIdle       Phase = "idle"
	PhaseStaging    Phase = "staging"    // the spare slot is being written
	PhaseStaged     Phase = "staged"     // the spare slot is whole
	PhaseArming     Phase = "arming"     // the boot loader is being told to try a new system
	PhaseRebooting  Phase = "rebooting"  // the device goes down for it
	PhaseRenewing   Phase = "renewing"   // the agent becomes the one on trial
	PhaseStarting   Phase = "starting"   // the new version's process runs; viewers see the old one
	PhaseTrial      Phase = "trial"      // viewers see the new version
	PhaseHolding    Phase = "holding"    // the forwarder is asked whether it may become permanent
	PhaseCommitting Phase = "committing" // the active record is being written
	PhaseSettling   Phase = "settling"   // the commit point is passed; the forwarder is being told
	PhaseReverting  Phase = "reverting"  // viewers go back, then the new version is stopped
	PhaseClearing   Phase = "clearing"   // a spare slot is being emptied
	PhaseFallback   Phase = "fallback"   // the permanent version is damaged; the one before takes its place
)

// State is everything that [Step] knows. The journal keeps it as JSON; fields
// without a place there are worth nothing after the agent's death.
type State struct {
	Boot     string `json:"boot"`
	Trials   int64  `json:"trials"`   // number of the newest trial
	Starts   int64  `json:"starts"`   // number of the newest start of an app
	Attempts int64  `json:"attempts"` // number of the newest attempt at staging

	Phase     Phase      `json:"phase"`
	Permanent Version    `json:"permanent"` // a copy of what the active record says
	Previous  Version    `json:"previous"`
	Spare     Version    `json:"spare"`            // whole content of the slot that is not permanent
	Package   Version    `json:"package,omitzero"` // what is staged, if that is more than an app
	System    System     `json:"system,omitzero"`
	Runtime   Programs   `json:"runtime,omitzero"`
	Apps      [2]App     `json:"apps"` // of slots a and b
	Stage     Stage      `json:"stage,omitzero"`
	Trial     Trial      `json:"trial,omitzero"`
	Reverted  []Reverted `json:"reverted,omitempty"` // newest last
	Retiring  string     `json:"retiring,omitempty"` // slot of the old app, while viewers may need it past a commit
	Damage    string     `json:"damage,omitempty"`   // why the permanent version cannot be started, if its slot is to blame

	Commits   Commits `json:"commits,omitzero"`
	Escalated Age     `json:"escalated,omitzero"` // when the device last began to start the other system by itself

	Spoilt []string `json:"spoilt,omitempty"` // slots of all classes that were found damaged, until they are written anew

	clear     clearing
	replace   replacing
	face      face
	noFreezer string // why apps cannot be frozen here
}

// Version is one version in a slot.
type Version struct {
	Slot    string `json:"slot"`
	Digest  string `json:"digest"`        // of the package
	Image   string `json:"image"`         // SHA-256 of the live image
	App     string `json:"app,omitempty"` // digest of the signed app contract
	Version string `json:"version"`
	Counter int64  `json:"counter"` // releaseCounter; of the permanent version: the floor
	Epoch   int64  `json:"epoch,omitempty"`
	Factory bool   `json:"factory,omitempty"` // the version that the device came with, asked for as such
	Rules   Rules  `json:"rules"`

	Streams []string `json:"streams,omitempty"` // that it declares
	Codecs  []string `json:"codecs,omitempty"`  // of these
	Events  []string `json:"events,omitempty"`  // those that have frames on events only

	Envelopes []orders.Stream `json:"envelopes,omitempty"` // of the streams, by their names
	Breaks    []string        `json:"breaks,omitempty"`    // streams whose envelope it may leave

	System   Part            `json:"system,omitzero"`  // that comes with it
	Runtime  Part            `json:"runtime,omitzero"` // programs of Slipstream
	Requires verify.Requires `json:"requires,omitzero"`

	State *verify.State `json:"state,omitempty"` // what it hands over and takes; nil: no state
}

// Rules are the parts of the signed manifest that the upgrade obeys.
type Rules struct {
	Greenlight    string        `json:"greenlight"` // verify.GreenlightApp, …Operator or …Auto
	StartTimeout  time.Duration `json:"startTimeout"`
	Deadline      time.Duration `json:"deadline"`
	Soak          time.Duration `json:"soak"`
	StopTimeout   time.Duration `json:"stopTimeout"`
	Watchdog      time.Duration `json:"watchdog"`
	Silent        bool          `json:"silent"` // the app says no READY=1: it is ready when it runs
	Overlap       string        `json:"overlap,omitempty"`
	Checks        int           `json:"checks,omitempty"` // how many the agent judges
	RestartMax    int           `json:"restartMax"`
	RestartWindow time.Duration `json:"restartWindow"`
}

// AppStatus is what a slot's app is doing, as control.Slot shows it.
type AppStatus string

const (
	AppStopped  AppStatus = ""
	AppStarting AppStatus = "starting"
	AppRunning  AppStatus = "ready"
	AppStopping AppStatus = "stopping"
	AppBackOff  AppStatus = "back-off" // dead, and waiting for its restart
	AppAway     AppStatus = "away"     // ended to make room for a trial
)

// App is a slot's app.
type App struct {
	Source  orders.SourceID `json:"source"` // its newest run, also a dead one in back-off
	Status  AppStatus       `json:"status"`
	PID     int             `json:"pid"`
	Since   time.Time       `json:"since,omitzero"`
	Deaths  []int64         `json:"deaths,omitempty"` // CLOCK_MONOTONIC ns, within the restart window
	RetryAt int64           `json:"retryAt,omitempty"`
	StartBy int64           `json:"startBy,omitempty"` // READY=1 until then, outside of trials
	Lost    []Lost          `json:"lost,omitempty"`

	StartLimit int64         `json:"startLimit,omitempty"` // StartBy goes no further
	Period     time.Duration `json:"period,omitempty"`     // that the app gave its watchdog

	Born   int64  `json:"born,omitempty"`   // CLOCK_MONOTONIC ns of its start
	Beyond int    `json:"beyond,omitempty"` // how often it has ended beyond its restart intensity since it last ran for long
	Barred string `json:"barred,omitempty"` // why the version before does not come back by itself

	Restarts   int       `json:"restarts,omitempty"` // of the permanent app, after it ended by itself
	LastExit   string    `json:"lastExit,omitempty"`
	LastExitAt time.Time `json:"lastExitAt,omitzero"`

	lastPing int64  // newest WATCHDOG=1, or when we began to listen for it
	ended    string // why we ended it
}

// Stage is an attempt at writing the spare slot.
type Stage struct {
	Attempt int64   `json:"attempt"`
	Version Version `json:"version"`
	Begun   bool    `json:"begun"` // false while the slot's old app is still stopping

	Again bool `json:"again,omitempty"` // it was staged, and is looked at

	req uint64 // who waits for the end; nobody after the agent's restart
	off calledOff
	was Version // in the spare slot until then
}

// Trial is the one trial under way.
type Trial struct {
	ID       orders.TrialID  `json:"id"`
	From     Version         `json:"from"`
	To       Version         `json:"to"`
	Source   orders.SourceID `json:"source"`
	Began    time.Time       `json:"began"`
	Started  bool            `json:"started"`  // the process has run
	StartBy  int64           `json:"startBy"`  // on the viewers' screens until then
	Deadline int64           `json:"deadline"` // greenlight until then
	Armed    bool            `json:"armed"`    // the forwarder was told of the trial
	Latched  bool            `json:"latched"`  // the marker was seen
	SoakEnds int64           `json:"soakEnds"` // set when viewers came over
	TookOver time.Time       `json:"tookOver,omitzero"`

	Cause     string   `json:"cause,omitempty"`  // of the revert
	Detail    string   `json:"detail,omitempty"` // one sentence
	Evidence  []string `json:"evidence,omitempty"`
	Back      bool     `json:"back,omitempty"`      // viewers are on the old version
	Gone      bool     `json:"gone,omitempty"`      // the new version's process is gone
	Forgotten bool     `json:"forgotten,omitempty"` // the forwarder was started anew since

	Overlap  string          `json:"overlap,omitempty"`  // in which way: verify.OverlapFull, …Frozen or …None
	Spoilt   string          `json:"spoilt,omitempty"`   // slot that was found damaged, and why there is no trial
	Unbegun  bool            `json:"unbegun,omitempty"`  // its app is not to be started yet
	Clearing bool            `json:"clearing,omitempty"` // the old app is being ended to make room
	Frozen   orders.SourceID `json:"frozen,omitempty"`   // the old app, while it is
	Unfrozen string          `json:"unfrozen,omitempty"` // why it could not be
	ReturnBy int64           `json:"returnBy,omitempty"` // the old app was started again, and is waited for

	Reboot Reboot `json:"reboot,omitzero"`

	Return string   `json:"return,omitempty"` // why a version that was permanent before is tried; "": it was not
	Left   string   `json:"left,omitempty"`   // of such a trial: what is held against the version that is left
	Said   []string `json:"said,omitempty"`   // and its last words

	Rehearsal bool `json:"rehearsal,omitempty"` // of the permanent version's own content
	Staged    bool `json:"staged,omitempty"`    // a rehearsal: what is in the spare slot was staged, and is afterwards

	Switched *orders.Switched `json:"switched,omitempty"` // the forwarder's own reports
	Reverted *orders.Reverted `json:"reverted,omitempty"`
	Verdicts []orders.Verdict `json:"verdicts,omitempty"` // when the right to commit was given

	Checked []control.Verdict `json:"checked,omitempty"` // the newest word on the checks of the agent

	askAt   int64    // when the request of this phase is sent again
	asked   int      // how often it went without an answer
	waiting []uint64 // requests for a greenlight that was not seen yet

	seen orders.SourceID // whom viewers saw last

	lateBy int64 // the forwarder was asked what is missing, and may answer until then
}

// Reverted is a version that was tried and not greenlit.
type Reverted struct {
	Digest  string `json:"digest"`
	Image   string `json:"image"`
	App     string `json:"app,omitempty"`     // "" in entries of older agents: only Digest says something then
	System  string `json:"system,omitempty"`  // SHA-256 of its system image
	Runtime string `json:"runtime,omitempty"` // and of that of its programs
	Version string `json:"version"`
}

const (
	// maxReverted bounds how many reverted versions are remembered.
	maxReverted = 100
	// maxEvidence bounds the log lines kept as evidence.
	maxEvidence = 20
)

// under says whether a trial is under way.
func (t Trial) under() bool { return t.ID != "" }

func (v Version) none() bool { return v.Slot == "" }

// codec is that of the i-th stream; versions of older journals have only H.264.
func (v Version) codec(i int) string {
	if i < len(v.Codecs) {
		return v.Codecs[i]
	}
	return verify.CodecH264
}

// envelope is what viewers of the i-th stream rely on; versions of older journals
// have only the codec.
func (v Version) envelope(i int) orders.Stream {
	if i < len(v.Envelopes) {
		return v.Envelopes[i]
	}
	return orders.Stream{Name: v.Streams[i], Codec: v.codec(i)}
}

// slots names the two live slots, as State.Apps counts them.
var slotNames = [2]string{"a", "b"}

func slotIndex(name string) int {
	if name == slotNames[1] {
		return 1
	}
	return 0
}

// SpareSlot is the slot that may be written: never the permanent one.
func (s State) SpareSlot() string {
	if s.Permanent.Slot == slotNames[0] {
		return slotNames[1]
	}
	return slotNames[0]
}

// covers says whether a version is the one that was reverted: the same package,
// or another one that would run the same image under the same contract. A package
// whose contract alone was corrected is another version.
func (r Reverted) covers(v Version) bool {
	known := r.Image != "" && r.App != "" || r.Image == "" && r.System+r.Runtime != ""
	same := known && r.Image == v.Image && r.App == v.App && r.System == v.System.Image && r.Runtime == v.Runtime.Image
	return r.Digest == v.Digest || same
}

// WasReverted finds the version under which a version was tried before and not
// greenlit. Its own package comes before another one of the same content.
func (s State) WasReverted(v Version) (r Reverted, was bool) {
	for _, r := range s.Reverted {
		if r.Digest == v.Digest {
			return r, true
		}
	}
	i := slices.IndexFunc(s.Reverted, func(r Reverted) bool { return r.covers(v) })
	if i < 0 {
		return Reverted{}, false
	}
	return s.Reverted[i], true
}

// SlotState is a slot's version state, in the words of package control.
func (s State) SlotState(slot string) (string, Version) {
	t := s.Trial
	switch {
	case slot == s.Permanent.Slot:
		return control.StatePermanent, s.Permanent
	case t.under() && slot == t.To.Slot:
		return control.StateTrial, t.To
	case t.under() && slot == t.From.Slot:
		return control.StatePrevious, t.From
	case s.Phase == PhaseStaging && slot == s.Stage.Version.Slot:
		return control.StateStaging, s.Stage.Version
	case s.Spare.none() || s.Spare.Slot != slot:
		return control.StateEmpty, Version{}
	case s.Phase == PhaseStaged && s.staged().Digest == s.Spare.Digest:
		return control.StateStaged, s.Spare
	}
	if _, was := s.WasReverted(s.Spare); was {
		return control.StateReverted, s.Spare
	}
	return control.StatePrevious, s.Spare
}

// version is the one that runs, or is to run, in a slot.
func (s *State) version(slot string) Version {
	switch {
	case s.Trial.under() && slot == s.Trial.To.Slot:
		return s.Trial.To
	case s.Trial.under() && slot == s.Trial.From.Slot:
		return s.Trial.From
	case slot == s.Permanent.Slot:
		return s.Permanent
	}
	return s.Spare
}

func (s *State) rules(slot string) Rules { return s.version(slot).Rules }

// restarts says whether a dead app of a slot is started again. After the commit
// point the new version waits for settle, so that the forwarder hears of one
// change at a time.
func (s State) restarts(slot string) bool {
	return slot == s.Permanent.Slot && s.Phase != PhaseSettling && s.Phase != PhaseFallback
}

// Wake is when [Step] wants the next [Tick]; 0 is never.
func (s State) Wake() int64 {
	var at int64
	sooner := func(t int64) {
		if t > 0 && (at == 0 || t < at) {
			at = t
		}
	}
	for i, app := range s.Apps {
		if app.Status == AppBackOff && s.restarts(slotNames[i]) {
			sooner(app.RetryAt)
		}
		if app.Status == AppStarting && s.restarts(slotNames[i]) {
			sooner(app.StartBy)
		}
		if limit := app.period(s.rules(slotNames[i]).Watchdog); app.Status == AppRunning && limit > 0 && !s.frozen(app) {
			sooner(app.lastPing + int64(limit))
		}
	}
	sooner(s.grown())
	t := s.Trial
	switch s.Phase {
	case PhaseArming, PhaseRebooting, PhaseRenewing:
		sooner(t.Deadline)
		sooner(t.Reboot.Again)
	case PhaseStarting, PhaseTrial:
		sooner(t.giveUp())
		if s.Phase == PhaseStarting {
			sooner(max(t.StartBy, t.lateBy))
		}
		if s.Phase == PhaseTrial && (t.Latched || t.Rehearsal || t.To.Rules.Greenlight == verify.GreenlightAuto) && t.checked() {
			sooner(t.SoakEnds)
		}
	case PhaseHolding, PhaseCommitting, PhaseSettling, PhaseReverting:
		sooner(t.askAt)
		sooner(t.ReturnBy)
		sooner(t.Reboot.Again)
	}
	return at
}

// giveUp is when the agent itself ends the trial. An armed forwarder does so at
// the deadline, in less time than a message takes; the agent is only the
// backstop then.
func (t Trial) giveUp() int64 {
	if t.Armed {
		return t.Deadline + int64(backstop)
	}
	return t.Deadline
}

// proof is what the forwarder reported, in the words of package control.
func (t Trial) proof() *control.Proof {
	if t.Switched == nil && t.Reverted == nil && len(t.Verdicts) == 0 && len(t.Checked) == 0 {
		return nil
	}
	p := &control.Proof{Verdicts: verdicts(t.Verdicts)}
	if sw := t.Switched; sw != nil {
		p.Switch = streamProofs(sw.Streams)
	}
	if r := t.Reverted; r != nil {
		p.Detected, p.First, p.Revert, p.By = r.Detected, r.First, streamProofs(r.Streams), r.By
		if len(r.Verdicts) > 0 {
			p.Verdicts = verdicts(r.Verdicts)
		}
		if r.First > 0 {
			p.DetectToFirstMS = float64(r.First-r.Detected) / float64(time.Millisecond)
		}
	}
	p.Verdicts = append(p.Verdicts, t.Checked...)
	return p
}

// verdicts are those of the forwarder, by stream and name.
func verdicts(list []orders.Verdict) []control.Verdict {
	var out []control.Verdict
	for _, v := range list {
		out = append(out, control.Verdict{
			Stream: v.Stream, Invariant: v.Invariant, Measure: v.Measure, Against: v.Against, Baseline: v.Baseline,
			Value: v.Value, Base: v.Base, Compared: v.Compared, Min: v.Min, Max: v.Max, Required: v.Required, Judged: v.Judged, Holds: v.Holds,
		})
	}
	slices.SortFunc(out, func(x, y control.Verdict) int {
		return cmp.Or(cmp.Compare(x.Stream, y.Stream), cmp.Compare(x.Invariant, y.Invariant))
	})
	return out
}

func streamProofs(switches []orders.StreamSwitch) []control.StreamProof {
	var out []control.StreamProof
	for _, s := range switches {
		out = append(out, control.StreamProof(s))
	}
	slices.SortFunc(out, func(x, y control.StreamProof) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

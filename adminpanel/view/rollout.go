package view

import "time"

// Rollout states.
const (
	RolloutDraft       = "draft"
	RolloutApproved    = "approved"     // may start; waits for its time
	RolloutRunning     = "running"      //
	RolloutPaused      = "paused"       // by a person
	RolloutHalted      = "halted"       // by its own limits; a person decides
	RolloutRollingBack = "rolling-back" // its upgraded devices are asked to revert
	RolloutCompleted   = "completed"    // every device has an end
	RolloutAborted     = "aborted"
)

// Device phases within a rollout.
const (
	PhaseQueued     = "queued"
	PhaseStaging    = "staging"
	PhaseStaged     = "staged"
	PhaseActivating = "activating"
	PhaseTrial      = "trial"
	PhaseDone       = "done" // permanent, and said so by the device itself
	PhaseFailed     = "failed"
	PhaseReverting  = "reverting"
	PhaseReverted   = "reverted"
	PhaseSkipped    = "skipped"
	PhaseUnknown    = "unknown" // after a restart of the panel, until the device has spoken
)

// Plan says what a rollout brings to whom, and how carefully.
type Plan struct {
	Name     string `json:"name,omitempty" maxLength:"120"`
	Release  string `json:"release" doc:"id of a release"`
	Selector string `json:"selector" maxLength:"2000" doc:"which devices, in the words of the device list's filter; frozen when the rollout starts"`
	// Dynamic adds devices that come to meet the selector later, in the last wave.
	Dynamic bool   `json:"dynamic,omitempty"`
	Waves   []Wave `json:"waves" minItems:"1" maxItems:"50"`

	MaxUnavailable int            `json:"maxUnavailable" minimum:"1" doc:"devices being activated or on trial at a time"`
	MaxPerSite     int            `json:"maxPerSite,omitempty" doc:"of one site; 0: no such limit"`
	MaxPerTag      map[string]int `json:"maxPerTag,omitempty" doc:"of devices with that tag key (key=value tags): so many of one value"`
	MaxStaging     int            `json:"maxStaging,omitempty" doc:"devices downloading at a time; 0: 50"`

	SuccessPercent    float64 `json:"successPercent" minimum:"0" maximum:"100" doc:"of a wave's ended devices, for the next to open"`
	FailPercent       float64 `json:"failPercent" minimum:"0" maximum:"100" doc:"halt when the failure rate's lower 95 % Wilson bound is above"`
	FailCount         int     `json:"failCount,omitempty" doc:"halt at so many failures; 0: no such limit"`
	TrialDeadlineMS   int64   `json:"trialDeadlineMs" minimum:"1000" doc:"silence past it is failure"`
	StagingDeadlineMS int64   `json:"stagingDeadlineMs,omitempty" doc:"of a device that is here; 0: 6 hours"`
	Retries           int     `json:"retries,omitempty" maximum:"10" doc:"of one device that failed"`
	RetryAfterMS      int64   `json:"retryAfterMs,omitempty"`
	OnFailure         string  `json:"onFailure" enum:"pause,halt,revert" doc:"what a crossed limit does"`
	OfflineDeadlineMS int64   `json:"offlineDeadlineMs,omitempty" doc:"a queued device that is away so long is skipped; 0: waited for"`

	Windows    []Window   `json:"windows,omitempty" maxItems:"20" doc:"when devices may be activated, in their own time; none: always"`
	NotBefore  time.Time  `json:"notBefore,omitzero"`
	Activation string     `json:"activation" enum:"waves,together" doc:"together: everything is staged first and activated in one moment"`
	Through    []Through  `json:"through,omitempty" maxItems:"10" doc:"versions that devices below must pass first"`
	Force      bool       `json:"force,omitempty"`
	Approval   int        `json:"-"` // set by the panel's own rule, not by the plan
	Greenlight Greenlight `json:"greenlight,omitzero"`
}

// Greenlight says whether the panel writes it where a package leaves it to an operator.
type Greenlight struct {
	Auto bool `json:"auto,omitempty" doc:"confirm devices whose invariants hold when their soak is over"`
}

// Wave is a part of a rollout's devices. Exactly one of Count and Percent is set, or
// neither in the last wave, which takes the rest.
type Wave struct {
	Name     string  `json:"name,omitempty" maxLength:"60"`
	Count    int     `json:"count,omitempty"`
	Percent  float64 `json:"percent,omitempty" doc:"of all devices of the rollout"`
	Selector string  `json:"selector,omitempty" doc:"only such devices, e.g. tag:lab"`
	SoakMS   int64   `json:"soakMs,omitempty" doc:"after its last device ended, before the next wave"`
	Pause    bool    `json:"pause,omitempty" doc:"wait for a person after it"`
}

// Window is a weekly range. To at or before From ends on the next day.
type Window struct {
	Days []string `json:"days" doc:"mon … sun, on which it begins"`
	From string   `json:"from" pattern:"^[0-2][0-9]:[0-5][0-9]$"`
	To   string   `json:"to" pattern:"^[0-2][0-9]:[0-5][0-9]$"`
}

// Through is a release that devices below a version must run before.
type Through struct {
	Below   string `json:"below"`
	Release string `json:"release"`
}

// Rollout is one as its page shows it.
type Rollout struct {
	ID      string    `json:"id"`
	Plan    Plan      `json:"plan"`
	Version string    `json:"version"` // of its release
	State   string    `json:"state"`
	Why     string    `json:"why,omitempty"`     // it is in that state, or waits: one plain sentence
	Waiting []string  `json:"waiting,omitempty"` // what it waits for, a sentence each
	Wave    int       `json:"wave"`              // open one, from 1; 0 before the first
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`

	Approvals []Approval  `json:"approvals"`
	Needed    int         `json:"needed"` // approvals in all
	Total     Counts      `json:"total"`
	Waves     []WaveState `json:"waves"`
	Failures  []Cause     `json:"failures"` // by cause, most first

	FailRate  float64 `json:"failRate"` // percent of ended devices
	FailLow   float64 `json:"failLow"`  // and its 95 % Wilson bounds
	FailHigh  float64 `json:"failHigh"` //
	Now       int     `json:"now"`      // devices unavailable at present
	ActP50MS  float64 `json:"actP50Ms"` // from ask to trial
	ActP99MS  float64 `json:"actP99Ms"` //
	GapP50MS  float64 `json:"gapP50Ms"` // viewers' gaps as devices measured them
	GapMaxMS  float64 `json:"gapMaxMs"` //
	GapWorst  string  `json:"gapWorst"` // device of the longest
	Rev       int64   `json:"rev"`      // for If-Match
	Actions   []Step  `json:"actions"`  // what the caller may do, and why not
	NextEvent *Next   `json:"next,omitempty"`
}

// Next is the next thing that time alone will bring.
type Next struct {
	What string `json:"what"` // "window", "soak", "start"
	InMS int64  `json:"inMs"`
}

// Step is a verb of a rollout.
type Step struct {
	Name   string `json:"name" enum:"approve,start,pause,resume,abort,abort-revert,retry,skip-wave,confirm"`
	Denied string `json:"denied,omitempty"`
}

// Approval is a person's word.
type Approval struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Counts counts devices by phase; their sum is Devices.
type Counts struct {
	Devices    int `json:"devices"`
	Queued     int `json:"queued"`
	Staging    int `json:"staging"`
	Staged     int `json:"staged"`
	Activating int `json:"activating"`
	Trial      int `json:"trial"`
	Done       int `json:"done"`
	Failed     int `json:"failed"`
	Reverting  int `json:"reverting"`
	Reverted   int `json:"reverted"`
	Skipped    int `json:"skipped"`
	Unknown    int `json:"unknown"`
	Offline    int `json:"offline"` // of those not ended; counted in their phase as well
}

// WaveState is a wave's row.
type WaveState struct {
	Name    string    `json:"name"`
	Counts  Counts    `json:"counts"`
	Verdict string    `json:"verdict" enum:"waiting,open,soaking,passed,failed,skipped"`
	Why     string    `json:"why,omitempty"`
	Opened  time.Time `json:"opened,omitzero"`
	Closed  time.Time `json:"closed,omitzero"`
}

// Cause groups failures.
type Cause struct {
	Cause   string   `json:"cause"` // "invariant frames", "trial deadline", …
	Devices int      `json:"devices"`
	Sample  []string `json:"sample"` // some of them
}

// RolloutDevice is one device's course.
type RolloutDevice struct {
	ID     string    `json:"id"`
	Wave   int       `json:"wave"`
	Phase  string    `json:"phase"`
	Since  time.Time `json:"since"`
	Tries  int       `json:"tries"`
	Cause  string    `json:"cause,omitempty"`
	Detail string    `json:"detail,omitempty"`
	From   string    `json:"from,omitempty"` // version before
}

// RolloutDevices is a page of them.
type RolloutDevices struct {
	Devices []RolloutDevice `json:"devices"`
	Total   int             `json:"total"`
	After   string          `json:"after,omitempty"`
}

// Preview is what a plan would do if it were started now.
type Preview struct {
	Release      string        `json:"release"`
	Version      string        `json:"version"`
	Devices      int           `json:"devices"` // that would be in it
	Has          int           `json:"has"`     // of these, run the version already
	Through      int           `json:"through"` // of these, have to pass other versions first
	Waves        []PreviewWave `json:"waves"`
	Refused      []Refusal     `json:"refused"` // the first of those that would not be
	RefusedTotal int           `json:"refusedTotal"`
}

// PreviewWave is one of its waves.
type PreviewWave struct {
	Name    string   `json:"name,omitempty"`
	Devices int      `json:"devices"`
	Sample  []string `json:"sample"` // some of them
}

// Refusal says why a device that the selector meets is not taken.
type Refusal struct {
	Device string `json:"device"`
	Why    string `json:"why"` // one plain sentence
}

// RolloutVerb is the body of a rollout's verbs. Expect guards against surprise: the
// number of devices that the caller believes it concerns.
type RolloutVerb struct {
	Why    string `json:"why,omitempty" maxLength:"400"`
	Expect *int   `json:"expect,omitempty" doc:"devices concerned; refused if it is another number, or, while the rollout runs, more by above maxUnavailable"`
}

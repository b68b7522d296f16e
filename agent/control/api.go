package control

import "time"

// Version states, the same everywhere.
const (
	StateEmpty     = "empty"     // nothing usable in the slot
	StateStaging   = "staging"   // being written
	StateStaged    = "staged"    // whole and verified, not started
	StateTrial     = "trial"     // running beside the permanent version
	StatePermanent = "permanent" // what a start of the device runs
	StatePrevious  = "previous"  // was permanent before, still whole
	StateReverted  = "reverted"  // tried and not greenlit
)

// Status is what the device is doing now.
type Status struct {
	// Seq grows with every change of the status and never goes back while the
	// agent lives; see [Backend.WaitStatus].
	Seq       uint64         `json:"seq"`
	Device    string         `json:"device"`
	Product   string         `json:"product"`
	Hardware  string         `json:"hardware"`
	Agent     string         `json:"agent"`     // the agent's own version
	Phase     string         `json:"phase"`     // "idle", "staging", "staged", "clearing", "arming", "rebooting", "renewing", "starting", "trial", "committing", "reverting"
	Permanent string         `json:"permanent"` // version, "" before the first one
	Slots     []Slot         `json:"slots"`
	Systems   []System       `json:"systems,omitempty"`  // system slots, on a device that has them
	Runtimes  []System       `json:"runtimes,omitempty"` // slots of Slipstream's own programs, where they can be updated
	Trial     *Trial         `json:"trial,omitempty"`
	Streams   []StreamStatus `json:"streams"`
	Staging   *Progress      `json:"staging,omitempty"`
	Last      *Record        `json:"last,omitempty"` // newest entry of the history
	// Problems are what somebody must put right before the device is what it
	// should be, one plain sentence each; none when all is well.
	Problems []string `json:"problems,omitempty"`
	// Protections are what keeps apps from harming others, by the newest start.
	Protections []Protection `json:"protections,omitempty"`
	Time        time.Time    `json:"time"`
}

// Protection is one of those that an app may be under.
type Protection struct {
	Name string `json:"name"` // "user", "no-new-privileges", "capabilities", "mounts", "landlock", or "memory-limit" and the like
	On   bool   `json:"on"`
	Why  string `json:"why,omitempty"` // it is off
}

// Slot is one live slot.
type Slot struct {
	Name    string    `json:"name"` // "a" or "b"
	State   string    `json:"state"`
	Version string    `json:"version,omitempty"`
	Digest  string    `json:"digest,omitempty"` // package digest, lower-case hex
	App     string    `json:"app,omitempty"`    // "stopped", "starting", "ready", "back-off", "frozen" or "away" for a trial
	PID     int       `json:"pid,omitempty"`
	Status  string    `json:"status,omitempty"` // the app's STATUS= line
	Since   time.Time `json:"since,omitzero"`

	// Of the permanent version's app; a start of the device begins anew.
	Restarts   int       `json:"restarts,omitempty"` // after it ended by itself
	LastExit   string    `json:"lastExit,omitempty"` // how it ended the last time
	LastExitAt time.Time `json:"lastExitAt,omitzero"`

	Contract *Contract `json:"contract,omitempty"` // of an app that runs
	Stored   *Stored   `json:"stored,omitempty"`
}

// Contract is which parts of the contract an app makes use of that it can do without.
type Contract struct {
	Control bool   `json:"control"`         // it listens at SLIPSTREAM_CONTROL
	State   string `json:"state,omitempty"` // schema of the state that its manifest declares
	Handed  bool   `json:"handed"`          // there is a state of its to hand over
	RTSP    bool   `json:"rtsp"`            // it publishes by RTSP
}

// System is one system slot, or one of Slipstream's own programs.
type System struct {
	Name    string `json:"name"`            // "a" or "b"
	State   string `json:"state,omitempty"` // "permanent", "staged", "trial", or "" for anything else
	Version string `json:"version,omitempty"`
	Running bool   `json:"running,omitempty"`

	Stored    *Stored `json:"stored,omitempty"`
	TriesLeft *int    `json:"triesLeft,omitempty"` // of a boot loader that counts
}

// Stored is what the disk says of a slot of any class.
type Stored struct {
	State      string    `json:"state"` // "empty", "writing", "staged" or "broken"
	Version    string    `json:"version,omitempty"`
	Digest     string    `json:"digest,omitempty"` // of the package
	Kind       string    `json:"kind,omitempty"`   // "tree", "erofs", "squashfs" or "disk"
	Size       int64     `json:"size,omitempty"`   // bytes of the image
	By         string    `json:"by,omitempty"`     // where it came from
	StagedAt   time.Time `json:"stagedAt,omitzero"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"` // when all of it was read the last time that is known
	Mount      string    `json:"mount,omitempty"`     // how it is mounted; "" if it is not
	Cost       *Staged   `json:"cost,omitempty"`      // of the stage that has written it
}

// Trial is the trial under way.
type Trial struct {
	ID          string    `json:"id"`
	Slot        string    `json:"slot"`
	From        string    `json:"from"`
	Version     string    `json:"version"`
	Greenlight  string    `json:"greenlight"` // who writes the marker
	Marker      string    `json:"marker"`     // its path
	Latched     bool      `json:"latched"`    // the marker was seen
	Rehearsal   bool      `json:"rehearsal,omitempty"`
	Return      string    `json:"return,omitempty"` // why a version that was permanent before is tried, as in [Record]
	Started     time.Time `json:"started"`
	TookOver    time.Time `json:"tookOver,omitzero"`
	RemainingMS int64     `json:"remainingMs"`        // until the deadline
	SoakMS      int64     `json:"soakMs"`             // soak still to go; 0 when done
	Verdicts    []Verdict `json:"verdicts,omitempty"` // how its invariants stand now
}

// StreamStatus is a stream as its viewers see it.
type StreamStatus struct {
	Name         string  `json:"name"`
	Version      string  `json:"version"`         // whose pictures viewers see
	Codec        string  `json:"codec,omitempty"` // as in a manifest
	Viewers      int     `json:"viewers"`
	Frames       uint64  `json:"frames"`
	WHEP         string  `json:"whep,omitempty"`
	RTSP         string  `json:"rtsp,omitempty"`
	Width        int     `json:"width,omitempty"`
	Height       int     `json:"height,omitempty"`
	LongestGapMS float64 `json:"longestGapMs"`
}

// Progress of a stage.
type Progress struct {
	Version string `json:"version"`
	Done    int64  `json:"done"` // bytes, the sum of the origins
	Total   int64  `json:"total"`
	Origins
}

// Origins says where the bytes of an image came from.
type Origins struct {
	Kept    int64 `json:"kept,omitempty"`    // were in the spare slot already
	Copied  int64 `json:"copied,omitempty"`  // from the slot in use
	Fetched int64 `json:"fetched,omitempty"` // from the package
}

// Staged is what a stage has cost.
type Staged struct {
	Origins
	Written int64 `json:"written"` // bytes written to storage
}

// Outcomes of an update, as history shows them.
const (
	OutcomePermanent = "permanent"
	OutcomeReverted  = "reverted"
	OutcomeRefused   = "refused"
	OutcomeRehearsed = "rehearsed" // a rehearsal went as it must
	OutcomeCancelled = "cancelled" // it was not staged, because somebody wanted it so
)

// Record is one line of the history: how one attempt at an update ended.
type Record struct {
	Time     time.Time `json:"time"`
	Trial    string    `json:"trial,omitempty"` // "" when it never came to one
	Began    time.Time `json:"began,omitzero"`
	TookOver time.Time `json:"tookOver,omitzero"` // viewers saw it from then on; zero: they never did
	From     string    `json:"from"`
	To       string    `json:"to"`
	Digest   string    `json:"digest,omitempty"`
	Class    string    `json:"class,omitempty"`   // slot class of what it brought: "system" or "runtime"; "" for an app alone
	Overlap  string    `json:"overlap,omitempty"` // how both versions ran: "frozen" or "none"; "" for in full
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`   // "exit", "stall", "deadline", "operator", …
	Detail   string    `json:"detail,omitempty"`   // one plain sentence
	Return   string    `json:"return,omitempty"`   // why the version before was tried: "operator" or "crashing"; "": it was a new one
	Reboots  int       `json:"reboots,omitempty"`  // that it took
	DarkMS   int64     `json:"darkMs,omitempty"`   // from the first of them until viewers saw the new version, by the wall clock
	Evidence []string  `json:"evidence,omitempty"` // exit status, last log lines
	Proof    *Proof    `json:"proof,omitempty"`
}

// Proof is what the forwarder measured of the switch and the revert.
type Proof struct {
	Detected        int64         `json:"detected,omitempty"` // CLOCK_MONOTONIC ns
	First           int64         `json:"first,omitempty"`
	DetectToFirstMS float64       `json:"detectToFirstMs,omitempty"` // absent if no revert was measured
	Switch          []StreamProof `json:"switch,omitempty"`
	Revert          []StreamProof `json:"revert,omitempty"`
	By              string        `json:"by,omitempty"`       // how a death was seen: "futex", "pidfd", "eof" or "stall"
	Verdicts        []Verdict     `json:"verdicts,omitempty"` // how the invariants stood at the end
}

// Verdict is what became of one invariant of a trial. Of a stream its fields are
// those of package orders; without a stream it is a check of the agent.
type Verdict struct {
	Stream    string   `json:"stream,omitempty"`
	Invariant string   `json:"invariant"`
	Measure   string   `json:"measure"`
	Against   string   `json:"against"`
	Baseline  string   `json:"baseline,omitempty"`
	Value     float64  `json:"value"`
	Base      float64  `json:"base,omitempty"`
	Compared  float64  `json:"compared"` // what Min and Max bound
	Min       *float64 `json:"min,omitempty"`
	Max       *float64 `json:"max,omitempty"`
	Required  bool     `json:"required"`
	Judged    bool     `json:"judged"`
	Holds     bool     `json:"holds"`
	SinceMS   int64    `json:"sinceMs,omitempty"` // how long it has stood so, as far as the agent has seen; 0: it does not say
	Detail    string   `json:"detail,omitempty"`  // of a check's newest failure
	Samples   []Sample `json:"samples,omitempty"` // of a check, over the whole trial
}

// Sample is a measured value, or of what has none 1 for a success and 0 for a
// failure.
type Sample struct {
	AfterMS int64   `json:"afterMs"` // since viewers saw the new version
	Value   float64 `json:"value"`
}

// StreamProof is one stream's share of a [Proof].
type StreamProof struct {
	Name           string  `json:"name"`
	Viewers        int     `json:"viewers"`
	Closed         int     `json:"closed,omitempty"` // viewers who could not follow a declared break
	ReplayedFrames int     `json:"replayedFrames"`
	ContentJumpMS  float64 `json:"contentJumpMs"`
	GapMS          float64 `json:"gapMs"` // between the frames that were handed to viewers before and after
	ParameterSets  string  `json:"parameterSets,omitempty"`
}

// StageRequest names a package by a path on the device or by a URL.
type StageRequest struct {
	Path  string `json:"path,omitempty"`
	URL   string `json:"url,omitempty"`
	Force bool   `json:"force,omitempty"` // install a reverted digest again
	// Order is the signature files of the fleet's order for the package, in the place of
	// one inside it.
	Order [][]byte `json:"order,omitempty"`
}

// ActivateRequest asks for the staged version to be started and tried.
type ActivateRequest struct {
	Force bool `json:"force,omitempty"` // also a digest that was reverted before
	Wait  bool `json:"wait,omitempty"`  // answer when the trial has ended, not when it has begun
	// Digest, if set, is of the package that is meant: another one is not started.
	Digest string `json:"digest,omitempty"`
}

// InstallRequest asks for both steps, one after the other.
type InstallRequest struct {
	StageRequest
	Wait bool `json:"wait,omitempty"` // as in [ActivateRequest]
}

// Result answers stage, activate, install, greenlight and revert.
type Result struct {
	Exit    int     `json:"exit"`           // the CLI's exit code
	Message string  `json:"message"`        // one plain sentence
	Code    string  `json:"code,omitempty"` // stable, for refusals
	Record  *Record `json:"record,omitempty"`
	Staged  *Staged `json:"staged,omitempty"` // after a stage that went well
}

// Exit codes of the CLI and of [Result].
const (
	ExitDone     = 0
	ExitError    = 1
	ExitNothing  = 2
	ExitRefused  = 3 // the package or the request was refused; nothing changed
	ExitReboot   = 4
	ExitReverted = 5
)

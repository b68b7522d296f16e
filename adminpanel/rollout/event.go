package rollout

import "time"

// Event is something that happened; At is when, by the panel's clock.
type Event interface{ event() }

// Verbs of people. Each is refused with an error by [Rollout.Step] where it makes no
// sense, and nothing has changed then.
type (
	// Start begins an approved rollout.
	Start struct{ At time.Time }
	// Pause stops asking. Trials that run go on, for they need no panel.
	Pause struct {
		At  time.Time
		Why string
	}
	// Resume goes on after a pause or a halt. What has failed so far is accepted:
	// limits count from here.
	Resume struct{ At time.Time }
	// Abort asks nobody any more. Trials under way end by themselves.
	Abort struct {
		At  time.Time
		Why string
	}
	// AbortRevert asks every device that took the release to return.
	AbortRevert struct {
		At  time.Time
		Why string
	}
	// Retry queues the devices again that failed or reverted, with force.
	Retry struct{ At time.Time }
	// SkipWave opens the next wave whatever became of the open one.
	SkipWave struct{ At time.Time }
	// Confirm greenlights the devices whose trial waits for a person.
	Confirm struct{ At time.Time }
)

// Tick says that At has come; see [Outcome.Wake].
type Tick struct{ At time.Time }

// Link says that a device came or went.
type Link struct {
	At     time.Time
	Device string
	Online bool
}

// Join adds a device to the last wave of a plan that is dynamic.
type Join struct {
	At     time.Time
	Member Member
}

// Leave says that a device is of the fleet no more.
type Leave struct {
	At     time.Time
	Device string
}

// Taken says that somebody else has asked a device for something, with that epoch. What
// it says from then on is not about this rollout.
type Taken struct {
	At     time.Time
	Device string
	Epoch  int64
}

// What a device can be seen to be, in relation to the release that it was asked to take.
const (
	SeenStaging  = "staging"
	SeenStaged   = "staged"
	SeenTrial    = "trial"
	SeenReady    = "ready" // on trial, its soak is over, its invariants hold, and it waits for a greenlight
	SeenDone     = "done"  // permanent
	SeenFailed   = "failed"
	SeenReverted = "reverted"
)

// Seen is what a device says of itself.
type Seen struct {
	At      time.Time
	Device  string
	Epoch   int64  // of the newest ask that it has taken
	What    string // one of the Seen constants
	Release string // which that is about
	Cause   string // of a failure or revert, short: failures are grouped by it
	Detail  string // one plain sentence
	GapMS   float64
}

func (Start) event()       {}
func (Pause) event()       {}
func (Resume) event()      {}
func (Abort) event()       {}
func (AbortRevert) event() {}
func (Retry) event()       {}
func (SkipWave) event()    {}
func (Confirm) event()     {}
func (Tick) event()        {}
func (Link) event()        {}
func (Join) event()        {}
func (Leave) event()       {}
func (Taken) event()       {}
func (Seen) event()        {}

package rollout

import "time"

// What a device may be asked for.
const (
	WantStage    = "stage"
	WantActivate = "activate"
	WantConfirm  = "confirm"
	WantRevert   = "revert"
	WantNothing  = "nothing" // an earlier ask no longer holds
)

// Ask is a wish of a device. Asking twice is asking once.
type Ask struct {
	Device  string
	Epoch   int64 // grows with each ask of the device
	Want    string
	Release string
	Force   bool // also a version that the device has reverted before
}

// Outcome is what an event brought about. The caller first commits the head, if it
// changed, then the courses of the devices named, and only then sends the asks: an
// ask that nobody remembers could not be taken back.
type Outcome struct {
	Head    bool
	Courses []string
	Asks    []Ask
	Notes   []string  // for the audit log, one plain sentence each
	Wake    time.Time // when a [Tick] is due; zero: never
}

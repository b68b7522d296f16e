package wire

// Desired is the version that a device shall come to. The panel sends it on every
// link anew, and whenever it changes; losing one is harmless. It is not kept over
// the agent's end.
//
// Without a digest nothing is desired any more: a stage under way is given up, a trial
// comes to its own end.
//
// The epoch counts up with each other target. A lower one than the newest is
// ignored. The same one again changes at most whether it is to be activated: what
// is under way goes on, what was done is not done again, what failed for want of a
// line is tried again, what was refused stays refused.
type Desired struct {
	Epoch uint64 `json:"epoch"`
	Live  Target `json:"live"`
	// Activate says that the version shall be tried once it is staged, after
	// ActivateInMS from the line's arrival: a device's clock may be years off.
	Activate     bool  `json:"activate,omitempty"`
	ActivateInMS int64 `json:"activateInMs,omitempty"`
	Force        bool  `json:"force,omitempty"` // as in [Stage] and [Activate]
	// Order is as in [Stage].
	Order [][]byte `json:"order,omitempty"`
}

// Target is a package of the panel's.
type Target struct {
	Digest  string `json:"digest"` // of the package
	URL     string `json:"url"`    // as in [Stage]
	Version string `json:"version,omitempty"`
	Counter int64  `json:"counter,omitempty"`
}

// Where a [Desired] stands.
const (
	ReportStaging   = "staging"
	ReportStaged    = "staged" // and waits to be activated
	ReportTrial     = "trial"
	ReportPermanent = "permanent"
	ReportReverted  = "reverted"
	ReportFailed    = "failed"  // for want of something: the same epoch again tries again
	ReportRefused   = "refused" // by the device: only another epoch helps
	ReportNothing   = "nothing" // is desired
)

// Report says where the desired version of an epoch stands, on each change and on
// each new link.
type Report struct {
	Epoch   uint64 `json:"epoch"`
	State   string `json:"state"`
	Code    string `json:"code,omitempty"`    // of a refusal, or the cause of a revert
	Message string `json:"message,omitempty"` // one plain sentence
}

// Package orders is the conversation between the agent and the forwarder.
//
// It runs over one SOCK_SEQPACKET unix connection, one JSON message a packet,
// at most [MaxMessage] bytes, with descriptors attached by SCM_RIGHTS. The
// agent sends its full [Orders] at every (re)connection; they are level
// triggered and stand until replaced, whether or not the agent still lives.
// A new connection takes the place of the one before it.
//
// Times are CLOCK_MONOTONIC nanoseconds, which all processes of a device share.
package orders

import "slipstream/stream/handover"

// MaxMessage bounds one message in bytes, either way.
const MaxMessage = 64 << 10

// SourceID names one run of one version's app, such as "b-17": its slot and a
// start number that a device never uses twice.
type SourceID string

// TrialID names one trial and is never used twice on a device.
type TrialID string

// Orders is everything the forwarder must know to act alone.
type Orders struct {
	// Sources may publish. One that is missing here is disconnected.
	Sources []Source `json:"sources"`
	// Permanent is followed unless a trial carries the streams. "" means none yet.
	Permanent SourceID `json:"permanent"`
	// Trial, when set, tells the forwarder to follow its source as soon as all
	// of that source's streams have sent a key frame, and to revert by itself.
	Trial *Trial `json:"trial,omitempty"`
}

// Source is one app (or its ingest) that publishes streams.
type Source struct {
	ID      SourceID `json:"id"`
	Version string   `json:"version"`
	// Streams may become more and fewer while the source runs, unless it is on trial;
	// what one was declared as stands.
	Streams []Stream `json:"streams"`
	// Pidfd is 1 + the index, among the descriptors that came with this message,
	// of the app's pidfd; 0 means none came and an earlier one stays in use.
	Pidfd int `json:"pidfd,omitempty"`
	// UID must own the publishing process; -1 means any user.
	UID int `json:"uid"`
	// Frozen says that the source's cgroup is frozen: nothing is expected from it,
	// and what it has sent is of the past. It is to be said after the freeze, and until
	// the agent has thawed the source. A trial's source cannot be frozen.
	Frozen bool `json:"frozen,omitempty"`
	// Freezer is 1 + the index of a descriptor of the source's cgroup.freeze, open
	// for writing; 0 means none came and an earlier one stays in use. Before viewers
	// go back to a source the forwarder writes "0" there by itself, and again whenever
	// orders call a source frozen that viewers need.
	Freezer int `json:"freezer,omitempty"`
	// KeyWishes says that what publishes cannot pass wishes for key frames on to the app,
	// as an ingest cannot: they are told to the agent, too (Message.KeyWish).
	KeyWishes bool `json:"keyWishes,omitempty"`
}

// Codecs of a stream.
const (
	H264  = "h264"
	H265  = "h265"
	MJPEG = "mjpeg" // RTSP viewers only
	Opus  = "opus"
	PCMU  = "pcmu" // G.711
	PCMA  = "pcma" // G.711
	AAC   = "aac"  // RTSP viewers only
)

// Stream is one line that a source declares.
type Stream struct {
	Name    string `json:"name"`
	Codec   string `json:"codec"`           // one of the codecs above
	StallMS int64  `json:"stallMs"`         // 0: event-driven, no stall limit
	Width   int    `json:"width,omitempty"` // declared picture size; 0: any
	Height  int    `json:"height,omitempty"`
	// Profile bounds what viewers must be able to decode: a profile-level-id of
	// H.264 (RFC 6184 §8.1), in hex; "": not declared.
	Profile string `json:"profile,omitempty"`
	// Audio names another stream of the same source that viewers of this one are
	// given with it; "": none.
	Audio string `json:"audio,omitempty"`
	// Breaks says that this version may leave what viewers of the stream rely on since
	// they agreed to watch an earlier one: those who cannot follow are closed.
	Breaks bool `json:"breaks,omitempty"`
	// Invariants must hold while the stream is on trial.
	Invariants []Invariant `json:"invariants,omitempty"`
}

// Invariant bounds one measure of a stream on trial. The first window begins when
// viewers are on the trial's source. When it is over, and from then on each third of
// it, the invariant is judged over the last whole window; two judgements in a row
// that do not hold break it. What could be the machine's own fault is not judged:
// the forwarder woke late, or a bound against nothing is broken by the permanent
// source in the same seconds, too.
type Invariant struct {
	Name    string `json:"name"`    // unique within the stream; reports call it STREAM.NAME
	Measure string `json:"measure"` // one of the measures below
	// Against says what the value is compared with: AgainstPermanent divides by
	// (for drift: subtracts) what the permanent source shows in the same seconds, or
	// has shown in its last ten minutes if it is gone or frozen; AgainstNothing takes it
	// as it is. If nothing was ever seen of the permanent version's stream, there is
	// nothing that could be lost, and the invariant holds.
	Against  string   `json:"against"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	WindowMS int64    `json:"windowMs"` // 1 000 to 60 000
	// Required reverts the trial when it is broken; otherwise it is only reported.
	Required bool `json:"required"`
}

// Measures of a stream, over the window of an invariant.
const (
	MeasureFrameRate   = "frame-rate"   // frames a second
	MeasureKeyInterval = "key-interval" // longest time between key frames in ms
	MeasureGap         = "gap"          // longest time between frames in ms
	MeasureBitrate     = "bitrate"      // bit/s
	MeasurePictureSize = "picture-size" // pixels
	MeasureDrift       = "drift"        // how far capture times have moved against arrival since the window's start, in ms
)

// What an invariant compares with.
const (
	AgainstPermanent = "permanent"
	AgainstNothing   = "nothing"
)

// Verdict is what became of one invariant.
type Verdict struct {
	Stream    string   `json:"stream"`
	Invariant string   `json:"invariant"`
	Measure   string   `json:"measure"`
	Against   string   `json:"against"`
	Baseline  string   `json:"baseline,omitempty"` // "permanent", "history" (its last ten minutes), or "" if there was nothing to compare with
	Value     float64  `json:"value"`              // of the trial's source
	Base      float64  `json:"base,omitempty"`     // of what it is compared with
	Compared  float64  `json:"compared"`           // what Min and Max bound
	Min       *float64 `json:"min,omitempty"`
	Max       *float64 `json:"max,omitempty"`
	Required  bool     `json:"required"`
	Judged    bool     `json:"judged"` // false: the window was not over yet
	Holds     bool     `json:"holds"`
}

// Leg is a viewer that the device itself has connected to (behind NAT): the
// panel's relay. One descriptor comes with it: a connected UDP socket, or a
// connected stream socket on which each packet goes behind its length (RFC 4571).
type Leg struct {
	Viewer handover.Viewer `json:"viewer"`
	Framed bool            `json:"framed,omitempty"` // the descriptor is a stream socket
}

// Trial arms the dead man's switch.
type Trial struct {
	ID       TrialID  `json:"id"`
	Source   SourceID `json:"source"`
	Deadline int64    `json:"deadline"` // CLOCK_MONOTONIC ns; silence until then reverts
}

// Request is one message from the agent. Exactly one member besides Req is set.
type Request struct {
	Req    uint64  `json:"req"` // echoed in the answer; 0 is not used
	Orders *Orders `json:"orders,omitempty"`
	Hold   *Hold   `json:"hold,omitempty"`
	Settle *Settle `json:"settle,omitempty"`
	Revert *Revert `json:"revert,omitempty"`
	Status bool    `json:"status,omitempty"`
	Leg    *Leg    `json:"leg,omitempty"`    // answered by "ok"; its end is told by Message.LegEnded
	EndLeg string  `json:"endLeg,omitempty"` // the viewer's ID

	// Keep has copies of the descriptors that came along kept for the next agent under
	// this name, in place of those before. It is answered only if it is refused, as are
	// Drop, which lets go of a name, and DropOthers, which lets go of all names that
	// were not given over this very connection.
	Keep       string `json:"keep,omitempty"`
	Drop       string `json:"drop,omitempty"`
	DropOthers bool   `json:"dropOthers,omitempty"`
	// Kept asks for copies of all that is kept. It is answered by messages with
	// Message.Kept, the last of which has Message.Result.
	Kept bool `json:"kept,omitempty"`
}

// What the forwarder keeps for the agent, which never looks at any of it.
const (
	MaxKept     = 256 // descriptors in all
	MaxKeptEach = 40  // under one name
	MaxKeptName = 384 // bytes of a name, which are printable ASCII
)

// Hold asks for the right to commit: the deadline becomes a lease. Answered by
// "held" or, when the trial is over, "reverted", or by "wait" while a required
// invariant does not hold or was not yet judged over a whole window: then it is to be
// asked again, and the deadline stands. Sent again it renews the lease.
type Hold struct {
	Trial   TrialID `json:"trial"`
	LeaseMS int64   `json:"leaseMs"`
}

// Settle follows the commit point: Source is the permanent one from now on and
// is followed, even if the lease ran out meanwhile. Answered by "settled".
type Settle struct {
	Trial  TrialID  `json:"trial"`
	Source SourceID `json:"source"`
}

// Revert ends a trial for a reason that only the agent knows ("operator",
// "watchdog", "exit", …). Answered by "reverted" once viewers are back.
type Revert struct {
	Trial  TrialID `json:"trial"`
	Reason string  `json:"reason"`
}

// Results of a request.
const (
	ResultOK       = "ok"       // orders taken, or the status attached
	ResultHeld     = "held"     // hold granted or renewed
	ResultWait     = "wait"     // hold not granted yet; Message.Error says what it waits for
	ResultReverted = "reverted" // the trial is over; Message.Revert says how it ended
	ResultSettled  = "settled"  // the new source is permanent
	ResultError    = "error"    // the request was not understood; nothing changed
)

// Message is one message from the forwarder: the answer to a request when Req
// is set, an event otherwise.
type Message struct {
	Req    uint64 `json:"req,omitempty"`
	Result string `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`

	Status *Status     `json:"status,omitempty"`
	Lost   *SourceLost `json:"lost,omitempty"`   // event: a source's app or stream is gone
	Switch *Switched   `json:"switch,omitempty"` // event: the trial's source carries every stream
	Revert *Reverted   `json:"revert,omitempty"` // event or answer: the trial is over

	Verdicts []Verdict       `json:"verdicts,omitempty"` // with "held" and "wait": how the invariants stand
	Breaking *Verdict        `json:"breaking,omitempty"` // event: an invariant that is not required was broken
	LegEnded *handover.Ended `json:"legEnded,omitempty"` // event: a leg is gone
	KeyWish  *KeyWish        `json:"keyWish,omitempty"`  // event: a key frame is wanted as soon as possible

	Kept []string `json:"kept,omitempty"` // names of the descriptors that come along, in their order
}

// KeyWish is a wish for a key frame of a source that has KeyWishes. One may be lost,
// and says the same as two.
type KeyWish struct {
	Source SourceID `json:"source"`
	Stream string   `json:"stream"`
}

// Causes of a revert, and of a lost source, as history and explain show them.
const (
	CauseExit     = "exit"     // the app's process ended
	CauseEOF      = "eof"      // the publish socket closed
	CauseStall    = "stall"    // no frame within the stall limit
	CauseDeadline = "deadline" // no greenlight in time
	CauseLease    = "lease"    // hold was granted, and nothing came after it
	CauseMedia    = "media"    // the stream broke its declaration (codec, B-frames)
	CauseOrders   = "orders"   // the agent's orders no longer name the trial

	// CauseForwarder: the forwarder was started anew, and a new one serves the
	// permanent version.
	CauseForwarder = "forwarder"

	// CauseInvariant, with STREAM.NAME behind it, is a broken invariant.
	CauseInvariant = "invariant:"
)

// Ways in which a death is seen, as Reverted.By and SourceLost.By say.
const (
	ByFutex = "futex" // the lock that the publishing process held (see package publish)
	ByPidfd = "pidfd" // the app's pidfd
	ByEOF   = "eof"   // the end of the publish connection
	ByStall = "stall" // the stall limit
)

// SourceLost says that a source will send no more on a stream.
type SourceLost struct {
	Source SourceID `json:"source"`
	Stream string   `json:"stream,omitempty"` // "" for the whole source
	Cause  string   `json:"cause"`
	By     string   `json:"by,omitempty"` // how it was seen
	Detail string   `json:"detail,omitempty"`
	At     int64    `json:"at"`
}

// Switched reports that viewers are on the trial's source.
type Switched struct {
	Trial   TrialID        `json:"trial"`
	Source  SourceID       `json:"source"`
	At      int64          `json:"at"` // when the decision fell
	Done    int64          `json:"done"`
	Streams []StreamSwitch `json:"streams"`
}

// Reverted reports that viewers are back on the permanent source. If they had none
// to go back to, it is told at once with an empty Source, and again, by an event, when
// the source's next run has its viewers back: only then are the gaps over.
type Reverted struct {
	Trial    TrialID        `json:"trial"`
	Source   SourceID       `json:"source"` // whom viewers see now; "" if no source is left
	Cause    string         `json:"cause"`
	By       string         `json:"by,omitempty"` // how a death or silence was seen; "" for other causes
	Detail   string         `json:"detail,omitempty"`
	Detected int64          `json:"detected"` // when the cause was seen
	First    int64          `json:"first"`    // first packet of the old version handed to a viewer; 0 if there was none
	Done     int64          `json:"done"`     // last packet of the catch-up handed over
	Switched bool           `json:"switched"` // false: viewers had never left the old version
	Streams  []StreamSwitch `json:"streams,omitempty"`
	Verdicts []Verdict      `json:"verdicts,omitempty"` // how the invariants stood
}

// StreamSwitch is what one stream's viewers got at a switch or revert.
type StreamSwitch struct {
	Name           string  `json:"name"`
	Viewers        int     `json:"viewers"`
	Closed         int     `json:"closed,omitempty"` // viewers who could not follow, see Stream.Breaks
	ReplayedFrames int     `json:"replayedFrames"`   // sent again, from the source's last key frame on
	ContentJumpMS  float64 `json:"contentJumpMs"`    // how far the picture's capture time went back
	GapMS          float64 `json:"gapMs"`            // between the last frame that was handed to viewers before, and the first one after; so far, if none came yet
	// ParameterSets says how the decoder learned of the new source's: SetsSame,
	// SetsInBand (they differ, its key frame brings its own) or SetsInjected.
	ParameterSets string `json:"parameterSets,omitempty"`
}

// Values of StreamSwitch.ParameterSets; "" where a codec has none.
const (
	SetsSame     = "same"
	SetsInBand   = "in-band"
	SetsInjected = "injected"
)

// Status is the forwarder's own view.
type Status struct {
	Permanent SourceID       `json:"permanent"`
	Trial     TrialID        `json:"trial,omitempty"`
	Phase     string         `json:"phase"` // "steady", "armed", "switched" or "held"
	Streams   []StreamStatus `json:"streams"`
	Verdicts  []Verdict      `json:"verdicts,omitempty"` // of the trial under way
	// Restored counts the viewers that this forwarder took over from one that died.
	Restored int `json:"restored,omitempty"`
	// OneByOne counts the viewers over UDP that are sent packets one by one, at more
	// than twice the CPU: the kernel or their way takes no larger messages (GSO).
	OneByOne int `json:"oneByOne,omitempty"`
}

// StreamStatus is one named stream as viewers know it.
type StreamStatus struct {
	Name     string       `json:"name"`
	Followed SourceID     `json:"followed"`
	Viewers  int          `json:"viewers"`
	Lines    []LineStatus `json:"lines"`
}

// LineStatus is one source's line of a stream.
type LineStatus struct {
	Source       SourceID `json:"source"`
	Alive        bool     `json:"alive"` // its publisher is connected
	Codec        string   `json:"codec"`
	Frames       uint64   `json:"frames"`
	KeyFrames    uint64   `json:"keyFrames"`
	Bytes        uint64   `json:"bytes"`
	LastFrame    int64    `json:"lastFrame"`    // CLOCK_MONOTONIC ns
	LongestGapMS float64  `json:"longestGapMs"` // between frames, over the last minute
	Missed       uint64   `json:"missed"`       // RTP packets that the publisher's sequence skipped
	Holes        uint64   `json:"holes"`        // frames captured but never sent, by the capture counter
	Width        int      `json:"width"`
	Height       int      `json:"height"`
}

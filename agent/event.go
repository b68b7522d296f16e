package agent

import (
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// Event is something that happened, and when. [Step] has no clock of its own.
type Event struct {
	Now  int64     // CLOCK_MONOTONIC ns
	Wall time.Time // for people: it may jump, so nothing is decided by it
	What any       // one of the types below
}

// Events name the source, trial or attempt that they are about. One about
// something that is over changes nothing.
type (
	// Recover is the first event of an agent's life: what the disk, the active
	// record and the processes that still run say.
	Recover struct {
		Boot      string     // boot id of the running kernel
		Up        int64      // ns for which it has been running
		Base      int64      // counters go on above it if the journal was lost
		Permanent Version    // of the active record; zero: none yet
		Previous  Version    // of the active record
		Slots     [2]Version // whole content of slots a and b; zero: none
		System    Systems
		Runtime   Runtimes
		Alive     []Alive // apps that were adopted
		Forwarder bool    // the forwarder was adopted: it still has its orders
		Outdated  bool    // and another one is installed since
		NoFreezer string  // why apps cannot be frozen here; "" if they can
	}

	// Tick says that the time of [State.Wake] has come.
	Tick struct{}

	// StageAsked asks for a package, already verified, to be put into the spare slot.
	StageAsked struct {
		Req     uint64
		Version Version // Slot is not set yet
		Force   bool
	}
	// StageDone reports how an attempt at staging ended.
	StageDone struct {
		Attempt int64
		Code    string // stable code of a refusal
		Error   string // "" when the slot is whole
		Cost    *control.Staged
		Still   bool // although there was an error, the slots hold all of it
	}
	// PackageRefused reports a package that was not even worth an attempt.
	PackageRefused struct {
		Req           uint64
		To            string // the version that it claims to be, or else its file's name
		Code, Message string
	}

	// ActivateAsked asks for the staged version's trial.
	ActivateAsked struct {
		Req   uint64
		Force bool
		// Digest is of the package that is meant; "": whatever is staged.
		Digest string
		Held   string // schema of the state that the permanent version has handed over; "": none
	}
	// GreenlightAsked is the operator's word for the version on trial.
	GreenlightAsked struct{ Req uint64 }
	// RevertAsked is the operator's word against it, or if none is on trial, against the
	// permanent one.
	RevertAsked struct {
		Req   uint64
		Force bool    // also to a version that was reverted
		Rest  bool    // only against the permanent one
		Back  Returns // what there is to return to
	}

	// BootTried answers [TryBoot].
	BootTried struct {
		Trial   orders.TrialID
		Error   string // "" when the next boot starts the new system
		Damaged bool   // because its slot does not hold what was staged
	}
	// BootAgrees answers [AgreeBoot].
	BootAgrees struct{ Slot string }

	// RuntimeTried answers [TryRuntime].
	RuntimeTried struct {
		Trial   orders.TrialID
		Error   string // "" when the new forwarder serves
		Damaged bool   // because its slot does not hold what was staged
	}
	// ForwarderReturned answers [ReturnForwarder].
	ForwarderReturned struct{ Trial orders.TrialID }
	// Reached says that this agent was reached at its socket and has answered.
	Reached struct{}
	// GatewaySeen says that the gateway has stayed up for a while, or that there is to
	// be none, or why it does not run.
	GatewaySeen struct{ Down string }

	// SlotChecked answers [CheckSlot].
	SlotChecked struct {
		Trial   orders.TrialID
		Error   string // "" if the slot is whole
		Damaged bool   // because it does not hold what was staged
	}
	// FreezeFailed answers [Freeze] if the app goes on running.
	FreezeFailed struct {
		Source orders.SourceID
		Error  string
	}
	// AppStarted says that a source's process runs.
	AppStarted struct {
		Source orders.SourceID
		PID    int
		At     int64 // CLOCK_MONOTONIC ns of its start
	}
	// AppKnown says that an adopted process, of which it was not known whether it
	// lives, does.
	AppKnown struct {
		Source orders.SourceID
		PID    int
	}
	// AppReady is the app's READY=1.
	AppReady struct{ Source orders.SourceID }
	// AppAlive is the app's WATCHDOG=1.
	AppAlive struct{ Source orders.SourceID }
	// AppHung is the app's WATCHDOG=trigger.
	AppHung struct{ Source orders.SourceID }
	// AppPeriod is the app's WATCHDOG_USEC. It can only be stricter than the manifest.
	AppPeriod struct {
		Source orders.SourceID
		Period time.Duration
	}
	// AppExtends is the app's EXTEND_TIMEOUT_USEC: it needs so long from now on to
	// become ready.
	AppExtends struct {
		Source orders.SourceID
		For    time.Duration
	}
	// AppExited says that nothing of a source runs any more, or that it could not
	// be started at all. Every [StartApp] ends in one, sooner or later.
	AppExited struct {
		Source   orders.SourceID
		Detail   string   // one sentence: exit status, signal, or why it could not start
		Evidence []string // its last log lines
		Unborn   bool     // it never ran
		Damaged  bool     // because its slot does not hold what was staged
		Unasked  bool     // it ended before anybody made it
		OOM      bool     // it had come to its limit of memory
		Back     *Returns // what there is to return to; nil: nobody has looked
	}

	// MarkerSeen says that the trial's greenlight marker is there, as it must be.
	MarkerSeen struct{ Trial orders.TrialID }
	// MarkerFailed says that an operator's marker could not be made.
	MarkerFailed struct {
		Trial orders.TrialID
		Error string
	}
	// ChecksSeen says how the checks of a trial stand.
	ChecksSeen struct {
		Trial    orders.TrialID
		Verdicts []control.Verdict
	}
	// ForwarderConnected says that the forwarder listens on a new connection.
	ForwarderConnected struct{}
	// ForwarderLost says that the forwarder's process ended, and its memory with it.
	ForwarderLost struct{ Detail string }
	// ForwarderStatus answers [AskStatus].
	ForwarderStatus struct {
		Trial orders.TrialID
		Phase string // "steady", "armed", "switched" or "held"
		// Missing are the streams of which the trial's app has sent no key frame.
		Missing []string
	}
	// ReplaceAsked asks for the installed forwarder in place of the one that runs.
	ReplaceAsked struct{ Req uint64 }
	// ForwarderReplaced answers [ReplaceForwarder].
	ForwarderReplaced struct{ Error string } // "" when the new one serves
	// LineLost says that a source no longer publishes a stream.
	LineLost struct {
		Source orders.SourceID
		Lost
	}
	// LinesSeen is the forwarder's regular report of who publishes, and whom
	// viewers see.
	LinesSeen struct{ Streams []orders.StreamStatus }
	// TookOver says that viewers are on the trial's source.
	TookOver struct{ orders.Switched }
	// TrialReverted says that viewers are back, whoever wanted it.
	TrialReverted struct{ orders.Reverted }
	// Held answers [Hold]: the agent may commit for as long as the lease lasts.
	Held struct {
		Trial    orders.TrialID
		Verdicts []orders.Verdict
	}
	// HoldWaits answers [Hold] while an invariant was not judged or does not hold. The
	// forwarder's deadline goes on.
	HoldWaits struct{ Trial orders.TrialID }
	// Settled answers [Settle].
	Settled struct{ Trial orders.TrialID }

	// RecordWritten says that the commit point is passed.
	RecordWritten struct{ Trial orders.TrialID }
	// RecordFailed says that the active record is as it was.
	RecordFailed struct {
		Trial orders.TrialID
		Error string
	}
	// FellBack says that the active record names the version before.
	FellBack struct{}
	// FallBackFailed says that it does not, because that version is not whole, or
	// the record could not be written.
	FallBackFailed struct{ Error string }
)

// Systems is what the disk and the kernel say of the system slots.
type Systems struct {
	Running   string  // slot that runs; "" on a device without system slots
	Permanent Part    // of the active record; its slot is "" if that says nothing
	Slots     [2]Part // whole content of slots a and b; zero: none
}

// Runtimes is what the disk and this agent's own program say of the slots of programs.
type Runtimes struct {
	Programs
	Slots [2]Part // whole content of slots a and b; zero: none
}

// Alive is an app that was found running when the agent started.
type Alive struct {
	Source orders.SourceID
	PID    int
}

// Causes of reverts that the agent sees itself; the forwarder's are in package
// orders.
const (
	CauseStart     = "start"     // the process could not be started, or was not on screen in time
	CauseWatchdog  = "watchdog"  // no WATCHDOG=1 in time
	CauseOOM       = "oom"       // the app came to its limit of memory
	CauseOperator  = "operator"  // a person said so
	CausePower     = "power"     // the device was started anew
	CauseAgent     = "agent"     // agent, forwarder and app were gone together
	CauseForwarder = "forwarder" // the forwarder died; a new one serves the permanent version
	CauseRecord    = "record"    // the active record could not be written
	CauseRehearsal = "rehearsal" // it was one, and all of it went as it must
	CauseDamaged   = "damaged"   // the slot does not hold what was staged
	CauseBoot      = "boot"      // the new system could not be started
	CauseCrashing  = "crashing"  // the permanent version kept ending; the one before has come back
)

// Codes of refused requests, beside those of package verify.
const (
	CodeBusy       = control.CodeBusy    // another update is under way
	CodeReverted   = "reverted"          // tried before and not greenlit
	CodeFloor      = verify.CodeRollback // not above the floor
	CodeGreenlight = "not-operator"      // the manifest gives the marker to somebody else
	CodeStreams    = "stream-missing"    // a stream of the permanent version is not in it
	CodeEnvelope   = "stream-envelope"   // a stream of the permanent version goes beyond what its viewers rely on
	CodeTooLate    = "committing"        // the version is being made permanent
	CodeState      = "state-schema"      // it does not take the permanent version's state
	CodeStage      = "stage-failed"      // the slot could not be written
	CodeUnreadable = "unreadable"        // the package could not be read

	CodeSystem   = "other-system"    // another system runs than the permanent one
	CodeRequires = "requires-system" // what is permanent in another slot class is too old for it
	CodeCombined = "combined"        // a device comes with it, and with another system than its own
	CodeNoStart  = "no-start"        // nothing could return from programs on trial

	CodeProvisioned = "provisioned"   // the device has a permanent version already
	CodeEnrolled    = "enrolled"      // the device belongs to a fleet already
	CodeNoFactory   = "no-factory"    // there is no package of the version that the device came with
	CodeOtherDevice = "other-device"  // the request was meant for another one
	CodeOtherStaged = "other-staged"  // what is staged is not the package that was meant
	CodeNoImage     = "no-live-image" // the package has nothing for a live slot
	CodeNoSystem    = "no-system"     // the package has nothing for a system slot
)

// result is shorthand for the answers that Step gives.
func result(exit int, code, message string) control.Result {
	return control.Result{Exit: exit, Code: code, Message: message}
}

package agent

import (
	"time"

	"slipstream/agent/control"
	"slipstream/stream/orders"
)

// Effect is one thing for the runner to do. The state that goes with it is in
// the journal before it is begun; it may be done twice, and is written so that
// this changes nothing.
type Effect any

type (
	// StartApp verifies a slot and starts its app.
	StartApp struct {
		Slot   string
		Source orders.SourceID
		Role   string         // RolePermanent, RoleTrial or RoleRehearsal
		Home   string         // of a rehearsal: the slot whose content it is
		Trial  orders.TrialID // "" for the permanent role
		Bare   bool           // without what was handed over: it keeps ending with it
	}
	// CheckSlot verifies the slot of a trial's version, before the old one makes
	// room for it. Answered by [SlotChecked].
	CheckSlot struct {
		Trial   orders.TrialID
		Version Version
	}
	// Freeze stops a source's app where it is.
	Freeze struct{ Source orders.SourceID }
	// Thaw lets it go on.
	Thaw struct{ Source orders.SourceID }
	// StopApp ends a source's app, or calls its start off: politely first, by
	// force after the grace period. A frozen one is thawed first, or it could not
	// hear. Answered by [AppExited].
	StopApp struct {
		Source orders.SourceID
		Grace  time.Duration
		Leave  time.Duration // to end by itself before it is told to
	}

	// SendOrders gives the forwarder its full orders.
	SendOrders struct {
		Permanent orders.SourceID
		Sources   []orders.SourceID
		Trial     *orders.Trial
		Frozen    orders.SourceID // "" for none
	}
	// AskStatus asks the forwarder what it knows of the trial.
	AskStatus struct{}
	// Hold asks for the right to commit, or renews it.
	Hold struct{ Trial orders.TrialID }
	// Settle tells the forwarder that the commit point is passed.
	Settle struct {
		Trial  orders.TrialID
		Source orders.SourceID
	}
	// RevertTrial brings viewers back. The app is stopped only after the answer.
	RevertTrial struct {
		Trial  orders.TrialID
		Reason string
	}
	// RestartForwarder ends a forwarder that has stopped answering.
	RestartForwarder struct{}

	// ReplaceForwarder lets the installed forwarder take over from the one that runs.
	ReplaceForwarder struct{}

	// TryBoot checks a system slot and lets the next boot, and only that, start it.
	// Answered by [BootTried]. This and the next three are done one after the other.
	TryBoot struct {
		Trial  orders.TrialID
		System Part
	}
	// CancelBoot ends the boot loader's trial.
	CancelBoot struct{}
	// AgreeBoot brings the boot loader into agreement with the record. Answered by
	// [BootAgrees] when it is so.
	AgreeBoot struct{ Slot string }
	// Restart starts the device anew.
	Restart struct {
		Journalled bool // only if the state is in the journal, or it could come again and again
	}

	// TryRuntime checks a slot of programs and lets its forwarder take over from the one
	// that runs. Answered by [RuntimeTried]. This and the next two are done one after the
	// other.
	TryRuntime struct {
		Trial   orders.TrialID
		Runtime Part
	}
	// Become ends this agent, for the one on trial if one is named, and else for the
	// permanent one. There is no answer but the next agent's [Recover].
	Become struct {
		Trial    orders.TrialID
		Runtime  Part
		Deadline int64 // CLOCK_MONOTONIC ns
	}
	// ReturnForwarder lets the forwarder of this agent's programs take over from that on
	// trial, by force if need be. Answered by [ForwarderReturned].
	ReturnForwarder struct{ Trial orders.TrialID }

	// WriteRecord replaces the active record: the commit point.
	WriteRecord struct {
		Trial    orders.TrialID
		Version  Version
		Previous Version
	}

	// FallBack makes the version before permanent, if it is whole, with the floor
	// of the damaged one.
	FallBack struct{ From, To Version }

	// StageSlot writes the package of an attempt into a slot.
	StageSlot struct {
		Attempt int64
		Slot    string // "" if the package has no app
		System  string // system slot; "" if it has no system
		Runtime string // slot of programs; "" if it has none
		Req     uint64 // of the request that holds the open package
		Look    bool   // although it is there already
	}

	// WatchMarker makes the trial's directory, if need be, and looks for the marker.
	WatchMarker struct{ Trial orders.TrialID }
	// WatchChecks begins to judge what the manifest declares of the app on trial.
	WatchChecks struct {
		Trial  orders.TrialID
		Source orders.SourceID
	}
	// MakeMarker makes the marker in the operator's name.
	MakeMarker struct{ Trial orders.TrialID }
	// EndTrial removes the trial's directory, and its data if it was reverted.
	EndTrial struct {
		Trial orders.TrialID
		Slot  string
		Kept  bool
	}

	// Remember adds a line to the history, in the same transaction as the state.
	Remember struct{ control.Record }
	// Answer answers a request.
	Answer struct {
		Req uint64
		control.Result
		Trial orders.TrialID // the trial that the answer is about
		Begun bool           // which the request has begun
	}
)

// Roles of an app, as SLIPSTREAM_ROLE tells it.
const (
	RolePermanent = "permanent"
	RoleTrial     = "trial"
	RoleRehearsal = "rehearsal"
)

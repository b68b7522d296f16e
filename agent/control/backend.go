package control

import "context"

// Backend is whoever does what the local face is asked for: the agent itself,
// or a [Client] that asks it over its socket. All methods may be called at the
// same time from many goroutines.
//
// A [Result] always carries one of the Exit codes; a backend that could not be
// reached answers [ExitError] with a sentence that says what to do.
type Backend interface {
	// Status is what the device is doing now.
	Status(ctx context.Context) (Status, error)

	// WaitStatus returns as soon as Status.Seq is not seq any more, which is at
	// once if the agent was started anew and counts from the beginning. When ctx
	// ends first it returns ctx's error.
	WaitStatus(ctx context.Context, seq uint64) (Status, error)

	// History lists at most max past updates, newest first.
	History(ctx context.Context, max int) ([]Record, error)

	// Stage returns when the package is whole in the spare slot, or refused. A
	// caller that goes away stops the writing. A package that is staged already
	// answers [ExitNothing] with [CodeAlreadyStaged]; one that is permanent
	// already answers [ExitNothing] with another code.
	Stage(ctx context.Context, r StageRequest) Result

	// Activate returns when the trial has begun, or with r.Wait when it has
	// ended. A caller that goes away does not end the trial.
	Activate(ctx context.Context, r ActivateRequest) Result

	// Greenlight makes the operator's mark for the trial under way.
	Greenlight(ctx context.Context) Result

	// Revert ends the trial under way with the version before it. Without a trial it
	// begins one of the version that was permanent before, and returns when that has
	// begun; without such a version the answer is [ExitNothing].
	Revert(ctx context.Context) Result

	// ReplaceForwarder lets the installed forwarder take over from the one that
	// runs, and returns when it serves or was given up. During a trial it refuses.
	ReplaceForwarder(ctx context.Context) Result
}

// CodeBusy marks the Result of a request that must wait for the end of the update
// under way.
const CodeBusy = "busy"

// CodeAlreadyStaged marks the one way of having nothing to stage after which
// the version asked for may be activated.
const CodeAlreadyStaged = "already-staged"

// Install stages a package and activates it. It activates nothing unless
// staging ended with that very package in the spare slot.
func Install(ctx context.Context, b Backend, s StageRequest, wait bool) Result {
	staged := b.Stage(ctx, s)
	if staged.Exit != ExitDone && staged.Code != CodeAlreadyStaged {
		return staged
	}
	return b.Activate(ctx, ActivateRequest{Force: s.Force, Wait: wait})
}

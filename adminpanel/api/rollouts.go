package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// rolloutActions are what the verbs of rollouts are to the table of rules.
var rolloutActions = map[string]auth.Action{
	drive.VerbApprove: auth.DriveRollout, drive.VerbStart: auth.DriveRollout, drive.VerbPause: auth.PauseRollout,
	drive.VerbResume: auth.DriveRollout, drive.VerbAbort: auth.DriveRollout, drive.VerbAbortRevert: auth.DriveRollout,
	drive.VerbRetry: auth.DriveRollout, drive.VerbSkipWave: auth.DriveRollout, drive.VerbConfirm: auth.Confirm,
}

func (a *API) registerRollouts() {
	add(a, "GET /rollouts", "All rollouts, the newest first", a.getRollouts)
	add(a, "POST /rollouts", "Make a rollout of a plan; nothing happens before it is started", a.postRollout, status(http.StatusCreated))
	add(a, "POST /rollouts/preview", "What a plan would do now", a.previewRollout)
	add(a, "GET /rollouts/{id}", "One rollout", a.getRollout)
	add(a, "GET /rollouts/{id}/devices", "Its devices, and how far each is", a.getRolloutDevices)
	for verb, does := range map[string]string{
		drive.VerbApprove:     "Give one's word for a rollout that somebody else has made",
		drive.VerbStart:       "Freeze the selection, and begin",
		drive.VerbPause:       "Ask nobody any more for now",
		drive.VerbResume:      "Go on after a pause or a halt",
		drive.VerbAbort:       "Ask nobody any more",
		drive.VerbAbortRevert: "Ask nobody any more, and have those that took the release return",
		drive.VerbRetry:       "Ask those again that have failed",
		drive.VerbSkipWave:    "Open the next wave whatever became of this one",
		drive.VerbConfirm:     "Greenlight the trials that wait for it",
	} {
		add(a, "POST /rollouts/{id}/"+verb, does, a.rolloutVerb(verb))
	}
}

// RolloutID is the parameter of routes about one.
type RolloutID struct {
	ID string `path:"id" maxLength:"40"`
}

func (a *API) getRollouts(ctx context.Context, _ *nothing) (*answer[view.Rollouts], error) {
	list, err := a.cfg.Drive.List(ctx)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	for i := range list {
		list[i] = a.rolloutFor(c, list[i])
	}
	return say(view.Rollouts{Rollouts: list}, nil)
}

func (a *API) getRollout(ctx context.Context, in *RolloutID) (*tagged[view.Rollout], error) {
	v, err := a.cfg.Drive.Show(ctx, in.ID)
	if err != nil {
		return nil, noRollout(err)
	}
	return a.tagRollout(ctx, v)
}

// tagRollout answers with a rollout as the caller may see it.
func (a *API) tagRollout(ctx context.Context, v view.Rollout) (*tagged[view.Rollout], error) {
	v, err := a.offered(ctx, callerOf(ctx), v)
	return tag(v, v.Rev, err)
}

// postRollout asks for approvals by the number of devices that meet the selector, also of
// those that could not take part just now: they may when it starts. Whether it has become
// more by then is looked at again when it starts.
func (a *API) postRollout(ctx context.Context, in *struct{ Body view.Plan }) (*tagged[view.Rollout], error) {
	c := callerOf(ctx)
	meant, err := a.meets(in.Body.Selector)
	if err != nil {
		return nil, at("body.selector", err)
	}
	if err := allowed(c, auth.PlanRollout, in.Body.Dynamic, slices.Values(meant)); err != nil {
		return nil, err
	}
	v := view.Rollout{Plan: in.Body, Total: view.Counts{Devices: len(meant)}}
	needed := auth.Approvals(v, a.cfg.Settings.Now().ApproveAbove)
	if v, err = a.cfg.Drive.Create(ctx, in.Body, needed, driver(c, view.RolloutVerb{}, 0)); err != nil {
		return nil, err
	}
	return a.tagRollout(ctx, v)
}

func (a *API) previewRollout(ctx context.Context, in *struct{ Body view.Plan }) (*answer[view.Preview], error) {
	meant, err := a.meets(in.Body.Selector)
	if err != nil {
		return nil, at("body.selector", err)
	}
	if err := allowed(callerOf(ctx), auth.PlanRollout, in.Body.Dynamic, slices.Values(meant)); err != nil {
		return nil, err
	}
	return say(a.cfg.Drive.Preview(ctx, in.Body))
}

// driver is the caller as rollouts know him.
func driver(c auth.Caller, say view.RolloutVerb, rev int64) drive.Caller {
	return drive.Caller{By: c.Actor(), Person: c.Person(), From: c.From, Why: say.Why, Rev: rev}
}

func (a *API) rolloutVerb(verb string) func(context.Context, *struct {
	RolloutID
	Revised
	Body *view.RolloutVerb
}) (*tagged[view.Rollout], error) {
	return func(ctx context.Context, in *struct {
		RolloutID
		Revised
		Body *view.RolloutVerb
	}) (*tagged[view.Rollout], error) {
		rev, err := in.rev()
		if err != nil {
			return nil, err
		}
		if in.Body == nil {
			in.Body = &view.RolloutVerb{}
		}
		c := callerOf(ctx)
		v, err := a.cfg.Drive.Show(ctx, in.ID)
		if err != nil {
			return nil, noRollout(err)
		}
		if rev != 0 && rev != v.Rev {
			return nil, drive.ErrStale
		}
		v = a.filled(ctx, v)
		if err := a.mayDrive(ctx, c, verb, v); err != nil {
			return nil, err
		}
		if err := expected(verb, v, in.Body.Expect); err != nil {
			return nil, err
		}
		if rev != 0 || waiting(v) {
			rev = v.Rev // what was looked at here is meant, not what somebody makes of it meanwhile
		}
		if v, err = a.cfg.Drive.Verb(ctx, in.ID, verb, driver(c, *in.Body, rev)); err != nil {
			return nil, noRollout(err)
		}
		return a.tagRollout(ctx, v)
	}
}

func noRollout(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return newProblem(http.StatusNotFound, "no-rollout", "there is no such rollout")
	}
	return err
}

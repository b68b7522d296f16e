package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/view"
)

// meets are the devices that a selector means now.
func (a *API) meets(selector string) ([]*view.Device, error) {
	s, err := fleet.ParseSelector(selector)
	if err != nil {
		return nil, err
	}
	return a.cfg.Fleet.Table().Select(s, time.Now()), nil
}

// allowed refuses who may not do a thing to the devices that it needs. What takes in
// devices later is about all of them.
func allowed(c auth.Caller, action auth.Action, dynamic bool, devices iter.Seq[*view.Device]) error {
	_, reach := auth.ReachOf(action)
	ok := false
	switch {
	case reach == auth.Some:
		ok = c.CanSome(action, devices)
	case dynamic:
		ok = c.CanEvery(action, slices.Values([]*view.Device(nil)))
	default:
		ok = c.CanEvery(action, devices)
	}
	if !ok {
		return auth.ErrForbidden
	}
	return nil
}

// waiting tells whether a rollout has not begun: whom it means is not frozen.
func waiting(v view.Rollout) bool {
	return v.State == view.RolloutDraft || v.State == view.RolloutApproved
}

// members are the devices that a rollout is about, as far as they are of the fleet.
func (a *API) members(ctx context.Context, v view.Rollout) (devices iter.Seq[*view.Device], failed *error) {
	failed = new(error)
	if waiting(v) {
		list, err := a.meets(v.Plan.Selector)
		*failed = err
		return slices.Values(list), failed
	}
	return func(yield func(*view.Device) bool) {
		for after := ""; ; {
			page, err := a.cfg.Drive.Devices(ctx, v.ID, 0, "", after, 0)
			if err != nil {
				*failed = err
				return
			}
			for _, one := range page.Devices {
				if d, ok := a.cfg.Fleet.Table().Get(one.ID); ok && !yield(&d) {
					return
				}
			}
			if after = page.After; after == "" {
				return
			}
		}
	}, failed
}

// mayDrive asks the rules about the devices of a rollout, and about second persons.
func (a *API) mayDrive(ctx context.Context, c auth.Caller, verb string, v view.Rollout) error {
	devices, failed := a.members(ctx, v)
	err := allowed(c, rolloutActions[verb], v.Plan.Dynamic, devices)
	switch {
	case *failed != nil:
		return *failed
	case err != nil:
		return err
	case verb == drive.VerbApprove:
		return auth.Approve(v, c.Person(), a.cfg.Settings.Now().ApproveAbove)
	}
	return nil
}

// filled says of a rollout that has not begun whom it would be about.
func (a *API) filled(ctx context.Context, v view.Rollout) view.Rollout {
	if !waiting(v) {
		return v
	}
	p, err := a.cfg.Drive.Preview(ctx, v.Plan)
	if err != nil {
		v.Waiting = append(slices.Clone(v.Waiting), "it could not start now: "+a.problem(err).Detail)
		return v
	}
	v.Total = view.Counts{Devices: p.Devices, Queued: p.Devices}
	v.Waves = slices.Clone(v.Waves)
	for i := range min(len(v.Waves), len(p.Waves)) {
		v.Waves[i].Counts = view.Counts{Devices: p.Waves[i].Devices, Queued: p.Waves[i].Devices}
	}
	return v
}

// expected guards against surprise: the caller says how many devices the verb concerns.
// While a rollout runs, devices go on between the look and the word.
func expected(verb string, v view.Rollout, expect *int) error {
	if expect == nil {
		return nil
	}
	n, known := concerns(verb, v)
	if !known {
		return badInput("body.expect", "it makes no sense for "+strings.ReplaceAll(verb, "-", " "))
	}
	runs := v.State == view.RolloutRunning || v.State == view.RolloutRollingBack
	if n == *expect || runs && n <= *expect+v.Plan.MaxUnavailable {
		return nil
	}
	return newProblem(http.StatusConflict, "unexpected", fmt.Sprintf("it concerns %d devices by now, not %d: look again", n, *expect))
}

// concerns is how many devices a verb is about, as pages and programs count them.
func concerns(verb string, v view.Rollout) (n int, known bool) {
	t := v.Total
	switch verb {
	case drive.VerbStart, drive.VerbApprove:
		return t.Devices, true
	case drive.VerbConfirm:
		return t.Trial, true
	case drive.VerbAbort:
		return t.Devices - t.Done - t.Failed - t.Reverted - t.Skipped, true
	case drive.VerbAbortRevert:
		return t.Done + t.Trial + t.Activating, true
	case drive.VerbRetry:
		return t.Failed + t.Reverted, true
	case drive.VerbSkipWave:
		if v.Wave < 1 || v.Wave > len(v.Waves) {
			return 0, true
		}
		c := v.Waves[v.Wave-1].Counts
		return c.Queued + c.Staging + c.Staged, true
	}
	return 0, false
}

// rolloutFor is a rollout as a caller may see it. What the caller may do to it is left out
// where that takes a look at its devices.
func (a *API) rolloutFor(c auth.Caller, v view.Rollout) view.Rollout {
	v = a.hideDevices(c, v)
	steps := slices.Clone(v.Actions)
	v.Actions = []view.Step{}
	if waiting(v) {
		return v
	}
	for i := range steps {
		switch scope := c.Scope(rolloutActions[steps[i].Name]); {
		case steps[i].Denied != "" || slices.ContainsFunc(scope, fleet.Selector.All):
		case len(scope) == 0:
			steps[i].Denied = auth.ErrForbidden.Detail
		default:
			return v
		}
	}
	v.Actions = steps
	return v
}

// offered is a rollout as a caller may see it, with what the caller may do to it.
func (a *API) offered(ctx context.Context, c auth.Caller, v view.Rollout) (view.Rollout, error) {
	v = a.hideDevices(c, a.filled(ctx, v))
	v.Actions = slices.Clone(v.Actions)
	asked := map[auth.Action]error{} // the devices are looked at once for each
	for i := range v.Actions {
		step := &v.Actions[i]
		if step.Denied != "" {
			continue
		}
		action := rolloutActions[step.Name]
		err, known := asked[action]
		if !known {
			devices, failed := a.members(ctx, v)
			err = allowed(c, action, v.Plan.Dynamic, devices)
			if *failed != nil {
				return v, noRollout(*failed)
			}
			asked[action] = err
		}
		if err == nil && step.Name == drive.VerbApprove {
			err = auth.Approve(v, c.Person(), a.cfg.Settings.Now().ApproveAbove)
		}
		if err != nil {
			step.Denied = err.Error()
		}
	}
	return v, nil
}

// looksAtAll tells whether a caller may see every device.
func looksAtAll(c auth.Caller) bool {
	return slices.ContainsFunc(c.Scope(auth.LookDevice), fleet.Selector.All)
}

func (a *API) mayLook(c auth.Caller, id string) bool {
	d, ok := a.cfg.Fleet.Table().Get(id)
	return ok && c.Can(auth.LookDevice, &d)
}

// hideDevices leaves devices out of a rollout that the caller may not see.
func (a *API) hideDevices(c auth.Caller, v view.Rollout) view.Rollout {
	if looksAtAll(c) {
		return v
	}
	v.Failures = slices.Clone(v.Failures)
	for i := range v.Failures {
		f := &v.Failures[i]
		f.Sample = slices.DeleteFunc(slices.Clone(f.Sample), func(id string) bool { return !a.mayLook(c, id) })
	}
	if v.GapWorst != "" && !a.mayLook(c, v.GapWorst) {
		v.GapWorst = ""
	}
	return v
}

func (a *API) getRolloutDevices(ctx context.Context, in *struct {
	RolloutID
	Wave  int    `query:"wave" minimum:"0" maximum:"50" doc:"from 1; none: of all"`
	Phase string `query:"phase" enum:"queued,staging,staged,activating,trial,done,failed,reverting,reverted,skipped,unknown"`
	After string `query:"after" maxLength:"80" doc:"of the page before: where this one goes on"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}) (*answer[view.RolloutDevices], error) {
	c := callerOf(ctx)
	if looksAtAll(c) {
		page, err := a.cfg.Drive.Devices(ctx, in.ID, in.Wave, in.Phase, in.After, in.Limit)
		return say(page, noRollout(err))
	}
	// All are looked at: the total is that of the devices which the caller may see.
	seen := view.RolloutDevices{Devices: []view.RolloutDevice{}}
	for after := ""; ; {
		page, err := a.cfg.Drive.Devices(ctx, in.ID, in.Wave, in.Phase, after, 0)
		if err != nil {
			return nil, noRollout(err)
		}
		for _, d := range page.Devices {
			if !a.mayLook(c, d.ID) {
				continue
			}
			seen.Total++
			switch {
			case d.ID <= in.After:
			case len(seen.Devices) < in.Limit:
				seen.Devices = append(seen.Devices, d)
			default:
				seen.After = seen.Devices[in.Limit-1].ID
			}
		}
		if after = page.After; after == "" {
			return say(seen, nil)
		}
	}
}

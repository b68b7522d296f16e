package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

const (
	maxWait = 2 * time.Hour // a large package over a slow uplink
	// askTime is for what is asked to be written down.
	askTime = 30 * time.Second
	// lookAgain is how soon answers are noticed that no change of the device tells of.
	lookAgain = 200 * time.Millisecond
)

var errBadAnswer = newProblem(http.StatusBadGateway, "bad-answer", "the device's answer is not one to this ask")

type verb[B any] struct {
	DeviceID

	Wait string `query:"wait" maxLength:"16" doc:"how long to wait for what the device says, such as 30s: 200 if it came, else 202"`
	Body B
}

type verbOut struct {
	Status int
	Body   view.Asked
}

// none is the body of verbs that need none: nothing, or {}.
type none struct{}

func (a *API) registerVerbs() {
	accepted := func(op *huma.Operation) {
		op.DefaultStatus = http.StatusAccepted
		schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[view.Asked](), true, "")
		op.Responses = map[string]*huma.Response{"200": {
			Description: "The device has answered", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}}
	}
	add(a, "POST /devices/{id}/stage", "Write a release into the device's spare slot", func(ctx context.Context, in *verb[view.StageRequest]) (*verbOut, error) {
		return a.ask(ctx, in.ID, in.Wait, drive.Wish{Want: rollout.WantStage, Release: in.Body.Release, Force: in.Body.Force})
	}, accepted)
	add(a, "POST /devices/{id}/upgrade", "Write a release into the spare slot and try it", func(ctx context.Context, in *verb[view.UpgradeRequest]) (*verbOut, error) {
		return a.ask(ctx, in.ID, in.Wait, drive.Wish{Want: rollout.WantStage, Activate: true, Release: in.Body.Release, Force: in.Body.Force})
	}, accepted)
	add(a, "POST /devices/{id}/activate", "Begin the trial of the staged version", func(ctx context.Context, in *verb[*view.ActivateRequest]) (*verbOut, error) {
		w := drive.Wish{Want: rollout.WantActivate, Force: in.Body != nil && in.Body.Force}
		return a.ask(ctx, in.ID, in.Wait, w)
	}, accepted)
	for name, want := range map[string]string{"confirm": rollout.WantConfirm, "revert": rollout.WantRevert, "cancel": rollout.WantNothing} {
		add(a, "POST /devices/{id}/"+name, summaries[name], func(ctx context.Context, in *verb[*none]) (*verbOut, error) {
			return a.ask(ctx, in.ID, in.Wait, drive.Wish{Want: want})
		}, accepted)
	}
}

var summaries = map[string]string{
	"confirm": "Greenlight the version on trial",
	"revert":  "Go back to the version before",
	"cancel":  "Ask for nothing any more: a stage under way ends",
}

// ask writes down what a person wants of a device, and waits for what it says if the person
// does. It is written down also if they do not wait for that.
func (a *API) ask(ctx context.Context, id, wait string, w drive.Wish) (*verbOut, error) {
	span, err := spanOf(wait)
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	d, err := a.device(c, id, auth.Operate)
	if err != nil {
		return nil, err
	}
	if !d.Online && (w.Want == rollout.WantConfirm || w.Want == rollout.WantRevert) {
		// It would be done whenever the device comes back, for reasons of today.
		return nil, hub.ErrOffline
	}
	if w.Want == rollout.WantActivate {
		if w.Release, err = a.stagedRelease(ctx, id); err != nil {
			return nil, err
		}
	}
	w.Device, w.By, w.From = id, c.Actor(), c.From
	written, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	asked, err := a.cfg.Drive.Ask(written, w)
	if err != nil {
		return nil, err
	}
	v := a.outcome(asked)
	if span > 0 {
		v = a.await(ctx, asked, span)
	}
	if v.Done {
		return &verbOut{http.StatusOK, v}, nil
	}
	return &verbOut{http.StatusAccepted, v}, nil
}

func spanOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < 0 || span > maxWait {
		return 0, badInput("query.wait", "it is a time such as 30s, at most "+maxWait.String())
	}
	return span, nil
}

// stagedRelease is the release in the device's staged slot, by the device's own word; "" if
// that is none of the panel's.
func (a *API) stagedRelease(ctx context.Context, id string) (string, error) {
	digest := a.cfg.Drive.Staged(id)
	if digest == "" {
		return "", nil
	}
	list, err := a.cfg.Releases.List(ctx)
	for _, r := range list {
		if r.Digest == digest && !r.Withdrawn {
			return r.ID, nil
		}
	}
	return "", err
}

// await waits until the device has said what became of an ask.
func (a *API) await(ctx context.Context, asked drive.Ask, span time.Duration) view.Asked {
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	watch := a.cfg.Hub.Watch()
	defer watch.Close()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		v := a.outcome(asked)
		if v.Done {
			return v
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-again.C:
		case <-ctx.Done():
			return v
		case <-a.ctx.Done():
			return v
		}
	}
}

// asked is the newest that was asked of a device.
func (a *API) asked(id string) *view.Asked {
	ask, ok := a.cfg.Drive.Asked(id)
	if !ok {
		return nil
	}
	ask.Device = id
	v := a.outcome(ask)
	return &v
}

// outcome is an ask as people see it: somebody pressed a button, and then the device said
// something.
func (a *API) outcome(ask drive.Ask) view.Asked {
	v := view.Asked{
		ID: fmt.Sprintf("%s-%d", ask.Device, ask.Epoch), Kind: kindOf(ask), By: strings.TrimPrefix(ask.Owner, "user "), At: ask.At,
	}
	if ask.Want != rollout.WantNothing {
		v.Release, v.Version = ask.Release, ask.Live.Version
	}
	if newest, ok := a.cfg.Drive.Asked(ask.Device); !ok || newest.Epoch > ask.Epoch {
		v.Done, v.Exit, v.Code, v.Message = true, control.ExitNothing, "superseded", "something else was asked of the device since"
		return v
	}
	switch ask.Want {
	case rollout.WantNothing:
		if said, ok := a.cfg.Drive.Said(ask.Device); ok {
			v.Done, v.Message = true, said.Message
		}
	case rollout.WantConfirm, rollout.WantRevert:
		a.ofAnswer(&v, ask)
	default:
		if seen, ok := a.cfg.Drive.Standing(ask.Device); ok {
			ofTry(&v, seen)
		}
	}
	return v
}

func kindOf(ask drive.Ask) string {
	switch {
	case ask.Want == rollout.WantNothing:
		return "cancel"
	case ask.Want == rollout.WantStage && ask.Activate:
		return "upgrade"
	}
	return ask.Want
}

// ofAnswer ends with what the device said to it, or with what it shows.
func (a *API) ofAnswer(v *view.Asked, ask drive.Ask) {
	if said, ok := a.cfg.Drive.Said(ask.Device); ok {
		v.Done, v.Exit, v.Message = true, said.Exit, said.Message
		return
	}
	seen, ok := a.cfg.Drive.Standing(ask.Device)
	switch {
	case !ok:
	case ask.Want == rollout.WantConfirm && seen.What == rollout.SeenDone:
		v.Done, v.Message = true, "it is permanent"
	case ask.Want == rollout.WantRevert && seen.What == rollout.SeenReverted:
		v.Done, v.Message = true, "the version before is back"
	case ask.Want == rollout.WantConfirm && seen.What == rollout.SeenReverted:
		v.Done, v.Exit, v.Code, v.Message = true, control.ExitReverted, seen.Cause, orElse(seen.Detail, "it has gone back")
	}
}

// ofTry is where a version stands that was to be staged or tried.
func ofTry(v *view.Asked, seen rollout.Seen) {
	upgrade := v.Kind == "upgrade"
	switch seen.What {
	case rollout.SeenStaged:
		v.Message = "it is staged"
		v.Done = v.Kind == "stage"
	case rollout.SeenTrial:
		v.Message = "its trial has begun"
		v.Done = !upgrade
	case rollout.SeenReady:
		v.Message = "its trial waits for a greenlight"
		v.Done = !upgrade
	case rollout.SeenDone:
		v.Message, v.Done = "it is permanent", true
	case rollout.SeenReverted:
		v.Done, v.Exit, v.Code, v.Message = true, control.ExitReverted, seen.Cause, orElse(seen.Detail, "it has gone back")
	case rollout.SeenFailed:
		v.Done, v.Exit, v.Code, v.Message = true, control.ExitRefused, seen.Cause, orElse(seen.Detail, "the device could not do it")
	case rollout.SeenStaging:
		v.Message = "it is being written"
	}
}

func orElse(text, or string) string {
	if text == "" {
		return or
	}
	return text
}

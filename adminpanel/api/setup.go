package api

import (
	"context"
	"net/http"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

func (a *API) registerSetup() {
	add(a, "GET /setup", "What a new panel still needs", a.getSetup, open)
	add(a, "POST /setup", "Make the first account, by the token that the panel printed, and sign it in", a.postSetup, open, status(http.StatusCreated))
}

// getSetup tells who is not signed in only whether there is somebody who could be.
func (a *API) getSetup(ctx context.Context, _ *nothing) (*answer[view.Setup], error) {
	s := view.Setup{OIDC: a.cfg.OIDC != nil}
	var err error
	if s.Admin, err = a.cfg.Auth.IsSetUp(ctx); err != nil {
		return nil, err
	}
	if _, err := a.cfg.Auth.Authenticate(httpOf(ctx)); err != nil {
		return say(s, nil) // whatever the reason: the route is open
	}
	s.Trust = a.cfg.Releases.Verifies()
	s.Device = a.cfg.Fleet.Table().Len() > 0
	s.Enrolment = s.Device // one was made, and used up
	if !s.Enrolment && a.cfg.Enrolments != nil {
		list, err := a.cfg.Enrolments.List(ctx)
		if err != nil {
			return nil, err
		}
		s.Enrolment = len(list) > 0
	}
	releases, err := a.cfg.Releases.List(ctx)
	s.Release = len(releases) > 0
	s.Done = s.Admin && s.Trust && s.Enrolment && s.Device && s.Release
	return say(s, err)
}

func (a *API) postSetup(ctx context.Context, in *struct{ Body view.SetupRequest }) (*signedIn, error) {
	return signIn(a.cfg.Auth.Setup(httpOf(ctx), in.Body))
}

// everything is the selector that means all devices.
var everything fleet.Selector

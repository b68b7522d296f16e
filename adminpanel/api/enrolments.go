package api

import (
	"context"
	"net/http"

	"slipstream/adminpanel/view"
)

func (a *API) registerEnrolments() {
	add(a, "GET /enrolments", "Tokens by which devices may still join, without their texts", a.getEnrolments)
	add(a, "POST /enrolments", "Make a token by which devices join; its text is in this answer and nowhere else", a.postEnrolment, status(http.StatusCreated))
	add(a, "DELETE /enrolments/{id}", "End such a token", a.deleteEnrolment)
}

func (a *API) enrolments() (Enrolments, error) {
	if a.cfg.Enrolments == nil {
		return nil, unavailable("this panel takes no devices in")
	}
	return a.cfg.Enrolments, nil
}

func (a *API) getEnrolments(ctx context.Context, _ *nothing) (*answer[view.Enrolments], error) {
	e, err := a.enrolments()
	if err != nil {
		return nil, err
	}
	list, err := e.List(ctx)
	if list == nil {
		list = []view.Enrolment{}
	}
	return say(view.Enrolments{Enrolments: list}, err)
}

func (a *API) postEnrolment(ctx context.Context, in *struct{ Body view.EnrolmentRequest }) (*answer[view.Enrolment], error) {
	e, err := a.enrolments()
	if err != nil {
		return nil, err
	}
	want := in.Body
	return say(e.Add(ctx, whoOf(ctx), view.Enrolment{Device: want.Device, Uses: want.Uses, Site: want.Site, Tags: want.Tags, Until: want.Until}))
}

func (a *API) deleteEnrolment(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*nothing, error) {
	e, err := a.enrolments()
	if err != nil {
		return nil, err
	}
	return nil, e.Remove(ctx, whoOf(ctx), in.ID)
}

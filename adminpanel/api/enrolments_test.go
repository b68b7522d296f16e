package api_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

// desk keeps tokens in memory: what they do to devices is tested where they are made.
type desk struct {
	mu   sync.Mutex // guards what follows
	list []view.Enrolment
}

func (d *desk) Add(_ context.Context, _ audit.Who, e view.Enrolment) (view.Enrolment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.ID = "e1"
	d.list = append(d.list, e)
	e.Text, e.Line = "secret", "slipstream enroll secret"
	return e, nil
}

func (d *desk) List(context.Context) ([]view.Enrolment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list, nil
}

func (d *desk) Remove(_ context.Context, _ audit.Who, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 || d.list[0].ID != id {
		return auth.ErrUnknown
	}
	d.list = nil
	return nil
}

func TestEnrolments(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Enrolments = &desk{} })
	var list view.Enrolments
	if w.call("GET", "/enrolments", nil).is(200, &list); list.Enrolments == nil {
		t.Error("an empty list is null")
	}
	good := view.EnrolmentRequest{Uses: 3, Site: "north", Tags: []string{"lab"}, Until: time.Now().Add(time.Hour)}
	for field, change := range map[string]func(*view.EnrolmentRequest){
		"body.uses":  func(e *view.EnrolmentRequest) { e.Device = "cam-1" },
		"body.until": func(e *view.EnrolmentRequest) { e.Until = time.Unix(0, 0) },
		"body":       func(e *view.EnrolmentRequest) { e.Device, e.Uses = "../cam", 1 },
		"body.tags":  func(e *view.EnrolmentRequest) { e.Tags = make([]string, 33) },
	} {
		bad := good
		change(&bad)
		if p := w.call("POST", "/enrolments", bad).fails(422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Location != field {
			t.Errorf("%s is told as %+v", field, p)
		}
	}
	late := good
	late.Until = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	w.call("POST", "/enrolments", late).fails(422, "invalid")
	var made view.Enrolment
	w.call("POST", "/enrolments", good).is(201, &made)
	if made.Text == "" || made.By != "ann" || made.Uses != 3 {
		t.Errorf("made %+v", made)
	}
	w.call("POST", "/enrolments", good, by(w.token("bob", "admin site:north"))).fails(403, "forbidden")
	w.call("DELETE", "/enrolments/e2", nil).fails(404, "not-found")
	w.call("DELETE", "/enrolments/"+made.ID, nil).is(204, nil)
}

// What a panel was not set up with says so.
func TestWhatIsNotSetUp(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/enrolments", "/oidc/login", "/oidc/callback"} {
		w.call("GET", path, nil).fails(501, "not-set-up")
	}
}

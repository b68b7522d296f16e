package api_test

import (
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/view"
)

// takesDevices lets the panel make tokens by which devices join.
func takesDevices(t *testing.T) func(*api.Config) {
	return func(c *api.Config) {
		authority, err := ca.OpenStore(c.Store, "")
		if err != nil {
			t.Fatal(err)
		}
		c.Enrolments = enrol.NewTokens(c.Store, c.Audit, authority, "https://panel.example:8443", c.Log)
	}
}

func TestEnrolments(t *testing.T) {
	w := newWorld(t, takesDevices(t))
	var list view.Enrolments
	if w.call("GET", "/enrolments", nil).is(200, &list); list.Enrolments == nil {
		t.Error("an empty list is null")
	}
	good := view.EnrolmentRequest{Uses: 3, Site: "north", Tags: []string{"lab"}, Until: time.Now().Add(time.Hour)}
	for name, change := range map[string]func(*view.EnrolmentRequest){
		"for one, thrice":     func(e *view.EnrolmentRequest) { e.Device = "cam-1" },
		"for the past":        func(e *view.EnrolmentRequest) { e.Until = time.Unix(0, 0) },
		"for another century": func(e *view.EnrolmentRequest) { e.Until = time.Date(2399, 1, 1, 0, 0, 0, 0, time.UTC) },
		"for a path":          func(e *view.EnrolmentRequest) { e.Device, e.Uses = "../cam", 1 },
		"with 33 tags":        func(e *view.EnrolmentRequest) { e.Tags = make([]string, 33) },
		"for nobody":          func(e *view.EnrolmentRequest) { e.Uses = 0 },
	} {
		bad := good
		change(&bad)
		if g := w.call("POST", "/enrolments", bad); g.status == 201 {
			t.Errorf("a token %s was made", name)
		} else {
			g.fails(422, "invalid")
		}
	}
	var made view.Enrolment
	w.call("POST", "/enrolments", good).is(201, &made)
	if made.Text == "" || made.Line == "" || made.Uses != 3 {
		t.Errorf("made %+v", made)
	}
	w.call("POST", "/enrolments", good, by(w.token("bob", "admin site:north"))).fails(403, "forbidden")
	w.call("DELETE", "/enrolments/e2", nil).fails(404, "no-enrolment")
	w.call("DELETE", "/enrolments/"+made.ID, nil).is(204, nil)
}

// What a panel was not set up with says so.
func TestWhatIsNotSetUp(t *testing.T) {
	w := newWorld(t)
	w.call("GET", "/enrolments", nil).fails(501, "not-set-up")
	for _, path := range []string{"/oidc/login", "/oidc/callback"} { // which people's browsers come to
		if to := w.call("GET", path, nil).is(303, nil).header.Get("Location"); to != "/?refused=not-set-up" {
			t.Errorf("%s leads to %q", path, to)
		}
	}
}

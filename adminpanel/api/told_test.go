package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// quiet are routes that do not read only and yet change nothing that lasts: they are told in
// no line. Pieces of an upload are told by its beginning and its end, which has the digest.
var quiet = map[string]string{
	"POST rollouts/preview":                        "it changes nothing",
	"PATCH uploads/{id}":                           "a piece: its beginning and its end are told",
	"POST devices/{id}/whep/{stream}":              "somebody watches",
	"PATCH devices/{id}/whep/{stream}/{session}":   "likewise",
	"DELETE devices/{id}/whep/{stream}/{session}":  "likewise",
	"OPTIONS devices/{id}/whep/{stream}":           "somebody is about to watch",
	"OPTIONS devices/{id}/whep/{stream}/{session}": "likewise",
}

// teller calls routes and counts what the audit tells of each.
type teller struct {
	*world
	told map[string]bool
}

// peoples are the lines of people and their programs; rollouts and devices have their own.
func (w *teller) peoples() (lines []view.AuditLine) {
	w.Helper()
	for after := int64(0); ; {
		page, before, err := w.cfg.Audit.Lines(w.Context(), audit.Query{Before: after, Limit: 500})
		if err != nil {
			w.Fatal(err)
		}
		for _, l := range page {
			if kind, _, _ := strings.Cut(l.Actor, " "); kind == "token" || kind == "user" {
				lines = append(lines, l)
			}
		}
		if after = before; before == 0 {
			return lines
		}
	}
}

// tells calls a route, by what changes it, and wants one line of it. Values says which of
// before and after the line has to have.
func (w *teller) tells(route, path string, body any, action, values string, changes ...with) got {
	w.Helper()
	method, _, _ := strings.Cut(route, " ")
	before := len(w.peoples())
	g := w.call(method, path, body, changes...)
	if g.status >= 300 {
		w.Fatalf("%s: %d %s", route, g.status, g.body)
	}
	lines := w.peoples()
	if n := len(lines) - before; n != 1 {
		w.Errorf("%s is told in %d lines", route, n)
		return g
	}
	l := lines[0]
	if l.Action != action || l.Object == "" || l.At.IsZero() {
		w.Errorf("%s is told as %+v", route, l)
	}
	if strings.Contains(values, "before") != (len(l.Before) > 0) || strings.Contains(values, "after") != (len(l.After) > 0) {
		w.Errorf("%s is told with the values %s and %s, want %q", route, l.Before, l.After, values)
	}
	w.told[route] = true
	return g
}

// TestEveryChangeIsToldOnce walks all routes that change something, in the order in which
// somebody might, and counts the audit's lines: one for each, by whoever did it.
func TestEveryChangeIsToldOnce(t *testing.T) {
	v := newVendor(t)
	keys := trusttest.Role{Keys: trusttest.Keys(t, 1)}
	root := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: trusttest.Keys(t, 1)}, Targets: keys,
	}.Parse(t)
	w := &teller{newWorld(t, v.judged(t.TempDir()), fleetOf(t, root, keys), takesDevices(t)), map[string]bool{}}
	w.told["POST setup"] = slices.Contains(w.lines(), "account.setup") // ann
	w.people()
	rel := w.uploads(v)
	w.devices(rel)
	w.rollouts(rel)
	w.tells("DELETE releases/{id}", "/releases/"+rel.ID, nil, "release.withdraw", "before after")
	w.tells("GET backup", "/backup", nil, "panel.backup", "after")
	for _, rule := range auth.Rules {
		route := strings.Replace(rule.Route, "/api/v1/", "", 1)
		if method, _, _ := strings.Cut(route, " "); method == http.MethodGet || quiet[route] != "" {
			continue
		}
		if !w.told[route] {
			t.Errorf("nothing shows that %s is told", rule.Route)
		}
	}

	// One row that is another one breaks the chain.
	item, err := w.cfg.Store.Get(t.Context(), fmt.Sprintf("a/%020d", 3))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(item.Value), `"action":"`, `"action":"not `, 1)
	w.put(item.Key, changed)
	if _, err := audit.Verify(t.Context(), w.cfg.Store); err == nil {
		t.Error("a changed row is not seen")
	}
	w.put(item.Key, string(item.Value))
	if _, err := audit.Verify(t.Context(), w.cfg.Store); err != nil {
		t.Error(err)
	}
}

func (w *teller) people() {
	w.Helper()
	any := header("If-Match", "*")
	w.tells("POST accounts", "/accounts", view.AccountRequest{Name: "bob", Password: annPassword, Grants: []view.Grant{{Role: view.RoleViewer}}}, "account.add", "after")
	w.tells("PATCH accounts/{id}", "/accounts/bob", view.AccountPatch{Grants: &[]view.Grant{{Role: view.RoleOperator}}}, "account.change", "before after", any)
	g := w.tells("POST sessions", "/sessions", view.Login{Name: "bob", Password: annPassword}, "session.open", "", nobody)
	bob := func(r *http.Request) {
		r.Header.Del("Authorization")
		for _, c := range (&http.Response{Header: g.header}).Cookies() {
			r.AddCookie(c)
		}
	}
	g = w.tells("PUT me/password", "/me/password", view.PasswordChange{Old: annPassword, New: "another good password"}, "account.password", "", bob)
	var token view.Token
	w.tells("POST tokens", "/tokens", view.TokenRequest{Name: "x", Grants: []view.Grant{{Role: view.RoleViewer}}, Until: time.Now().Add(time.Hour)}, "token.add", "after", bob).is(201, &token)
	w.tells("DELETE tokens/{id}", "/tokens/"+token.ID, nil, "token.remove", "before", bob)
	w.tells("DELETE sessions/{id}", "/sessions/current", nil, "session.end", "", bob)
	w.tells("DELETE accounts/{id}", "/accounts/bob", nil, "account.remove", "before", any)
	var s view.Settings
	w.call("GET", "/settings", nil).is(200, &s)
	s.ApproveAbove = 1 // of two devices
	w.tells("PUT settings", "/settings", s, "settings.set", "after", any)
	var e view.Enrolment
	w.tells("POST enrolments", "/enrolments", view.EnrolmentRequest{Uses: 1, Until: time.Now().Add(time.Hour)}, "enrolment.add", "after").is(201, &e)
	w.tells("DELETE enrolments/{id}", "/enrolments/"+e.ID, nil, "enrolment.remove", "before")
}

// uploads has one upload told by two lines: who began it, and what it became, by its digest.
func (w *teller) uploads(v vendor) (rel view.Release) {
	w.Helper()
	slip := v.pack("2.0.0")
	var up view.Upload
	w.tells("POST uploads", "/uploads", view.UploadRequest{Name: "x.slip", Size: int64(len(slip))}, "upload.begin", "").is(201, &up)
	before := len(w.peoples())
	piece := header("Content-Type", "application/offset+octet-stream")
	for i := range 4 {
		from, to := i*len(slip)/4, (i+1)*len(slip)/4
		w.call("PATCH", "/uploads/"+up.ID, slip[from:to], piece, header("Upload-Offset", fmt.Sprint(from))).is(200, nil)
	}
	if n := len(w.peoples()) - before; n != 0 {
		w.Errorf("its pieces are told in %d lines", n)
	}
	w.tells("POST uploads/{id}/finish", "/uploads/"+up.ID+"/finish", "{}", "release.add", "after").is(200, &rel)
	if l := w.peoples()[0]; !strings.Contains(string(l.After), rel.Digest) {
		w.Errorf("the upload's end does not tell its digest: %+v", l)
	}
	w.tells("POST releases", "/releases?name=y.slip", v.pack("3.0.0"), "release.add", "after", header("Content-Type", "application/octet-stream")).is(201, nil)
	w.call("POST", "/uploads", view.UploadRequest{Name: "z.slip", Size: 5}).is(201, &up)
	w.tells("DELETE uploads/{id}", "/uploads/"+up.ID, nil, "upload.drop", "")
	return rel
}

func (w *teller) devices(rel view.Release) {
	w.Helper()
	w.link("north", "cam-1", func(c *cam) { c.greenlit = "operator" })
	w.link("north", "cam-2")
	w.enrol("south", "cam-9")
	w.eventually("all are there", func() bool { return w.cfg.Fleet.Table().Len() == 3 })
	w.tells("POST releases/{id}/order", "/releases/"+rel.ID+"/order", view.OrderRequest{Selector: "site:north"}, "release.order", "after")
	name := "Gate"
	w.tells("PATCH devices/{id}", "/devices/cam-1", view.DevicePatch{Name: &name}, "device.patch", "before after", header("If-Match", "*"))
	w.tells("POST devices/{id}/stage", "/devices/cam-1/stage?wait=30s", view.StageRequest{Release: rel.ID}, "device.stage", "after")
	w.tells("POST devices/{id}/activate", "/devices/cam-1/activate?wait=30s", "{}", "device.activate", "after")
	w.tells("POST devices/{id}/confirm", "/devices/cam-1/confirm?wait=30s", "{}", "device.confirm", "after")
	w.tells("POST devices/{id}/revert", "/devices/cam-1/revert?wait=30s", "{}", "device.revert", "after")
	w.tells("POST devices/{id}/cancel", "/devices/cam-1/cancel", "{}", "device.cancel", "after")
	w.tells("POST devices/{id}/upgrade", "/devices/cam-2/upgrade?wait=30s", view.UpgradeRequest{Release: rel.ID}, "device.stage", "after")
	w.tells("DELETE devices/{id}", "/devices/cam-9", nil, "device.revoke", "before", header("If-Match", "*"))
}

func (w *teller) rollouts(rel view.Release) {
	w.Helper()
	whatever := header("If-Match", "*")
	plan := planOf(rel.ID, "site:north")
	make1 := func() (r view.Rollout) {
		w.Helper()
		w.tells("POST rollouts", "/rollouts", plan, "rollout.create", "after").is(201, &r)
		return r
	}
	verb := func(r view.Rollout, name string) {
		w.Helper()
		w.tells("POST rollouts/{id}/"+name, "/rollouts/"+r.ID+"/"+name, view.RolloutVerb{}, "rollout."+name, "before after", whatever)
	}
	// One that waits for a greenlight, one that waits for its second wave, one that is to go
	// back, and one that takes somebody else's word.
	w.link("gate", "cam-4", func(c *cam) { c.greenlit = "operator" })
	plan.Selector = "site:gate"
	r := make1()
	verb(r, "start")
	w.eventually("it waits for a greenlight", func() bool {
		w.call("GET", "/rollouts/"+r.ID, nil).is(200, &r)
		return action(r, "confirm") == ""
	})
	verb(r, "pause")
	verb(r, "resume")
	verb(r, "confirm")
	w.ends(r.ID, view.RolloutCompleted)

	bob := by(w.token("bob", "releaser"))
	plan.Waves = []view.Wave{{Count: 1}, {}}
	for _, end := range []string{"abort", "abort-revert"} {
		cams := map[string]*cam{}
		for i := range 2 {
			id := fmt.Sprint(end, "-", i)
			cams[id] = w.link(end, id, func(c *cam) { c.greenlit = "operator" })
		}
		plan.Selector = "site:" + end
		w.tells("POST rollouts", "/rollouts", plan, "rollout.create", "after", bob).is(201, &r)
		verb(r, "approve")
		verb(r, "start")
		if end == "abort" {
			w.fails(r, cams)
			verb(r, "retry")
			verb(r, "skip-wave")
		}
		verb(r, end)
	}
}

// fails has the device go back that is on trial, and waits until the rollout has halted by it.
func (w *teller) fails(r view.Rollout, cams map[string]*cam) {
	w.Helper()
	var page view.RolloutDevices
	w.eventually("one is on trial", func() bool {
		w.call("GET", "/rollouts/"+r.ID+"/devices?phase=trial", nil).is(200, &page)
		return len(page.Devices) == 1
	})
	c := cams[page.Devices[0].ID]
	c.change(func(*control.Status) { c.end(control.OutcomeReverted) })
	w.eventually("it has halted", func() bool {
		w.call("GET", "/rollouts/"+r.ID, nil).is(200, &r)
		return r.State == view.RolloutHalted
	})
}

func (w *teller) put(key, value string) {
	w.Helper()
	if _, err := w.cfg.Store.Commit(w.Context(), nil, []store.Op{{Key: key, Value: []byte(value)}}); err != nil {
		w.Fatal(err)
	}
}

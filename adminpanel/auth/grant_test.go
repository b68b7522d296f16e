package auth_test

import (
	"slices"
	"testing"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

func in(site string) *view.Device { return &view.Device{ID: "cam-1", Site: site} }

func TestAGrantReachesItsDevicesAlone(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := p.bob(view.Grant{Role: view.RoleOperator, Selector: "site:north"}, view.Grant{Role: view.RoleViewer, Selector: "site:south"}).Caller
	for _, row := range []struct {
		action auth.Action
		device *view.Device
		want   bool
	}{
		{auth.Operate, in("north"), true},
		{auth.Operate, in("south"), false},
		{auth.Operate, in("east"), false},
		{auth.Operate, nil, false},
		{auth.LookDevice, in("north"), true},
		{auth.LookDevice, in("south"), true},
		{auth.LookDevice, in("east"), false},
		{auth.Watch, in("south"), true},
		{auth.EditDevice, in("north"), true},
		{auth.PlaceDevice, in("north"), false},
		{auth.RevokeDevice, in("north"), false},
		{auth.DriveRollout, in("north"), false},
		{auth.AddRelease, nil, false},
		{auth.LookAudit, nil, false},
		{auth.LookFleet, nil, true},
		{auth.OwnAccess, nil, true},
		{auth.ManageAccess, nil, false},
		{auth.ChangeFleet, nil, false},
		{"anything else", in("north"), false},
	} {
		if got := c.Can(row.action, row.device); got != row.want {
			t.Errorf("%s to %+v: %v", row.action, row.device, got)
		}
	}
	if scope := c.Scope(auth.LookDevice); len(scope) != 2 {
		t.Errorf("the scope of lists is %v", scope)
	}
	if scope := c.Scope(auth.AddRelease); len(scope) != 0 {
		t.Errorf("a scope for nothing is %v", scope)
	}
	devices := func(sites ...string) (list []*view.Device) {
		for _, site := range sites {
			list = append(list, in(site))
		}
		return list
	}
	every := func(a auth.Action, sites ...string) bool { return c.CanEvery(a, slices.Values(devices(sites...))) }
	if !every(auth.Confirm, "north", "north") || every(auth.Confirm, "north", "south") || every(auth.Confirm) || every(auth.DriveRollout, "north") {
		t.Error("every device is not each of them")
	}
	some := func(sites ...string) bool { return c.CanSome(auth.PauseRollout, slices.Values(devices(sites...))) }
	if !some("south", "north") || some("south") || some() {
		t.Error("some device is not one of them")
	}
	if !p.ann.Caller.CanEvery(auth.DriveRollout, slices.Values(devices())) || len(p.ann.Caller.Scope(auth.Operate)) != 1 {
		t.Error("an administrator of all cannot reach all")
	}
}

func TestAGrantThatCannotBeUnderstoodGivesNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	bob := p.bob(view.Grant{Role: view.RoleAdmin})
	for _, grants := range []string{`[{"role":"admin","selector":"site:"}]`, `[{"role":"admin","selector":"planet:mars"}]`, `[{"role":"boss"}]`, `[{}]`, `null`} {
		p.rewrite("u/bob", `"grants":[{"role":"admin"}]`, `"grants":`+grants)
		c := p.in(bob.Cookie, "bob")
		for _, rule := range auth.Rules {
			if _, reach := auth.ReachOf(rule.Action); reach > auth.Self && (c.May(rule.Action) || c.Can(rule.Action, in("north"))) {
				t.Errorf("%s gives %s", grants, rule.Action)
			}
		}
		p.rewrite("u/bob", `"grants":`+grants, `"grants":[{"role":"admin"}]`)
	}
	if c := p.in(bob.Cookie, "bob"); !c.Can(auth.ManageAccess, nil) {
		t.Error("the record was not as the test thinks")
	}
	// Halves that mean something only together: of the token, and of who made it.
	tok := p.token(bob.Caller, view.Grant{Role: view.RoleOperator, Selector: "site:south"})
	p.rewrite("t/"+tok.ID, `"site:south"`, `"\""`)
	p.rewrite("u/bob", `"grants":[{"role":"admin"}]`, `"grants":[{"role":"admin","selector":"-id:\""}]`)
	c, err := p.Authenticate(bearer(tok.Text))
	if err != nil || c.Can(auth.LookDevice, in("north")) || c.May(auth.LookDevice) {
		t.Errorf("two broken selectors give %+v, %v", c.Grants, err)
	}
}

// The matrix: every route for every role, over all devices and over one site.
func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	p := start(t)
	roles := []string{"", view.RoleViewer, view.RoleOperator, view.RoleReleaser, view.RoleAdmin}
	for i, role := range roles {
		for _, selector := range []string{"", "site:north"} {
			var grants []view.Grant
			if role != "" {
				grants = []view.Grant{{Role: role, Selector: selector}}
			}
			c := p.bob(grants...)
			for _, rule := range auth.Rules {
				least, reach := auth.ReachOf(rule.Action)
				enough := reach <= auth.Self || i > 0 && i >= slices.Index(roles, least)
				enough = enough && (selector == "" || reach != auth.Fleet)
				if got := c.Caller.May(rule.Action); got != enough {
					t.Errorf("%s as %q over %q: %v", rule.Route, role, selector, got)
				}
				foreign := enough && (selector == "" || reach < auth.Device)
				if got := c.Caller.Can(rule.Action, in("south")); got != foreign {
					t.Errorf("%s of a foreign device as %q over %q: %v", rule.Route, role, selector, got)
				}
			}
			if err := p.RemoveAccount(t.Context(), p.ann.Caller, "bob", 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRoutesAreAskedForByTheirRules(t *testing.T) {
	t.Parallel()
	p := start(t)
	bob := p.bob(view.Grant{Role: view.RoleViewer, Selector: "site:north"})
	for _, row := range []struct {
		method, path string
		want         error
	}{
		{"GET", "/api/v1/devices", nil},
		{"GET", "/api/v1/devices/cam-1", nil},
		{"POST", "/api/v1/devices/cam-1/stage", auth.ErrForbidden},
		{"POST", "/api/v1/accounts", auth.ErrForbidden},
		{"GET", "/api/v1/accounts", auth.ErrForbidden},
		{"GET", "/api/v1/audit", auth.ErrForbidden},
		{"GET", "/api/v1/nothing", auth.ErrUnknown},
		{"DELETE", "/api/v1/devices", auth.ErrUnknown},
		{"POST", "/api/v1/sessions", nil},
	} {
		if _, err := p.Authorize(request(row.method, row.path, bob.Cookie)); row.want == nil && err != nil {
			t.Errorf("%s %s: %v", row.method, row.path, err)
		} else if row.want != nil {
			expect(t, err, row.want)
		}
		_, err := p.Authorize(request(row.method, row.path))
		if rule, ok := p.RuleOf(request(row.method, row.path)); ok && rule.Action != auth.SignIn {
			expect(t, err, auth.ErrSignedOut)
		}
	}
	if c, err := p.Authorize(request("POST", "/api/v1/sessions")); err != nil || c.Kind != "" || c.From != "192.0.2.7" {
		t.Errorf("who signs in is %+v, %v", c, err)
	}
}

func TestASecondPersonApproves(t *testing.T) {
	t.Parallel()
	draft := func(devices int) view.Rollout {
		return view.Rollout{State: view.RolloutDraft, By: "ann", Total: view.Counts{Devices: devices}}
	}
	dynamic, approved, running := draft(1), draft(500), draft(500)
	dynamic.Plan.Dynamic = true
	approved.Approvals = []view.Approval{{By: "bob"}}
	running.State = view.RolloutRunning
	for name, row := range map[string]struct {
		rollout view.Rollout
		person  string
		above   int
		want    error
		needed  int
	}{
		"few devices, own":                {draft(100), "ann", 100, nil, 0},
		"one more, own":                   {draft(101), "ann", 100, auth.ErrOwnRollout, 1},
		"one more, another's":             {draft(101), "bob", 100, nil, 1},
		"no rule, own":                    {draft(100_000), "ann", 0, nil, 0},
		"one that may grow, own":          {dynamic, "ann", 100, auth.ErrOwnRollout, 1},
		"one that may grow, no rule":      {dynamic, "ann", 0, nil, 0},
		"twice by one":                    {approved, "bob", 100, auth.ErrTaken, 1},
		"one that has begun":              {running, "bob", 100, auth.ErrChanged, 1},
		"nobody":                          {draft(1), "", 100, auth.ErrForbidden, 0},
		"by the maker after another one":  {approved, "ann", 100, auth.ErrOwnRollout, 1},
		"by a third one, after the other": {approved, "cid", 100, nil, 1},
	} {
		err := auth.Approve(row.rollout, row.person, row.above)
		if row.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if row.want != nil {
			expect(t, err, row.want)
		}
		if n := auth.Approvals(row.rollout, row.above); n != row.needed {
			t.Errorf("%s: %d approvals, want %d", name, n, row.needed)
		}
	}
}

package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

var updateMatrix = flag.Bool("update-matrix", false, "write who may do what into testdata")

// Verdicts of the matrix.
const (
	letIn     = "let in"     // what became of the request then is another matter
	signedOut = "signed out" // 401
	forbidden = "forbidden"  // 403
	unseen    = "unseen"     // 404: whoever may not see a device does not learn that there is one
)

// one is a caller of the matrix. The expectation is made of what stands here, and of
// nothing that the panel says of the caller.
type one struct {
	name   string
	with   with
	grants []view.Grant // none: nobody is signed in
	token  bool
}

// north and south are the sites of the matrix's devices.
const north, south = "site:north", "site:south"

var roles = []string{view.RoleViewer, view.RoleOperator, view.RoleReleaser, view.RoleAdmin}

// covers tells whether a grant is over a site's devices; "" is over all.
func covers(g view.Grant, site string) bool { return g.Selector == "" || g.Selector == site }

func (o one) has(role, site string) bool {
	return slices.ContainsFunc(o.grants, func(g view.Grant) bool {
		return slices.Index(roles, g.Role) >= slices.Index(roles, role) && covers(g, site)
	})
}

// mayNotSee is a device that no answer to a caller may tell of; "" if there is none.
func (o one) mayNotSee() string {
	switch {
	case !o.has(view.RoleViewer, north):
		return "cam-north"
	case !o.has(view.RoleViewer, south):
		return "cam-south"
	}
	return ""
}

// anywhere tells whether a grant is for a role, over whatever devices.
func (o one) anywhere(role string) bool { return o.has(role, north) || o.has(role, south) }

// object is what a request is about.
type object struct {
	name  string
	path  string // of the route, after /api/v1
	body  any
	sites []string // of the devices that are meant; nil: those that the caller may see, or none
}

// verdict is what the table of rules says.
func verdict(rule auth.Rule, o one, about object) string {
	role, reach := auth.ReachOf(rule.Action)
	switch {
	case reach == auth.Open:
		return letIn
	case o.grants == nil:
		return signedOut
	case rule.Action == auth.OwnAccess && o.token:
		return forbidden // a stolen token must not make others that outlive it
	case reach == auth.Self:
		return letIn
	case reach == auth.Fleet && !slices.ContainsFunc(o.grants, func(g view.Grant) bool { return g.Selector == "" && (one{grants: []view.Grant{g}}).has(role, "") }):
		return forbidden
	case reach == auth.Fleet:
		return letIn
	case !o.anywhere(role):
		return forbidden
	}
	over := func(site string) bool { return o.has(role, site) }
	switch {
	case about.sites == nil || reach == auth.Any:
		return letIn
	case reach == auth.Device && !o.has(view.RoleViewer, about.sites[0]):
		return unseen
	case reach == auth.Some && slices.ContainsFunc(about.sites, over):
		return letIn
	case reach != auth.Some && !slices.ContainsFunc(about.sites, func(site string) bool { return !over(site) }):
		return letIn
	}
	return forbidden
}

// verdictOf is what an answer says.
func verdictOf(g got) string {
	var p view.Problem
	switch {
	case g.status < 400:
		return letIn
	case json.Unmarshal(g.body, &p) != nil:
		return "no problem" // and not one of the API's own answers
	}
	switch p.Code {
	case "signed-out":
		return signedOut
	case "forbidden":
		return forbidden
	case "no-device":
		return unseen
	case "no-route":
		return "no route"
	}
	return letIn
}

// TestAuthorisation asks each route of the table in the name of each kind of caller, for
// what is within the caller's grants and for what is not.
func TestAuthorisation(t *testing.T) {
	w := newWorld(t)
	m := newMatrix(w)
	seen := map[string]int{}
	for _, rule := range auth.Rules {
		for _, about := range m.objects(rule) {
			for _, caller := range m.callers {
				want := verdict(rule, caller, about)
				method, _, _ := strings.Cut(rule.Route, " ")
				g := w.call(method, about.path, about.body, header("Content-Type", typeOf(rule)), header("If-Match", ifMatch(rule)), caller.with)
				is := verdictOf(g)
				if is != want {
					t.Errorf("%s about %s, %s: %s, want %s (%d %s)", rule.Route, about.name, caller.name, is, want, g.status, g.body)
				}
				if id := caller.mayNotSee(); id != "" && strings.Contains(string(g.body), id) {
					t.Errorf("%s about %s, %s: it tells of %s: %s", rule.Route, about.name, caller.name, id, g.body)
				}
				seen[want]++
			}
		}
	}
	t.Logf("%v", seen)
	for _, v := range []string{letIn, signedOut, forbidden, unseen} {
		if seen[v] < 50 {
			t.Errorf("only %d requests are to be %s: the matrix does not try that", seen[v], v)
		}
	}
	m.changedNothing()
}

func typeOf(rule auth.Rule) string {
	if rule.Body == "" {
		return "application/json"
	}
	return rule.Body
}

// ifMatch is of no device's revision, so that nothing comes of a request that is let in.
func ifMatch(rule auth.Rule) string {
	if strings.Contains(rule.Route, "/rollouts/") {
		return "*" // a revision is looked at before the caller's grants
	}
	return `"999999999"`
}

// matrix is a panel with one device at each of two sites, and a rollout for each of them and
// for both.
type matrix struct {
	w       *world
	callers []one
	release string
	rollout map[string]string // ids by selector
	before  []string          // of the audit
}

const both = "site:north,south"

func newMatrix(w *world) *matrix {
	w.Helper()
	m := &matrix{w: w, rollout: map[string]string{}}
	v := newVendor(w.T)
	m.release = w.release(v.pack("2.0.0")).ID
	w.enrol("north", "cam-north")
	w.enrol("south", "cam-south")
	for _, selector := range []string{north, south, both} {
		r := w.rollout(planOf(m.release, selector))
		if m.rollout[selector] = r.ID; selector == both {
			w.verb(r, "start", view.RolloutVerb{}).is(200, nil) // whom it is about is frozen
		}
	}
	m.addCallers()
	m.before = w.lines()
	return m
}

func (m *matrix) addCallers() {
	w := m.w
	for _, role := range roles {
		for _, selector := range []string{"", north} {
			name := strings.TrimSpace(role + " " + selector)
			account := role + "-" + strings.TrimPrefix(selector, "site:")
			m.add(name, account, view.Grant{Role: role, Selector: selector})
		}
	}
	m.add("operator of the north, who may look at all", "mixed", view.Grant{Role: view.RoleOperator, Selector: north}, view.Grant{Role: view.RoleViewer})
	m.add("viewer of the north, operator of the south", "split", view.Grant{Role: view.RoleViewer, Selector: north}, view.Grant{Role: view.RoleOperator, Selector: south})

	gone := w.login("gone", []string{"admin"})
	goneToken := w.tokenOf(gone.Caller, gone.Caller.Grants)
	disabled := true
	account := findAccount(w, "gone")
	w.call("PATCH", "/accounts/gone", view.AccountPatch{Disabled: &disabled}, rev(fmt.Sprint(account.Rev))).is(200, nil)
	left := w.login("left", []string{"admin"})
	w.call("DELETE", "/sessions/current", nil, signedIn(left.Cookie)).is(204, nil)
	short, err := w.cfg.Auth.AddToken(w.Context(), w.annWho, view.TokenRequest{Name: "short", Grants: w.annWho.Grants, Until: time.Now().Add(200 * time.Millisecond)})
	if err != nil {
		w.Fatal(err)
	}
	w.eventually("the token has expired", func() bool { return w.call("GET", "/me", nil, by(short.Text)).status == http.StatusUnauthorized })
	m.callers = append(m.callers,
		one{name: "nobody", with: nobody},
		one{name: "a forged token", with: by("slpt_AAAAAAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAA")},
		one{name: "a forged session", with: signedIn(&http.Cookie{Name: left.Cookie.Name, Value: strings.Repeat("A", len(left.Cookie.Value))})},
		one{name: "a token that has expired", with: by(short.Text)},
		one{name: "the session of a disabled account", with: signedIn(gone.Cookie)},
		one{name: "the token of a disabled account", with: by(goneToken)},
		one{name: "a session that was ended", with: signedIn(left.Cookie)},
	)
}

func findAccount(w *world, name string) view.Account {
	w.Helper()
	var all view.Accounts
	w.call("GET", "/accounts", nil).is(200, &all)
	i := slices.IndexFunc(all.Accounts, func(a view.Account) bool { return a.Name == name })
	if i < 0 {
		w.Fatal("there is no account " + name)
	}
	return all.Accounts[i]
}

// add has an account call by a session and by a token.
func (m *matrix) add(name, account string, grants ...view.Grant) {
	m.w.Helper()
	var texts []string
	for _, g := range grants {
		texts = append(texts, g.Role+" "+g.Selector)
	}
	s := m.w.login(account, texts)
	m.callers = append(m.callers,
		one{name: name, with: signedIn(s.Cookie), grants: grants},
		one{name: name + " by a token", with: by(m.w.tokenOf(s.Caller, grants)), grants: grants, token: true},
	)
}

// objects are what a route is tried with. Requests that are let in bring about nothing:
// they lack something, or name what there is not.
func (m *matrix) objects(rule auth.Rule) []object {
	method, pattern, _ := strings.Cut(rule.Route, " ")
	path := strings.TrimPrefix(pattern, "/api/v1")
	var body any
	if method != http.MethodGet && method != http.MethodDelete {
		body = "{}"
	}
	switch {
	case strings.HasPrefix(path, "/devices/{id}"):
		if strings.HasSuffix(path, "/stage") || strings.HasSuffix(path, "/upgrade") {
			body = view.StageRequest{Release: strings.Repeat("0", 32)}
		}
		fill := func(id string) string {
			return strings.NewReplacer("{id}", id, "{stream}", "main", "{session}", "s1").Replace(path)
		}
		return []object{
			{"a device of the north", fill("cam-north"), body, []string{north}},
			{"a device of the south", fill("cam-south"), body, []string{south}},
		}
	case strings.HasPrefix(path, "/rollouts/{id}"):
		if body != nil {
			body = view.RolloutVerb{Expect: new(-1000)} // what nobody means
		}
		var all []object
		for selector, sites := range wholeSites {
			if rule.Action == auth.LookDevice {
				sites = nil // those of its devices are listed that the caller may see
			}
			all = append(all, object{"a rollout to " + selector, strings.Replace(path, "{id}", m.rollout[selector], 1), body, sites})
		}
		return all
	case rule.Action == auth.PlanRollout, rule.Action == auth.OrderRelease:
		var all []object
		for selector, sites := range wholeSites {
			body = planOf(strings.Repeat("0", 32), selector)
			if rule.Action == auth.OrderRelease {
				body = view.OrderRequest{Selector: selector, Until: time.Now().Add(-time.Hour)}
			}
			all = append(all, object{selector, strings.Replace(path, "{id}", m.release, 1), body, sites})
		}
		return all
	case path == "/events":
		return []object{{"no topic", path + "?topics=none", nil, nil}} // else it would not end
	case path == "/at":
		return []object{{"a version", path + "?version=1.0", nil, nil}}
	}
	return []object{{"what there is not", strings.Replace(path, "{id}", strings.Repeat("0", 32), 1), body, nil}}
}

var wholeSites = map[string][]string{north: {north}, south: {south}, both: {north, south}}

// changedNothing looks whether something came of all the requests.
func (m *matrix) changedNothing() {
	m.w.Helper()
	var devices view.Devices
	m.w.call("GET", "/devices", nil).is(200, &devices)
	if devices.Total != 2 {
		m.w.Errorf("there are %d devices by now", devices.Total)
	}
	for selector, id := range m.rollout {
		var r view.Rollout
		if m.w.call("GET", "/rollouts/"+id, nil).is(200, &r); r.State != map[bool]string{true: view.RolloutRunning, false: view.RolloutApproved}[selector == both] {
			m.w.Errorf("the rollout to %s is %s by now", selector, r.State)
		}
	}
}

// TestWhoMayDoWhat holds the table of rules against what is written down for people.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	reaches := map[auth.Reach]string{
		auth.Open: "anybody", auth.Self: "who is signed in", auth.Any: "over any devices", auth.Device: "over the device", auth.Some: "over one of the devices",
		auth.Every: "over all devices that are meant", auth.Fleet: "over the whole fleet",
	}
	var text strings.Builder
	for _, rule := range auth.Rules {
		role, reach := auth.ReachOf(rule.Action)
		fmt.Fprintf(&text, "%-62s %-18s %s\n", rule.Route, rule.Action, strings.TrimSpace(role+" "+reaches[reach]))
	}
	name := filepath.Join("testdata", "authorisation.txt")
	if *updateMatrix {
		if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the rules are other ones than %s says; if that is meant, run the test with -update-matrix\n%s", name, text.String())
	}
}

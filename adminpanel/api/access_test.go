package api_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

// The first account is made by the token that the panel prints, and only once.
func TestSetup(t *testing.T) {
	w := newWorld(t, takesDevices(t))
	var s view.Setup
	if w.call("GET", "/setup", nil, nobody).is(200, &s); !s.Admin || s.Trust || s.Done || s.Device {
		t.Errorf("a stranger is told %+v", s)
	}
	first := view.SetupRequest{Token: "guessed", Name: "eve", Password: annPassword}
	w.call("POST", "/setup", first, nobody).fails(401, "wrong-login")
	w.call("POST", "/enrolments", view.EnrolmentRequest{Uses: 1, Until: time.Now().Add(time.Hour)}).is(201, nil)
	if w.call("GET", "/setup", nil).is(200, &s); !s.Enrolment || s.Device {
		t.Errorf("with a token it is %+v", s)
	}
	w.enrol("", "cam-1")
	w.eventually("the device is there", func() bool {
		w.call("GET", "/setup", nil).is(200, &s)
		return s.Device && !s.Done && !s.Release
	})
}

// A browser signs in, works with its cookie, changes its password and signs out.
func TestSessions(t *testing.T) {
	w := newWorld(t)
	w.person("bob", "operator site:north")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	home, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	kept := func(r *http.Request) {
		r.Header.Del("Authorization")
		for _, c := range jar.Cookies(home) {
			r.AddCookie(c)
		}
	}
	take := func(g got) { jar.SetCookies(home, (&http.Response{Header: g.header}).Cookies()) }
	login := view.Login{Name: "bob", Password: annPassword}
	var me view.Me
	take(w.call("POST", "/sessions", login, nobody).is(201, &me))
	if me.Name != "bob" || me.Kind != auth.KindUser {
		t.Errorf("signed in as %+v", me)
	}
	var list view.Sessions
	w.call("GET", "/sessions", nil, kept).is(200, &list)
	if len(list.Sessions) != 2 || !slices.ContainsFunc(list.Sessions, func(s view.Session) bool { return s.Current }) {
		t.Errorf("his sessions are %+v", list)
	}
	w.call("PUT", "/me/password", view.PasswordChange{Old: "wrong", New: "another good password"}, kept).fails(401, "wrong-login")
	take(w.call("PUT", "/me/password", view.PasswordChange{Old: annPassword, New: "another good password"}, kept).is(200, nil))
	if w.call("GET", "/sessions", nil, kept).is(200, &list); len(list.Sessions) != 1 {
		t.Errorf("another password leaves %+v", list)
	}
	w.call("POST", "/sessions", login, nobody).fails(401, "wrong-login")
	take(w.call("DELETE", "/sessions/current", nil, kept).is(204, nil))
	w.call("GET", "/me", nil, kept).fails(401, "signed-out")
	if len(jar.Cookies(home)) != 0 {
		t.Errorf("the browser keeps %v", jar.Cookies(home))
	}
	if got, want := w.lines()[:3], []string{"session.end", "account.password", "session.open"}; !slices.Equal(got, want) {
		t.Errorf("the audit has %q, want %q", got, want)
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	req := view.AccountRequest{Name: "carl", Password: annPassword, Grants: []view.Grant{{Role: view.RoleViewer}}}
	var carl view.Account
	tag := w.call("POST", "/accounts", req).is(201, &carl).header.Get("ETag")
	if carl.Rev == 0 || tag != `"`+strconv.FormatInt(carl.Rev, 10)+`"` {
		t.Errorf("made %+v with the tag %s", carl, tag)
	}
	w.call("POST", "/accounts", req).fails(409, "taken")
	w.call("PATCH", "/accounts/carl", view.AccountPatch{Disabled: new(true)}).fails(428, "no-revision")
	w.call("PATCH", "/accounts/carl", view.AccountPatch{Disabled: new(true)}, rev("1")).fails(412, "changed")
	w.call("PATCH", "/accounts/carl", view.AccountPatch{Disabled: new(true)}, header("If-Match", tag)).is(200, &carl)
	w.call("PATCH", "/accounts/nobody", view.AccountPatch{}, header("If-Match", "*")).fails(404, "not-found")
	w.call("POST", "/sessions", view.Login{Name: "carl", Password: annPassword}, nobody).fails(401, "wrong-login")
	var list view.Accounts
	if w.call("GET", "/accounts", nil).is(200, &list); len(list.Accounts) != 2 || !list.Accounts[1].Disabled {
		t.Errorf("the accounts are %+v", list)
	}
	w.call("GET", "/accounts", nil, by(w.token("dora", "admin site:north"))).fails(403, "forbidden")
	w.call("DELETE", "/accounts/ann", nil, header("If-Match", "*")).fails(409, "last-admin")
	w.call("DELETE", "/accounts/carl", nil, rev(strconv.FormatInt(carl.Rev, 10))).is(204, nil)
	w.call("DELETE", "/accounts/carl", nil, header("If-Match", "*")).fails(404, "not-found")
	if lines := w.lines(); lines[0] != "account.remove" {
		t.Errorf("the audit has %q", lines)
	}
}

// A token cannot make others, nor do what its maker may not.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	north := w.person("bob", "operator site:north")
	want := view.TokenRequest{Name: "script", Grants: []view.Grant{{Role: view.RoleViewer, Selector: "site:north"}}, Until: time.Now().Add(time.Hour)}
	var made view.Token
	w.call("POST", "/tokens", want, signedIn(north)).is(201, &made)
	var me view.Me
	if w.call("GET", "/me", nil, by(made.Text)).is(200, &me); me.Kind != auth.KindToken {
		t.Errorf("it is %+v", me)
	}
	w.call("POST", "/tokens", want, by(made.Text)).fails(403, "forbidden")
	over := want
	over.Grants = []view.Grant{{Role: view.RoleAdmin}}
	w.call("POST", "/tokens", over, signedIn(north)).fails(403, "forbidden")
	late := want
	late.Until = time.Now().AddDate(50, 0, 0)
	w.call("POST", "/tokens", late, signedIn(north)).fails(422, "invalid")
	var list view.Tokens
	if w.call("GET", "/tokens", nil, signedIn(north)).is(200, &list); len(list.Tokens) != 1 || list.Tokens[0].Text != "" {
		t.Errorf("his tokens are %+v", list)
	}
	w.call("DELETE", "/tokens/"+made.ID, nil, signedIn(w.person("eve", "admin site:south"))).fails(404, "not-found")
	w.call("DELETE", "/tokens/"+made.ID, nil, signedIn(north)).is(204, nil)
	w.call("GET", "/me", nil, by(made.Text)).fails(401, "signed-out")
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	var s view.Settings
	if tag := w.call("GET", "/settings", nil).is(200, &s).header.Get("ETag"); tag != `"0"` || s.Rev != 0 || s.Zone != "UTC" {
		t.Errorf("before anything they are %+v, %s", s, tag)
	}
	s.ApproveAbove = 7
	w.call("PUT", "/settings", s).fails(428, "no-revision")
	w.call("PUT", "/settings", s, rev("0")).is(200, &s)
	if s.Rev == 0 || s.ApproveAbove != 7 {
		t.Errorf("set to %+v", s)
	}
	w.call("PUT", "/settings", s, rev("0")).fails(412, "changed")
	s.Zone = "Mars/Olympus"
	w.call("PUT", "/settings", s, header("If-Match", "*")).fails(422, "invalid")
	s.Zone = "Europe/Berlin"
	w.call("PUT", "/settings", s, header("If-Match", "*"), by(w.token("bob", "releaser"))).fails(403, "forbidden")
	w.call("PUT", "/settings", s, header("If-Match", "*")).is(200, &s)
	if lines := w.lines(); lines[0] != "settings.set" {
		t.Errorf("the audit has %q", lines)
	}
}

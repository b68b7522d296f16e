package auth_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/view"
)

func TestSetupIsForOne(t *testing.T) {
	t.Parallel()
	s := bolttest.Open(t)
	a := newAuth(t, s, auth.Config{Hosts: []string{"panel.example"}, Effort: quick})
	old, err := a.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.SetupToken(t.Context()) // the panel was started again
	if err != nil || token == old {
		t.Fatal("the same token twice", err)
	}
	try := func(token, name, password string) error {
		_, err := a.Setup(request("POST", "/api/v1/setup"), view.SetupRequest{Token: token, Name: name, Password: password})
		return err
	}
	expect(t, try(old, "eve", annPassword), auth.ErrWrong)
	expect(t, try("", "eve", annPassword), auth.ErrWrong)
	expect(t, try(token, "Eve", annPassword), auth.ErrInvalid)
	expect(t, try(token, "eve", "short"), auth.ErrInvalid)
	var work sync.WaitGroup
	var made atomic.Int32
	for _, name := range []string{"ann", "bob", "cid", "dan"} {
		work.Go(func() {
			if try(token, name, annPassword) == nil {
				made.Add(1)
			}
		})
	}
	work.Wait()
	if made.Load() != 1 {
		t.Errorf("%d first accounts, want 1", made.Load())
	}
	expect(t, try(token, "eve", annPassword), auth.ErrWrong)
	again, err := a.SetupToken(t.Context())
	if done, err2 := a.IsSetUp(t.Context()); err != nil || err2 != nil || again != "" || !done {
		t.Errorf("another setup token %q, %v, %v, %v", again, done, err, err2)
	}
}

func TestPasswordsAreJudgedByLength(t *testing.T) {
	t.Parallel()
	p := start(t)
	for password, good := range map[string]bool{
		"eleven char": false, "twelve chars": true, strings.Repeat("ü", 12): true, strings.Repeat("ü", 11): false,
		strings.Repeat("ü", 200): true, strings.Repeat("u", 201): false, "not text \xff\xff\xff": false, "": false,
	} {
		_, err := p.ChangeAccount(t.Context(), p.ann.Caller, "ann", view.AccountPatch{Password: &password}, 0)
		if good != (err == nil) {
			t.Errorf("%q: %v", password, err)
		}
		if good {
			p.login("ann", password)
		} else {
			expect(t, err, auth.ErrInvalid)
		}
	}
}

// Names that there are and names that there are not get the same answer.
func TestRefusedLoginsAreAlike(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.bob(view.Grant{Role: view.RoleAdmin})
	yes := true
	if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Disabled: &yes}, 0); err != nil {
		t.Fatal(err)
	}
	var said string
	for _, try := range [][2]string{
		{"ann", "wrong password"}, {"nobody", annPassword}, {"bob", bobPassword}, {"bob", annPassword}, {"", ""},
		{"../s/x", annPassword}, {"ANN", annPassword}, {"ann", annPassword + " "}, {"ann", strings.Repeat("x", 5000)}, {strings.Repeat("n", 9999), annPassword},
	} {
		_, err := p.Login(request("POST", "/api/v1/sessions"), try[0], try[1])
		expect(t, err, auth.ErrWrong)
		if err != nil && said == "" {
			said = err.Error()
		}
		if err == nil || err.Error() != said {
			t.Errorf("%.20q is told %v", try, err)
		}
	}
}

func TestDisabledAndDeletedAccounts(t *testing.T) {
	t.Parallel()
	p := start(t)
	bob := p.bob(view.Grant{Role: view.RoleViewer})
	yes, no := true, false
	for _, disabled := range []*bool{&yes, &no} {
		if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Disabled: disabled}, 0); err != nil {
			t.Fatal(err)
		}
		p.out(bob.Cookie) // also when bob may come back: by another login
	}
	second := p.login("bob", bobPassword)
	if err := p.RemoveAccount(t.Context(), p.ann.Caller, "bob", 0); err != nil {
		t.Fatal(err)
	}
	p.out(second.Cookie)
	third := p.bob(view.Grant{Role: view.RoleAdmin})
	p.out(second.Cookie) // another bob
	p.in(third.Cookie, "bob")
	expect(t, p.RemoveAccount(t.Context(), p.ann.Caller, "nobody", 0), auth.ErrUnknown)
}

func TestAccountsAreChangedByAdministratorsAlone(t *testing.T) {
	t.Parallel()
	p := start(t)
	callers := []auth.Caller{{}} // of whom nothing is known
	for _, g := range []view.Grant{{Role: view.RoleViewer}, {Role: view.RoleOperator}, {Role: view.RoleReleaser}, {Role: view.RoleAdmin, Selector: "site:north"}} {
		req := view.AccountRequest{Name: g.Role, Password: bobPassword, Grants: []view.Grant{g}}
		if _, err := p.AddAccount(t.Context(), p.ann.Caller, req); err != nil {
			t.Fatal(err)
		}
		callers = append(callers, p.login(g.Role, bobPassword).Caller)
	}
	for _, c := range callers {
		_, err := p.Accounts(t.Context(), c)
		expect(t, err, auth.ErrForbidden)
		_, err = p.AddAccount(t.Context(), c, view.AccountRequest{Name: "eve", Password: bobPassword})
		expect(t, err, auth.ErrForbidden)
		_, err = p.ChangeAccount(t.Context(), c, "ann", view.AccountPatch{}, 0)
		expect(t, err, auth.ErrForbidden)
		expect(t, p.RemoveAccount(t.Context(), c, "ann", 0), auth.ErrForbidden)
	}
	list, err := p.Accounts(t.Context(), p.ann.Caller)
	if err != nil || len(list) != 5 || list[1].Name != "ann" || list[1].LastSeen.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAccountsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.bob(view.Grant{Role: view.RoleViewer})
	req := view.AccountRequest{Name: "bob", Password: annPassword, Grants: []view.Grant{{Role: view.RoleAdmin}}}
	_, err := p.AddAccount(t.Context(), p.ann.Caller, req)
	expect(t, err, auth.ErrTaken)
	list, err := p.Accounts(t.Context(), p.ann.Caller)
	if err != nil {
		t.Fatal(err)
	}
	grants := []view.Grant{{Role: view.RoleOperator, Selector: "  site:north "}}
	changed, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Grants: &grants}, list[1].Rev)
	if err != nil || changed.Grants[0].Selector != "site:north" || changed.Rev <= list[1].Rev {
		t.Errorf("%+v, %v", changed, err)
	}
	_, err = p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Grants: &grants}, list[1].Rev)
	expect(t, err, auth.ErrChanged)
	expect(t, p.RemoveAccount(t.Context(), p.ann.Caller, "bob", list[1].Rev), auth.ErrChanged)
	for _, bad := range [][]view.Grant{{{Role: "boss"}}, {{}}, {{Role: view.RoleViewer, Selector: "site:"}}, make([]view.Grant, 33)} {
		_, err = p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Grants: &bad}, 0)
		expect(t, err, auth.ErrInvalid)
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	p := start(t)
	yes, none := true, []view.Grant{}
	north := []view.Grant{{Role: view.RoleAdmin, Selector: "site:north"}}
	locked := func() {
		t.Helper()
		for _, patch := range []view.AccountPatch{{Disabled: &yes}, {Grants: &none}, {Grants: &north}} {
			_, err := p.ChangeAccount(t.Context(), p.ann.Caller, "ann", patch, 0)
			expect(t, err, auth.ErrLastAdmin)
		}
		expect(t, p.RemoveAccount(t.Context(), p.ann.Caller, "ann", 0), auth.ErrLastAdmin)
	}
	locked()
	p.bob(north...)
	locked()
	// Two who remove each other: one of them stays.
	all := []view.Grant{{Role: view.RoleAdmin}}
	for range 10 {
		console, err := p.Console(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		no := false
		for _, name := range []string{"ann", "bob"} {
			if _, err := p.ChangeAccount(t.Context(), console, name, view.AccountPatch{Grants: &all, Disabled: &no}, 0); err != nil {
				t.Fatal(err)
			}
		}
		var work sync.WaitGroup
		var gone atomic.Int32
		for _, name := range []string{"ann", "bob"} {
			work.Go(func() {
				if _, err := p.ChangeAccount(t.Context(), console, name, view.AccountPatch{Disabled: &yes}, 0); err == nil {
					gone.Add(1)
				}
			})
		}
		work.Wait()
		if gone.Load() != 1 {
			t.Fatalf("%d of two administrators are gone, want 1", gone.Load())
		}
	}
}

func TestTheConsoleActsForThePanel(t *testing.T) {
	t.Parallel()
	p := start(t)
	c, err := p.Console(t.Context(), "")
	if err != nil || c.Actor() != "panel" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := p.ChangeAccount(t.Context(), c, "ann", view.AccountPatch{Password: new(bobPassword)}, 0); err != nil {
		t.Fatal(err)
	}
	p.out(p.ann.Cookie)
	_, err = p.AddToken(t.Context(), c, view.TokenRequest{Name: "x", Grants: []view.Grant{{Role: view.RoleViewer}}, Until: p.clock.Now().Add(time.Hour)})
	expect(t, err, auth.ErrForbidden) // nobody answers for it
	_, err = p.Console(t.Context(), "nobody")
	expect(t, err, auth.ErrUnknown)
	ann, err := p.Console(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddToken(t.Context(), ann, view.TokenRequest{Name: "x", Grants: []view.Grant{{Role: view.RoleViewer}}, Until: p.clock.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
}

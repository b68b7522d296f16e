package auth_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

func (p *panel) token(c auth.Caller, grants ...view.Grant) view.Token {
	p.t.Helper()
	tok, err := p.AddToken(p.t.Context(), c, view.TokenRequest{Name: "deploy", Grants: grants, Until: p.clock.Now().Add(24 * time.Hour)})
	if err != nil {
		p.t.Fatal(err)
	}
	return tok
}

func TestATokenShowsWhoMadeIt(t *testing.T) {
	t.Parallel()
	p := start(t)
	tok := p.token(p.ann.Caller, view.Grant{Role: view.RoleOperator, Selector: "site:north"})
	parts := strings.Split(tok.Text, "_")
	if len(parts) != 3 || parts[0] != "slpt" || parts[1] != tok.ID || len(parts[2]) != 52 {
		t.Fatalf("the token is %s", tok.Text)
	}
	p.holdsNot(parts[2])
	c, err := p.Authenticate(bearer(tok.Text))
	if err != nil || c.Kind != auth.KindToken || c.Person() != "ann" || c.Actor() != "token "+tok.ID || c.Me().Name != tok.ID {
		t.Errorf("%+v, %v", c, err)
	}
	if !c.Can(auth.Operate, in("north")) || c.Can(auth.Operate, in("south")) || c.Can(auth.ManageAccess, nil) || c.Can(auth.DriveRollout, in("north")) {
		t.Errorf("it may do something else than its grant: %+v", c.Grants)
	}
	list, err := p.Tokens(t.Context(), p.ann.Caller)
	if err != nil || len(list) != 1 || list[0].Text != "" || list[0].By != "ann" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestForgedAndExpiredTokens(t *testing.T) {
	t.Parallel()
	p := start(t)
	viewer := view.Grant{Role: view.RoleViewer}
	one, two := p.token(p.ann.Caller, viewer), p.token(p.ann.Caller, viewer)
	secret := func(tok view.Token) string { return tok.Text[strings.LastIndex(tok.Text, "_")+1:] }
	flipped := "a" + secret(one)[1:]
	if flipped == secret(one) {
		flipped = "b" + secret(one)[1:]
	}
	for name, text := range map[string]string{
		"another's secret": "slpt_" + one.ID + "_" + secret(two), "no secret": "slpt_" + one.ID + "_", "no id": "slpt__" + secret(one),
		"flipped": "slpt_" + one.ID + "_" + flipped, "long": one.Text + "a", "cut": one.Text[:len(one.Text)-1], "empty": "",
		"unmarked": one.Text[5:], "upper case": strings.ToUpper(one.Text), "unknown": "slpt_" + strings.Repeat("a", 16) + "_" + secret(one),
		"a path": "slpt_../../u/ann_" + secret(one), "huge": strings.Repeat("x", 1<<16),
	} {
		if c, err := p.Authenticate(bearer(text)); err == nil || c.Kind != "" {
			t.Errorf("%s: %v", name, c)
		}
	}
	for name, header := range map[string][]string{"basic": {"Basic " + one.Text}, "bare": {one.Text}, "two": {"Bearer " + one.Text, "Bearer " + one.Text}} {
		r := request("GET", "/", p.ann.Cookie)
		r.Header["Authorization"] = header
		if _, err := p.Authenticate(r); err == nil {
			t.Errorf("a header %s was taken", name)
		}
	}
	if _, err := p.Authenticate(bearer(one.Text)); err != nil {
		t.Error(err)
	}
	other := start(t)
	_, err := other.Authenticate(bearer(one.Text))
	expect(t, err, auth.ErrSignedOut)
	p.clock.pass(24 * time.Hour)
	_, err = p.Authenticate(bearer(one.Text))
	expect(t, err, auth.ErrSignedOut)
}

func TestATokenIsNeverMoreThanItsMaker(t *testing.T) {
	t.Parallel()
	p := start(t)
	north := view.Grant{Role: view.RoleReleaser, Selector: "site:north"}
	bob := p.bob(north, view.Grant{Role: view.RoleViewer})
	until := p.clock.Now().Add(time.Hour)
	for _, g := range []view.Grant{{Role: view.RoleAdmin, Selector: "site:north"}, {Role: view.RoleReleaser}, {Role: view.RoleOperator, Selector: "site:nort"},
		{Role: view.RoleOperator, Selector: "site:north,south"}, {Role: view.RoleOperator, Selector: "site:south"}} {
		_, err := p.AddToken(t.Context(), bob.Caller, view.TokenRequest{Name: "x", Grants: []view.Grant{g}, Until: until})
		expect(t, err, auth.ErrForbidden)
	}
	tok := p.token(bob.Caller, view.Grant{Role: view.RoleReleaser, Selector: "site:north tag:lab"}, view.Grant{Role: view.RoleViewer, Selector: "site:south"})
	can := func(want bool, a auth.Action, d *view.Device) {
		t.Helper()
		c, err := p.Authenticate(bearer(tok.Text))
		if err != nil || c.Can(a, d) != want {
			t.Errorf("%s to %s: %v, %v", a, d.Site, !want, err)
		}
	}
	lab := &view.Device{ID: "cam-9", Site: "north", Tags: []string{"lab"}}
	can(true, auth.DriveRollout, lab)
	can(false, auth.DriveRollout, in("north"))
	can(true, auth.LookDevice, in("south"))
	can(false, auth.LookDevice, in("north"))
	// bob gets less, and so does the token.
	grants := []view.Grant{{Role: view.RoleOperator, Selector: "site:north id:cam-9"}}
	if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Grants: &grants}, 0); err != nil {
		t.Fatal(err)
	}
	can(false, auth.DriveRollout, lab)
	can(true, auth.Operate, lab)
	can(false, auth.LookDevice, in("south"))
	can(false, auth.Operate, &view.Device{ID: "cam-8", Site: "north", Tags: []string{"lab"}})
	yes := true
	if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Disabled: &yes}, 0); err != nil {
		t.Fatal(err)
	}
	_, err := p.Authenticate(bearer(tok.Text))
	expect(t, err, auth.ErrSignedOut)
	if err := p.RemoveAccount(t.Context(), p.ann.Caller, "bob", 0); err != nil {
		t.Fatal(err)
	}
	p.bob(view.Grant{Role: view.RoleAdmin}) // another bob
	_, err = p.Authenticate(bearer(tok.Text))
	expect(t, err, auth.ErrSignedOut)
}

func TestATokenMakesNoOther(t *testing.T) {
	t.Parallel()
	p := start(t)
	tok := p.token(p.ann.Caller, view.Grant{Role: view.RoleAdmin})
	c, err := p.Authenticate(bearer(tok.Text))
	if err != nil || !c.Can(auth.ManageAccess, nil) {
		t.Fatal(err)
	}
	_, err = p.AddToken(t.Context(), c, view.TokenRequest{Name: "x", Grants: []view.Grant{{Role: view.RoleAdmin}}, Until: p.clock.Now().Add(time.Hour)})
	expect(t, err, auth.ErrForbidden)
	_, err = p.ChangePassword(request("PUT", "/"), c, view.PasswordChange{Old: annPassword, New: bobPassword})
	expect(t, err, auth.ErrForbidden)
	expect(t, p.EndSession(t.Context(), c, p.ann.Caller.ID), auth.ErrForbidden)
	r := request("POST", "/api/v1/tokens")
	r.Header.Set("Authorization", "Bearer "+tok.Text)
	_, err = p.Authorize(r)
	expect(t, err, auth.ErrForbidden)
}

func TestTokensHaveANameAGrantAndAnEnd(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.MaxToken = 48 * time.Hour })
	now := p.clock.Now()
	good := view.TokenRequest{Name: "deploy", Grants: []view.Grant{{Role: view.RoleViewer}}, Until: now.Add(48 * time.Hour)}
	for name, spoil := range map[string]func(*view.TokenRequest){
		"no name": func(r *view.TokenRequest) { r.Name = " " }, "a long name": func(r *view.TokenRequest) { r.Name = strings.Repeat("n", 81) },
		"no grant": func(r *view.TokenRequest) { r.Grants = nil }, "no end": func(r *view.TokenRequest) { r.Until = time.Time{} },
		"ended": func(r *view.TokenRequest) { r.Until = now }, "too long": func(r *view.TokenRequest) { r.Until = now.Add(49 * time.Hour) },
		"bad selector": func(r *view.TokenRequest) { r.Grants = []view.Grant{{Role: view.RoleViewer, Selector: `site:"x`}} },
	} {
		req := good
		spoil(&req)
		if _, err := p.AddToken(t.Context(), p.ann.Caller, req); err == nil {
			t.Errorf("a token was made with %s", name)
		}
	}
	for range 100 {
		if _, err := p.AddToken(t.Context(), p.ann.Caller, good); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.AddToken(t.Context(), p.ann.Caller, good)
	expect(t, err, auth.ErrInvalid)
}

func TestATokensUseIsWrittenHourly(t *testing.T) {
	t.Parallel()
	p := start(t)
	tok := p.token(p.ann.Caller, view.Grant{Role: view.RoleViewer})
	rev := func() int64 {
		item, err := p.store.Get(t.Context(), "t/"+tok.ID)
		if err != nil {
			t.Fatal(err)
		}
		return item.Rev
	}
	use := func() {
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				if _, err := p.Authenticate(bearer(tok.Text)); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
	}
	made := rev()
	use()
	first := rev()
	p.clock.pass(59 * time.Minute)
	use()
	if rev() != first || first == made {
		t.Errorf("written at revisions %d, %d, %d", made, first, rev())
	}
	p.clock.pass(time.Minute)
	use()
	if list, err := p.Tokens(t.Context(), p.ann.Caller); err != nil || rev() == first || !list[0].LastUsed.Equal(p.clock.Now()) {
		t.Errorf("an hour later: %+v, %v", list, err)
	}
}

func TestTokensAreRemovedByTheirOwnersAndAdministrators(t *testing.T) {
	t.Parallel()
	p := start(t)
	bob := p.bob(view.Grant{Role: view.RoleViewer})
	viewer := view.Grant{Role: view.RoleViewer}
	anns, bobs := p.token(p.ann.Caller, viewer), p.token(bob.Caller, viewer)
	expect(t, p.RemoveToken(t.Context(), bob.Caller, anns.ID), auth.ErrUnknown)
	expect(t, p.RemoveToken(t.Context(), bob.Caller, "../u/ann"), auth.ErrUnknown)
	if list, err := p.Tokens(t.Context(), bob.Caller); err != nil || len(list) != 1 {
		t.Errorf("bob sees %+v, %v", list, err)
	}
	c, err := p.Authenticate(bearer(bobs.Text))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.RemoveToken(t.Context(), p.ann.Caller, bobs.ID); err != nil {
		t.Fatal(err)
	}
	_, err = p.Authenticate(bearer(bobs.Text))
	expect(t, err, auth.ErrSignedOut)
	_, err = p.Renew(t.Context(), c)
	expect(t, err, auth.ErrSignedOut)
	if p.audited("token.add") != 2 || p.audited("token.remove") != 1 {
		t.Error("the audit misses something")
	}
}

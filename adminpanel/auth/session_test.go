package auth_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

func TestALoginGivesASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	p := start(t)
	first := p.login("ann", annPassword)
	c := first.Cookie
	if c.Name != "__Host-slipstream" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %s", c)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(c.Value); err != nil || len(raw) != 32 {
		t.Errorf("the id has %d bytes, %v", len(raw), err)
	}
	p.holdsNot(c.Value, annPassword)
	who := p.in(c, "ann")
	if who.Actor() != "user ann" || who.From != "192.0.2.7" || !who.Can(auth.ManageAccess, nil) {
		t.Errorf("the caller is %+v", who)
	}
	// A login rotates: what came with it is over.
	second := p.login("ann", annPassword, c)
	if second.Cookie.Value == c.Value {
		t.Error("a session was kept over a login")
	}
	p.out(c)
	p.in(second.Cookie, "ann")
	p.in(p.ann.Cookie, "ann")
	if n := p.audited("session.open"); n != 3 {
		t.Errorf("%d logins in the audit, want 3", n)
	}
}

func TestAnIdOfSomebodyElsesChoiceIsNotTaken(t *testing.T) {
	t.Parallel()
	p := start(t)
	fixed := &http.Cookie{Name: "__Host-slipstream", Value: base64.RawURLEncoding.EncodeToString(make([]byte, 32))}
	s := p.login("ann", annPassword, fixed)
	if s.Cookie.Value == fixed.Value {
		t.Error("the login took the id that it came with")
	}
	p.out(fixed)
}

func TestForgedAndForeignCookies(t *testing.T) {
	t.Parallel()
	p := start(t)
	good := p.ann.Cookie
	other := start(t).ann.Cookie
	last := "A"
	if strings.HasSuffix(good.Value, "A") {
		last = "E"
	}
	for name, c := range map[string]*http.Cookie{
		"of another panel":         other,
		"with another end":         {Name: good.Name, Value: good.Value[:len(good.Value)-1] + last},
		"cut":                      {Name: good.Name, Value: good.Value[:20]},
		"empty":                    {Name: good.Name, Value: ""},
		"long":                     {Name: good.Name, Value: strings.Repeat("A", 4000)},
		"a path":                   {Name: good.Name, Value: "../u/ann"},
		"the name without TLS":     {Name: "slipstream", Value: good.Value},
		"the stored hash":          {Name: good.Name, Value: p.ann.Caller.ID},
		"a hash as long as an id":  {Name: good.Name, Value: p.ann.Caller.ID[:43]},
		"padded":                   {Name: good.Name, Value: good.Value + "="},
		"of another name's prefix": {Name: good.Name + "x", Value: good.Value},
	} {
		if _, err := p.by(c); err == nil {
			t.Errorf("a cookie %s was taken", name)
		}
	}
	if _, err := p.Authenticate(request("GET", "/", good, other)); err == nil {
		t.Error("two cookies were taken: one of them is not ours")
	}
	r := request("GET", "/", good)
	r.Header.Set("Authorization", "Bearer slpt_nonsense")
	_, err := p.Authenticate(r)
	expect(t, err, auth.ErrSignedOut) // and not ann by her cookie
	p.in(good, "ann")
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) {
		c.Idle, c.Longest = func() time.Duration { return time.Hour }, 5*time.Hour
	})
	idle, used := p.login("ann", annPassword).Cookie, p.login("ann", annPassword).Cookie
	for range 5 {
		p.in(used, "ann")
		p.clock.pass(59 * time.Minute)
	}
	p.out(idle)
	p.in(used, "ann")
	p.clock.pass(5 * time.Minute)
	p.out(used) // its longest time is over, although it was used
	if n := p.keys("s/"); n != 3 {
		t.Fatalf("%d sessions in the store, want 3", n)
	}
	fresh := p.login("ann", annPassword).Cookie
	gone, err := p.Sweep(t.Context(), store.Cond{Key: "lead/sweep"})
	if err != nil || gone != 3 || p.keys("s/") != 1 {
		t.Errorf("swept %d, %v; %d are left, want 1", gone, err, p.keys("s/"))
	}
	p.in(fresh, "ann")
	// Who does not lead any more sweeps nothing.
	p.clock.pass(2 * time.Hour)
	if _, err := p.Sweep(t.Context(), store.Cond{Key: "lead/sweep", Rev: 1}); err == nil || p.keys("s/") != 1 {
		t.Errorf("somebody who does not lead has swept: %v", err)
	}
}

func TestASweepLeavesSessionsThatAreUsedMeanwhile(t *testing.T) {
	t.Parallel()
	p := start(t)
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := p.Sweep(t.Context(), store.Cond{Key: "lead/sweep"}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 20 {
		p.clock.pass(11 * time.Hour)
		p.in(p.ann.Cookie, "ann")
	}
	close(stop)
	work.Wait()
	p.in(p.ann.Cookie, "ann")
}

func TestAnotherPasswordEndsTheOtherSessions(t *testing.T) {
	t.Parallel()
	p := start(t)
	mine, stolen := p.login("ann", annPassword), p.login("ann", annPassword)
	r := func() *http.Request { return request("PUT", "/api/v1/me/password", mine.Cookie) }
	_, err := p.ChangePassword(r(), mine.Caller, view.PasswordChange{Old: "not the password", New: "quite another one"})
	expect(t, err, auth.ErrWrong)
	_, err = p.ChangePassword(r(), mine.Caller, view.PasswordChange{Old: annPassword, New: "short"})
	expect(t, err, auth.ErrInvalid)
	p.in(stolen.Cookie, "ann")
	now, err := p.ChangePassword(r(), mine.Caller, view.PasswordChange{Old: annPassword, New: "quite another one"})
	if err != nil {
		t.Fatal(err)
	}
	p.in(now.Cookie, "ann")
	for _, c := range []*http.Cookie{stolen.Cookie, mine.Cookie, p.ann.Cookie} {
		p.out(c)
	}
	_, err = p.Renew(t.Context(), stolen.Caller)
	expect(t, err, auth.ErrSignedOut)
	_, err = p.Login(request("POST", "/"), "ann", annPassword)
	expect(t, err, auth.ErrWrong)
	p.login("ann", "quite another one")
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	p := start(t)
	bob := p.bob(view.Grant{Role: view.RoleViewer})
	list, err := p.Sessions(t.Context(), bob.Caller)
	if err != nil || len(list) != 1 || list[0].Name != "bob" || !list[0].Current {
		t.Errorf("bob sees %+v, %v", list, err)
	}
	all, err := p.Sessions(t.Context(), p.ann.Caller)
	if err != nil || len(all) != 2 {
		t.Errorf("ann sees %+v, %v", all, err)
	}
	expect(t, p.EndSession(t.Context(), bob.Caller, p.ann.Caller.ID), auth.ErrUnknown)
	expect(t, p.EndSession(t.Context(), bob.Caller, "../u/ann"), auth.ErrUnknown)
	p.in(p.ann.Cookie, "ann")
	if err := p.EndSession(t.Context(), p.ann.Caller, list[0].ID); err != nil {
		t.Fatal(err)
	}
	p.out(bob.Cookie)
	if err := p.EndSession(t.Context(), p.ann.Caller, "current"); err != nil {
		t.Fatal(err)
	}
	p.out(p.ann.Cookie)
	if n := p.audited("session.end"); n != 2 {
		t.Errorf("%d ends in the audit, want 2", n)
	}
}

// A login that has checked the password before it is changed must not have a session after.
func TestALoginRacesWithAnotherPassword(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.bob(view.Grant{Role: view.RoleViewer})
	password := bobPassword
	for i := range 20 {
		next := strings.Repeat("x", 12+i)
		var work sync.WaitGroup
		cookies := make([]*http.Cookie, 4)
		for n := range cookies {
			work.Go(func() {
				if s, err := p.Login(request("POST", "/"), "bob", password); err == nil {
					cookies[n] = s.Cookie
				}
			})
		}
		work.Go(func() {
			if _, err := p.ChangeAccount(t.Context(), p.ann.Caller, "bob", view.AccountPatch{Password: &next}, 0); err != nil {
				t.Error(err)
			}
		})
		work.Wait()
		for _, c := range cookies {
			if c != nil {
				p.out(c)
			}
		}
		password = next
	}
}

func TestManyLogInAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	var work sync.WaitGroup
	var in atomic.Int32
	for range 6 {
		work.Go(func() {
			if s, err := p.Login(request("POST", "/"), "ann", annPassword); err == nil {
				in.Add(1)
				p.in(s.Cookie, "ann")
			}
		})
	}
	work.Wait()
	if in.Load() != 6 {
		t.Errorf("%d of 6 logins have gone through", in.Load())
	}
}

func TestPlainPanelsHaveAnotherCookie(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Plain = true })
	c := p.ann.Cookie
	if c.Name != "slipstream" || c.Secure || !c.HttpOnly {
		t.Errorf("the cookie is %s", c)
	}
	p.in(c, "ann")
	if no := p.NoCookie(); no.MaxAge != -1 || no.Name != c.Name || no.Value != "" {
		t.Errorf("forgetting is %s", no)
	}
}

func TestRunSweepsUntilItsEnd(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.clock.pass(13 * time.Hour)
	events, err := p.store.Watch(t.Context(), "s/", 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { done <- p.Run(ctx) }()
	for e := range events {
		if e.Deleted {
			break
		}
	}
	cancel()
	if err := <-done; err == nil || p.keys("s/") != 0 {
		t.Errorf("it ended with %v and %d sessions", err, p.keys("s/"))
	}
}

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store/bolt/bolttest"
	"slipstream/adminpanel/view"
)

// slowed expects a refusal that tells when to come back.
func slowed(t *testing.T, err error) time.Duration {
	t.Helper()
	e, ok := errors.AsType[*auth.Error](err)
	if !ok || !errors.Is(err, auth.ErrLimit) || e.Status != 429 || e.After < time.Second {
		t.Fatalf("not slowed down: %v", err)
	}
	return e.After
}

func withLimits(change func(*auth.Limits)) func(*auth.Config) {
	return func(c *auth.Config) { change(&c.Limits) }
}

func TestLoginsOfOneNameAreLimited(t *testing.T) {
	t.Parallel()
	p := start(t, withLimits(func(l *auth.Limits) { l.LoginName = auth.Limit{Every: 10 * time.Second, Burst: 3} }))
	try := func(name, from string) error {
		r := request("POST", "/api/v1/sessions")
		r.RemoteAddr = from + ":1"
		_, err := p.Login(r, name, "wrong password")
		return err
	}
	for _, name := range []string{"ann", "nobody"} { // the limit does not tell either
		for i := range 3 {
			expect(t, try(name, fmt.Sprint("192.0.2.", i)), auth.ErrWrong)
		}
		if after := slowed(t, try(name, "192.0.2.99")); after != 10*time.Second {
			t.Errorf("come back after %v", after)
		}
	}
	_, err := p.Login(request("POST", "/"), "ann", annPassword)
	slowed(t, err) // or the right guess would be seen in spite of it
	p.clock.pass(10 * time.Second)
	p.login("ann", annPassword)
	slowed(t, try("ann", "192.0.2.99"))
	_, err = p.ChangePassword(request("PUT", "/"), p.ann.Caller, view.PasswordChange{Old: "wrong password", New: bobPassword})
	slowed(t, err)
}

func TestLoginsOfOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	p := start(t, withLimits(func(l *auth.Limits) { l.LoginAddress = auth.Limit{Every: 3 * time.Second, Burst: 4} }))
	n := 0
	try := func(from string) error {
		r := request("POST", "/api/v1/sessions")
		r.RemoteAddr = from
		n++
		_, err := p.Login(r, fmt.Sprint("name", n), "wrong password")
		return err
	}
	for _, network := range [][2]string{{"198.51.100.1:1", "198.51.100.1:2"}, {"[2001:db8::1]:1", "[2001:db8::ffff:1]:1"}} {
		for i := range 4 {
			expect(t, try(network[i%2]), auth.ErrWrong)
		}
		slowed(t, try(network[0]))
		slowed(t, try(network[1]))
	}
	expect(t, try("198.51.100.2:1"), auth.ErrWrong)
	expect(t, try("[2001:db8:0:1::1]:1"), auth.ErrWrong)
	p.clock.pass(3 * time.Second)
	expect(t, try("198.51.100.1:1"), auth.ErrWrong)
	slowed(t, try("198.51.100.1:1"))
}

func TestSetupIsLimited(t *testing.T) {
	t.Parallel()
	a := newAuth(t, bolttest.Open(t), auth.Config{Hosts: []string{"panel.example"}, Effort: quick})
	var err error
	for range auth.DefaultLimits.LoginAddress.Burst + 1 {
		_, err = a.Setup(request("POST", "/"), view.SetupRequest{Token: "guess", Name: "eve", Password: annPassword})
	}
	slowed(t, err)
}

func TestTokensAreLimited(t *testing.T) {
	t.Parallel()
	p := start(t, withLimits(func(l *auth.Limits) {
		l.Token = auth.Limit{Every: time.Second, Burst: 5}
		l.Stranger = auth.Limit{Every: time.Second, Burst: 3}
	}))
	viewer := view.Grant{Role: view.RoleViewer}
	one, two := p.token(p.ann.Caller, viewer), p.token(p.ann.Caller, viewer)
	use := func(tok view.Token) error { _, err := p.Authenticate(bearer(tok.Text)); return err }
	// Who knows an id cannot use up what its owner has.
	bad := view.Token{Text: one.Text[:len(one.Text)-8] + strings.Repeat("a", 8)}
	far := func() error {
		r := bearer(bad.Text)
		r.RemoteAddr = "203.0.113.9:1"
		_, err := p.Authenticate(r)
		return err
	}
	for range 3 {
		expect(t, far(), auth.ErrSignedOut)
	}
	slowed(t, far())
	beside := bearer(two.Text) // somebody else behind the same address
	beside.RemoteAddr = "203.0.113.9:2"
	if _, err := p.Authenticate(beside); err != nil {
		t.Error(err)
	}
	for range 5 {
		if err := use(one); err != nil {
			t.Fatal(err)
		}
	}
	slowed(t, use(one))
	if err := use(two); err != nil {
		t.Error(err)
	}
	p.clock.pass(time.Second)
	if err := use(one); err != nil {
		t.Error(err)
	}
	slowed(t, use(one))
}

func TestAStrongerHashIsTakenAtTheNextLogin(t *testing.T) {
	t.Parallel()
	p := start(t)
	stronger := p.cfg
	stronger.Effort = auth.Effort{Rounds: 2, MemoryKiB: 128, Threads: 2}
	a := newAuth(t, p.store, stronger)
	hash := func() string {
		item, err := p.store.Get(t.Context(), "u/ann")
		if err != nil {
			t.Fatal(err)
		}
		return string(item.Value)
	}
	if !strings.Contains(hash(), "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatalf("the record is %s", hash())
	}
	if _, err := a.Login(request("POST", "/"), "ann", "wrong password"); err == nil || !strings.Contains(hash(), "m=64,") {
		t.Errorf("a wrong password has changed the hash, or is taken: %v", err)
	}
	for range 2 {
		if _, err := a.Login(request("POST", "/"), "ann", annPassword); err != nil || !strings.Contains(hash(), "$m=128,t=2,p=2$") {
			t.Errorf("the record is %s, %v", hash(), err)
		}
	}
	p.in(p.ann.Cookie, "ann") // a new hash of the same password ends nothing
	p.login("ann", annPassword)
}

func TestADamagedHashLetsNobodyIn(t *testing.T) {
	t.Parallel()
	p := start(t)
	for from, to := range map[string]string{"m=64,": "m=4294967295,", "t=1,": "t=4000000,", "p=1$": "p=0$", "v=19": "v=16", "argon2id": "argon2i"} {
		p.rewrite("u/ann", from, to)
		if _, err := p.Login(request("POST", "/"), "ann", annPassword); err == nil {
			t.Errorf("a hash with %s was believed", to)
		}
		p.rewrite("u/ann", to, from)
	}
	p.login("ann", annPassword)
}

func TestTheUsualEffort(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Effort = auth.Effort{} })
	item, err := p.store.Get(t.Context(), "u/ann")
	if err != nil || !strings.Contains(string(item.Value), "$argon2id$v=19$m=65536,t=1,p=2$") {
		t.Errorf("%s, %v", item.Value, err)
	}
}

// Logins that wait go when their callers do, and take nothing with them.
func TestLoginsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Effort = auth.Effort{Rounds: 4, MemoryKiB: 16 << 10, Threads: 1} })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			_, err := p.Login(request("POST", "/").WithContext(gone), "ann", annPassword)
			if err == nil {
				t.Error("a login whose caller is gone went through")
			}
		})
		work.Go(func() {
			if _, err := p.Login(request("POST", "/"), "nobody", annPassword); !errors.Is(err, auth.ErrWrong) {
				t.Error(err)
			}
		})
	}
	work.Wait()
	p.login("ann", annPassword)
}

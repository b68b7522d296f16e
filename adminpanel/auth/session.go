package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	sessionPrefix = "s/"
	sessionBytes  = 32
	maxAgent      = 200

	// Browsers take a cookie of the first name over TLS only, and from this host only.
	cookieName  = "__Host-slipstream"
	cookiePlain = "slipstream"
)

// session is what the store keeps of one, under the hash of its id.
type session struct {
	Name    string    `json:"name"`
	Account string    `json:"account"` // id
	Era     string    `json:"era"`     // of the account; no two have the same one
	From    string    `json:"from"`
	Agent   string    `json:"agent,omitempty"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	Until   time.Time `json:"until"` // in any case
}

// end is when it is over if nobody uses it any more.
func (s *session) end(idle time.Duration) time.Time {
	if end := s.Seen.Add(idle); end.Before(s.Until) {
		return end
	}
	return s.Until
}

// of tells whether it is a session of an account as that is now.
func (s *session) of(u *account) bool {
	return u.Era != "" && s.Era == u.Era && !u.Disabled
}

// Session is what a login gives: who it is, and the cookie that shows it from now on.
type Session struct {
	Caller Caller
	Cookie *http.Cookie
}

// digest is what the store keeps of a secret with so many bits that it cannot be guessed.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Login opens a session for who knows an account's password, and ends the one that the
// request came with. All refusals are alike, and so is the work for them.
func (a *Auth) Login(r *http.Request, name, password string) (Session, error) {
	ctx, now, from := r.Context(), a.now(), a.From(r)
	if err := a.addresses.take(network(from), now); err != nil {
		return Session{}, err
	}
	if err := a.names.take(name[:min(len(name), 64)], now); err != nil {
		return Session{}, err
	}
	if len(password) > 4*maxPassword {
		return Session{}, ErrWrong
	}
	u, _, err := a.account(ctx, name)
	if err != nil {
		return Session{}, err
	}
	good, err := a.hasher.matches(ctx, password, u.Hash)
	if err != nil {
		return Session{}, err
	}
	if !good {
		a.log.Warn("login refused", "known", u.ID != "", "from", from)
		return Session{}, ErrWrong
	}
	fresh := ""
	if a.hasher.old(u.Hash) {
		if fresh, err = a.hasher.hash(ctx, password); err != nil {
			return Session{}, err
		}
	}
	return a.open(r, name, func(now *account) error {
		if err := sameLogin(&u, now); err != nil {
			return err
		}
		if fresh != "" {
			now.Hash = fresh
		}
		return nil
	})
}

// sameLogin refuses an account that is no longer the one that was looked at.
func sameLogin(then, now *account) error {
	if now.ID != then.ID || now.Era != then.Era || now.Disabled {
		return ErrWrong
	}
	return nil
}

// open makes a session. The account is read again, and checked, and the commit holds only
// if it is still so.
func (a *Auth) open(r *http.Request, name string, check func(*account) error) (out Session, err error) {
	err = again(r.Context(), func() error {
		u, rev, err := a.account(r.Context(), name)
		if err != nil {
			return err
		}
		if err := check(&u); err != nil {
			return err
		}
		u.Login = a.now().UTC()
		out, err = a.begin(r, u, rev, "session.open", nil)
		return err
	})
	return out, conflict(err)
}

// begin commits an account together with a new session of it, in place of the request's.
// What else changes by it goes into the audit as after.
func (a *Auth) begin(r *http.Request, u account, rev int64, action string, after any) (Session, error) {
	now := a.now().UTC()
	id := base64.RawURLEncoding.EncodeToString(random(sessionBytes))
	agent := r.UserAgent()
	agent = strings.ToValidUTF8(agent[:min(len(agent), maxAgent)], "")
	s := session{Name: u.Name, Account: u.ID, Era: u.Era, From: a.From(r), Agent: agent,
		Created: now, Seen: now, Until: now.Add(a.cfg.Longest)}
	ops := []store.Op{set(u.key(), u), set(sessionPrefix+digest(id), s)}
	if old, ok := a.cookie(r); ok {
		var was session
		rev, err := a.get(r.Context(), sessionPrefix+digest(old), &was)
		if err != nil {
			return Session{}, err
		}
		if rev != 0 {
			ops = append(ops, store.Op{Key: sessionPrefix + digest(old), Delete: true})
		}
	}
	c := a.callerOf(&s, &u, digest(id), s.From)
	_, err := a.ledger.Commit(r.Context(), []store.Cond{{Key: u.key(), Rev: rev}}, ops,
		c.line(action, "account "+u.Name, nil, after))
	return Session{c, a.newCookie(a.cookieName(), id, a.cfg.Longest)}, err
}

func (a *Auth) callerOf(s *session, u *account, key, from string) Caller {
	return a.caller(Caller{Kind: KindUser, Name: u.Name, ID: key, Grants: u.Grants, From: from,
		Until: s.end(a.cfg.Idle()), account: u.ID})
}

// conflict names a change that met another one.
func conflict(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return ErrChanged
	}
	return err
}

func (a *Auth) cookieName() string {
	if a.cfg.Plain {
		return cookiePlain
	}
	return cookieName
}

func (a *Auth) newCookie(name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(age / time.Second),
		Secure: !a.cfg.Plain, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// NoCookie makes the browser forget its session.
func (a *Auth) NoCookie() *http.Cookie {
	c := a.newCookie(a.cookieName(), "", 0)
	c.MaxAge = -1
	return c
}

// cookie is the request's session id. Two of them are none: one was put there by somebody.
func (a *Auth) cookie(r *http.Request) (id string, ok bool) {
	cookies := r.CookiesNamed(a.cookieName())
	if len(cookies) != 1 {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || len(raw) != sessionBytes {
		return "", false
	}
	return base64.RawURLEncoding.EncodeToString(raw), true
}

// bySession looks a session up and notes that it is used.
func (a *Auth) bySession(ctx context.Context, key, from string) (Caller, error) {
	now, idle := a.now(), a.cfg.Idle()
	var s session
	rev, err := a.get(ctx, sessionPrefix+key, &s)
	if err != nil {
		return Caller{}, err
	}
	if rev == 0 || !now.Before(s.end(idle)) {
		return Caller{}, ErrSignedOut
	}
	u, _, err := a.account(ctx, s.Name)
	if err != nil {
		return Caller{}, err
	}
	if !s.of(&u) {
		return Caller{}, ErrSignedOut
	}
	if every := min(max(idle/32, time.Second), 5*time.Minute); now.Sub(s.Seen) >= every {
		s.Seen = now.UTC()
		a.touch(ctx, store.Cond{Key: sessionPrefix + key, Rev: rev}, s)
	}
	return a.callerOf(&s, &u, key, from), nil
}

// touch writes down that something is used. It is no reason to refuse the use if that
// fails: somebody else has done so at the same time, or the store is busy.
func (a *Auth) touch(ctx context.Context, cond store.Cond, v any) {
	_, err := a.store.Commit(ctx, []store.Cond{cond}, []store.Op{set(cond.Key, v)})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		a.log.Warn("the last use of a session or token is not written down", "err", err)
	}
}

// Renew tells what a caller may do by now, for requests that last. It counts as use: a
// wall of tiles stays signed in until its session's last day.
func (a *Auth) Renew(ctx context.Context, c Caller) (Caller, error) {
	switch c.Kind {
	case KindUser:
		return a.bySession(ctx, c.ID, c.From)
	case KindToken:
		return a.tokenCaller(ctx, c.ID, c.From, nil)
	}
	return Caller{}, ErrSignedOut
}

// ChangePassword is for who knows the present one. It ends all sessions of the account and
// opens another one for the request.
func (a *Auth) ChangePassword(r *http.Request, c Caller, change view.PasswordChange) (out Session, err error) {
	ctx := r.Context()
	if !c.May(OwnAccess) {
		return out, ErrForbidden
	}
	if err := a.names.take(c.Name, a.now()); err != nil {
		return out, err
	}
	if err := checkPassword(change.New); err != nil {
		return out, err
	}
	u, rev, err := a.account(ctx, c.Name)
	if err != nil {
		return out, err
	}
	good, err := a.hasher.matches(ctx, change.Old[:min(len(change.Old), 4*maxPassword+1)], u.Hash)
	if err != nil {
		return out, err
	}
	if !good || u.ID != c.account {
		return out, because(ErrWrong, "the present password is wrong")
	}
	if u.Hash, err = a.hasher.hash(ctx, change.New); err != nil {
		return out, err
	}
	u.Era = rand.Text()
	out, err = a.begin(r, u, rev, "account.password", nil)
	return out, conflict(err)
}

// Sessions lists the caller's own; all for who manages access.
func (a *Auth) Sessions(ctx context.Context, c Caller) ([]view.Session, error) {
	if !c.May(OwnAccess) {
		return nil, ErrForbidden
	}
	people := map[string]account{}
	if err := a.accounts(ctx, func(u account, _ int64) { people[u.ID] = u }); err != nil {
		return nil, err
	}
	list, all, now := []view.Session{}, c.Can(ManageAccess, nil), a.now()
	err := a.sessions(ctx, func(key string, s session, _ int64) error {
		u := people[s.Account]
		if (all || s.Account == c.account) && s.of(&u) && now.Before(s.end(a.cfg.Idle())) {
			list = append(list, view.Session{ID: key, Name: s.Name, From: s.From, Agent: s.Agent,
				Created: s.Created, Seen: s.Seen, Until: s.end(a.cfg.Idle()), Current: key == c.ID})
		}
		return nil
	})
	return list, err
}

func (a *Auth) sessions(ctx context.Context, each func(key string, s session, rev int64) error) error {
	_, err := store.All(ctx, a.store, sessionPrefix, func(item store.Item) error {
		var s session
		if err := json.Unmarshal(item.Value, &s); err != nil {
			return fmt.Errorf("the panel's record %s is damaged: %w", item.Key, err)
		}
		return each(strings.TrimPrefix(item.Key, sessionPrefix), s, item.Rev)
	})
	return err
}

// EndSession ends a session of the caller, or of anybody for who manages access. The id
// "current" is the one that the caller has.
func (a *Auth) EndSession(ctx context.Context, c Caller, id string) error {
	if !c.May(OwnAccess) {
		return ErrForbidden
	}
	if id == "current" {
		id = c.ID
	}
	if len(id) != hex.EncodedLen(sha256.Size) {
		return ErrUnknown
	}
	return again(ctx, func() error {
		var s session
		rev, err := a.get(ctx, sessionPrefix+id, &s)
		if err != nil {
			return err
		}
		if rev == 0 || s.Account != c.account && !c.Can(ManageAccess, nil) {
			return ErrUnknown
		}
		_, err = a.ledger.Commit(ctx, []store.Cond{{Key: sessionPrefix + id, Rev: rev}},
			[]store.Op{{Key: sessionPrefix + id, Delete: true}}, c.line("session.end", "account "+s.Name, nil, nil))
		return err
	})
}

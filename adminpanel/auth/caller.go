package auth

import (
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
)

// Kinds of callers.
const (
	KindUser  = "user"  // with a session
	KindToken = "token" // with an API token
)

// Caller is who made a request. The zero Caller may do nothing but sign in. What it may
// do is as it was when it was made; [Auth.Renew] makes it anew for requests that last.
type Caller struct {
	Kind   string
	Name   string // account, of a token its maker's
	ID     string // of the session or the token
	Grants []view.Grant
	From   string    // address
	Until  time.Time // the session or token ends

	now     time.Time
	grants  []grant
	account string // the account's own id
	console bool
}

// Person is the account that answers for what the caller does.
func (c Caller) Person() string { return c.Name }

// Actor is the caller as the audit names it.
func (c Caller) Actor() string {
	switch {
	case c.console:
		return "panel"
	case c.Kind == KindToken:
		return "token " + c.ID
	}
	return "user " + c.Name
}

// Me is the caller as its page shows it.
func (c Caller) Me() view.Me {
	name := c.Name
	if c.Kind == KindToken {
		name = c.ID
	}
	return view.Me{Name: name, Kind: c.Kind, Grants: c.Grants, UntilMS: c.Until.Sub(c.now).Milliseconds()}
}

// May tells whether the caller may do a thing to some devices, at least: what can be said
// before it is known which are meant.
func (c Caller) May(a Action) bool {
	n, ok := needs[a]
	switch {
	case !ok:
		return false
	case n.reach == Open:
		return true
	case c.Kind == "":
		return false
	case a == OwnAccess:
		return c.Kind == KindUser // a stolen token must not make others that outlive it
	case n.reach == Self:
		return true
	}
	return len(c.Scope(a)) > 0
}

// Can tells whether the caller may do a thing to a device. Without a device it is about
// things that are not devices, as in [Caller.May]; an action on devices is then refused.
func (c Caller) Can(a Action, d *view.Device) bool {
	n, ok := needs[a]
	switch {
	case !ok:
		return false
	case n.reach < Device || n.reach == Fleet:
		return c.May(a)
	}
	return d != nil && Covers(c.Scope(a), d, c.now)
}

// CanEvery tells whether the caller may do a thing to all of some devices. Of none it says
// whether the caller may do it to all there are: what will meet a selector is not known.
func (c Caller) CanEvery(a Action, devices iter.Seq[*view.Device]) bool {
	scope := c.Scope(a)
	if slices.ContainsFunc(scope, fleet.Selector.All) {
		return true
	}
	some := false
	for d := range devices {
		some = true
		if !Covers(scope, d, c.now) {
			return false
		}
	}
	return some
}

// CanSome tells whether the caller may do a thing to one of some devices, or more.
func (c Caller) CanSome(a Action, devices iter.Seq[*view.Device]) bool {
	scope := c.Scope(a)
	if slices.ContainsFunc(scope, fleet.Selector.All) {
		return true
	}
	for d := range devices {
		if Covers(scope, d, c.now) {
			return true
		}
	}
	return false
}

// Scope are the selectors of which a device has to meet one, for the caller to do a thing
// to it. None: to no device. One that means all stands alone.
func (c Caller) Scope(a Action) []fleet.Selector {
	n, ok := needs[a]
	if !ok || n.role == "" {
		return nil
	}
	least := rank(n.role)
	var scope []fleet.Selector
	for _, g := range c.grants {
		switch {
		case g.rank < least:
		case g.over.All():
			return []fleet.Selector{g.over}
		case n.reach != Fleet:
			scope = append(scope, g.over)
		}
	}
	return scope
}

// Authenticate tells who makes a request. A request with an Authorization header is
// judged by that alone: a bad token does not fall back on a cookie.
func (a *Auth) Authenticate(r *http.Request) (Caller, error) {
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		text, ok := strings.CutPrefix(headers[0], "Bearer ")
		if !ok || len(headers) > 1 {
			return Caller{}, ErrSignedOut
		}
		return a.byToken(r.Context(), text, a.From(r))
	}
	id, ok := a.cookie(r)
	if !ok {
		return Caller{}, ErrSignedOut
	}
	return a.bySession(r.Context(), digest(id), a.From(r))
}

// Authorize tells who makes a request, and refuses it where the table of routes does. For
// actions on devices, whoever knows the device asks [Caller.Can] then.
func (a *Auth) Authorize(r *http.Request) (Caller, error) {
	rule, ok := a.routes.of(r)
	if !ok {
		return Caller{}, ErrUnknown
	}
	_, reach := ReachOf(rule.Action)
	if reach == Open {
		return Caller{From: a.From(r), now: a.now()}, nil
	}
	c, err := a.Authenticate(r)
	switch {
	case err != nil:
		return Caller{}, err
	case !c.May(rule.Action):
		return Caller{}, ErrForbidden
	}
	return c, nil
}

// RuleOf finds what the table says of a request's route.
func (a *Auth) RuleOf(r *http.Request) (Rule, bool) { return a.routes.of(r) }

// caller makes one of what is known.
func (a *Auth) caller(c Caller) Caller {
	var bad error
	if c.grants, bad = compile(c.Grants); bad != nil {
		a.log.Warn("a grant cannot be understood and gives nothing", "account", c.Name, "err", bad)
	}
	c.now = a.now()
	return c
}

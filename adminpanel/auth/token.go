package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	tokenPrefix  = "t/"
	tokenMark    = "slpt_" // by which people and scanners of secrets know one
	tokenIDBytes = 10
	secretBytes  = 32
	tokenUse     = time.Hour // a use is written down so often at most
	maxTokens    = 100       // of one account
	tokenKept    = 30 * 24 * time.Hour
)

// letters are those that survive being read aloud and pasted anywhere.
var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newSecret() string { return letters.EncodeToString(random(secretBytes)) }

// token is what the store keeps of one.
type token struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Hash    string       `json:"hash"`
	Grants  []view.Grant `json:"grants"`
	Account string       `json:"account"` // id of its maker's
	By      string       `json:"by"`      // and the name
	Created time.Time    `json:"created"`
	Until   time.Time    `json:"until"`
	Used    time.Time    `json:"used,omitzero"`
}

func (t *token) view() view.Token {
	return view.Token{ID: t.ID, Name: t.Name, Grants: t.Grants, By: t.By, Created: t.Created, Until: t.Until, LastUsed: t.Used}
}

// AddToken makes a token for who asks, whose text is in the answer and nowhere else.
func (a *Auth) AddToken(ctx context.Context, c Caller, req view.TokenRequest) (view.Token, error) {
	if !c.May(OwnAccess) || c.account == "" {
		return view.Token{}, ErrForbidden
	}
	grants, err := a.checkToken(c, req)
	if err != nil {
		return view.Token{}, err
	}
	have := 0
	if err := a.eachToken(ctx, func(t token, _ int64) error {
		if t.Account == c.account {
			have++
		}
		return nil
	}); err != nil {
		return view.Token{}, err
	}
	if have >= maxTokens {
		return view.Token{}, invalid("name", "%s has %d tokens already: delete one that nobody needs", c.Name, have)
	}
	secret := newSecret()
	t := token{ID: letters.EncodeToString(random(tokenIDBytes)), Name: req.Name, Hash: digest(secret), Grants: grants,
		Account: c.account, By: c.Name, Created: a.now().UTC(), Until: req.Until.UTC()}
	_, err = a.ledger.Commit(ctx, []store.Cond{{Key: tokenPrefix + t.ID}}, []store.Op{set(tokenPrefix+t.ID, t)},
		c.line("token.add", "token "+t.ID, nil, t.view()))
	out := t.view()
	out.Text = tokenMark + t.ID + "_" + secret
	return out, conflict(err)
}

func (a *Auth) checkToken(c Caller, req view.TokenRequest) ([]view.Grant, error) {
	now := a.now()
	switch n := utf8.RuneCountInString(req.Name); {
	case !utf8.ValidString(req.Name) || strings.TrimSpace(req.Name) == "" || n > 80:
		return nil, invalid("name", "a token has a name of 1 to 80 characters that says what it is for")
	case len(req.Grants) == 0:
		return nil, invalid("grants", "a token without a grant could do nothing: give it one")
	case !req.Until.After(now):
		return nil, invalid("until", "a token ends at a time to come")
	case req.Until.After(now.Add(a.cfg.MaxToken)):
		return nil, invalid("until", "a token lives at most %d days", a.cfg.MaxToken/(24*time.Hour))
	}
	grants, err := checkGrants(req.Grants)
	if err != nil {
		return nil, err
	}
	return grants, checkAtMost(grants, c.Grants)
}

func (a *Auth) eachToken(ctx context.Context, each func(t token, rev int64) error) error {
	_, err := store.All(ctx, a.store, tokenPrefix, func(item store.Item) error {
		var t token
		if err := json.Unmarshal(item.Value, &t); err != nil {
			return fmt.Errorf("the panel's record %s is damaged: %w", item.Key, err)
		}
		return each(t, item.Rev)
	})
	return err
}

// Tokens lists the caller's own; all for who manages access.
func (a *Auth) Tokens(ctx context.Context, c Caller) ([]view.Token, error) {
	if !c.May(OwnAccess) {
		return nil, ErrForbidden
	}
	list, all := []view.Token{}, c.Can(ManageAccess, nil)
	err := a.eachToken(ctx, func(t token, _ int64) error {
		if all || t.Account == c.account {
			list = append(list, t.view())
		}
		return nil
	})
	return list, err
}

// RemoveToken ends a token of the caller, or of anybody for who manages access.
func (a *Auth) RemoveToken(ctx context.Context, c Caller, id string) error {
	if !c.May(OwnAccess) {
		return ErrForbidden
	}
	if !isTokenID(id) {
		return ErrUnknown
	}
	return again(ctx, func() error {
		var t token
		rev, err := a.get(ctx, tokenPrefix+id, &t)
		if err != nil {
			return err
		}
		if rev == 0 || t.Account != c.account && !c.Can(ManageAccess, nil) {
			return ErrUnknown
		}
		_, err = a.ledger.Commit(ctx, []store.Cond{{Key: tokenPrefix + id, Rev: rev}},
			[]store.Op{{Key: tokenPrefix + id, Delete: true}}, c.line("token.remove", "token "+id, t.view(), nil))
		return err
	})
}

func isTokenID(id string) bool {
	raw, err := letters.DecodeString(id)
	return err == nil && len(raw) == tokenIDBytes
}

// byToken looks a token up. Who comes with bad ones is slowed down by the address, not by
// the token, or knowing its id were enough to keep its owner out. Good ones from there go
// through: many share an address, and nobody guesses a secret of 256 bits.
func (a *Auth) byToken(ctx context.Context, text, from string) (Caller, error) {
	now, stranger := a.now(), network(from)
	rest, marked := strings.CutPrefix(text, tokenMark)
	id, secret, cut := strings.Cut(rest, "_")
	if !marked || !cut || !isTokenID(id) || len(secret) != letters.EncodedLen(secretBytes) {
		return Caller{}, a.stranger(stranger, now)
	}
	c, err := a.tokenCaller(ctx, id, from, &secret)
	switch {
	case errors.Is(err, ErrSignedOut):
		return Caller{}, a.stranger(stranger, now)
	case err != nil:
		return Caller{}, err
	}
	return c, a.tokens.take(id, now)
}

func (a *Auth) stranger(key string, now time.Time) error {
	if err := a.strangers.take(key, now); err != nil {
		return err
	}
	return ErrSignedOut
}

// tokenCaller is who has a token, if the secret is its own or was seen before (nil).
func (a *Auth) tokenCaller(ctx context.Context, id, from string, secret *string) (Caller, error) {
	var t token
	rev, err := a.get(ctx, tokenPrefix+id, &t)
	if err != nil {
		return Caller{}, err
	}
	if secret != nil && subtle.ConstantTimeCompare([]byte(digest(*secret)), []byte(t.Hash)) != 1 {
		return Caller{}, ErrSignedOut
	}
	now := a.now()
	if rev == 0 || !now.Before(t.Until) {
		return Caller{}, ErrSignedOut
	}
	u, _, err := a.account(ctx, t.By)
	if err != nil {
		return Caller{}, err
	}
	if u.ID == "" || u.ID != t.Account || u.Disabled {
		return Caller{}, ErrSignedOut
	}
	if now.Sub(t.Used) >= tokenUse {
		t.Used = now.UTC()
		a.touch(ctx, store.Cond{Key: tokenPrefix + id, Rev: rev}, t)
	}
	return a.caller(Caller{Kind: KindToken, Name: u.Name, ID: id, Grants: both(t.Grants, u.Grants),
		From: from, Until: t.Until, account: u.ID}), nil
}

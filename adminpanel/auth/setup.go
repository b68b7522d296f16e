package auth

import (
	"context"
	"crypto/subtle"
	"net/http"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const setupKey = "set/setup"

// setup is how far a new panel is. It stays when it is done, so that no panel that was
// slow to start makes another token.
type setup struct {
	Hash string `json:"hash"` // of the newest token
	Done bool   `json:"done"`
}

// SetupToken makes the token that lets who has it make the first account, in place of any
// before. It is empty if there has been a first account.
func (a *Auth) SetupToken(ctx context.Context) (text string, err error) {
	err = again(ctx, func() error {
		text = ""
		var s setup
		rev, err := a.get(ctx, setupKey, &s)
		if err != nil || s.Done {
			return err
		}
		if some, err := a.anybody(ctx); err != nil || some {
			return err
		}
		secret := newSecret()
		_, err = a.store.Commit(ctx, []store.Cond{{Key: setupKey, Rev: rev}},
			[]store.Op{set(setupKey, setup{Hash: digest(secret)})})
		text = secret
		return err
	})
	if err != nil {
		return "", err
	}
	return text, nil
}

// IsSetUp tells whether there has been a first account, by whatever way it was made.
func (a *Auth) IsSetUp(ctx context.Context) (bool, error) {
	var s setup
	if _, err := a.get(ctx, setupKey, &s); err != nil || s.Done {
		return s.Done, err
	}
	return a.anybody(ctx)
}

func (a *Auth) anybody(ctx context.Context) (bool, error) {
	some, err := a.store.Scan(ctx, accountPrefix, store.PrefixEnd(accountPrefix), 1)
	return len(some.Items) > 0, err
}

// Setup makes the first account, which may do everything, and signs it in. The token is
// good for one.
func (a *Auth) Setup(r *http.Request, req view.SetupRequest) (Session, error) {
	ctx, from := r.Context(), a.From(r)
	if err := a.addresses.take(network(from), a.now()); err != nil {
		return Session{}, err
	}
	var s setup
	rev, err := a.get(ctx, setupKey, &s)
	if err != nil {
		return Session{}, err
	}
	if s.Done || rev == 0 || subtle.ConstantTimeCompare([]byte(digest(req.Token)), []byte(s.Hash)) != 1 {
		return Session{}, because(ErrWrong, "the setup token is wrong or was used: take the one that the panel printed when it last started")
	}
	if err := checkName(req.Name); err != nil {
		return Session{}, err
	}
	if err := checkPassword(req.Password); err != nil {
		return Session{}, err
	}
	u := a.newAccount(req.Name, []view.Grant{{Role: view.RoleAdmin}})
	if u.Hash, err = a.hasher.hash(ctx, req.Password); err != nil {
		return Session{}, err
	}
	_, err = a.ledger.Commit(ctx, []store.Cond{{Key: setupKey, Rev: rev}, {Key: u.key()}},
		[]store.Op{set(setupKey, setup{Done: true}), set(u.key(), u)},
		Caller{Kind: KindUser, Name: u.Name, From: from}.line("account.setup", "account "+u.Name, nil, u.view(0)))
	if err != nil {
		return Session{}, conflict(err)
	}
	return a.open(r, u.Name, func(now *account) error { return sameLogin(&u, now) })
}

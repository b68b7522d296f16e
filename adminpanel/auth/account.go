package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const accountPrefix = "u/"

var accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,62}$`)

// account is what the store keeps of a person.
type account struct {
	ID       string       `json:"id"` // never another's, as names can be
	Name     string       `json:"name"`
	Era      string       `json:"era"`            // of its sessions; another one ends them
	Hash     string       `json:"hash,omitempty"` // none: it has no password
	Issuer   string       `json:"issuer,omitempty"`
	Subject  string       `json:"subject,omitempty"` // at the identity provider
	Grants   []view.Grant `json:"grants"`
	Disabled bool         `json:"disabled,omitempty"`
	Created  time.Time    `json:"created"`
	Login    time.Time    `json:"login,omitzero"` // last one
}

func (u *account) key() string { return accountPrefix + u.Name }

// admin tells whether somebody can administer the panel by it, whatever else fails.
func (u *account) admin() bool { return !u.Disabled && u.Hash != "" && isAdmin(u.Grants) }

func (u *account) view(rev int64) view.Account {
	grants := u.Grants
	if grants == nil {
		grants = []view.Grant{}
	}
	return view.Account{Name: u.Name, Grants: grants, OIDC: u.Subject != "", Disabled: u.Disabled, LastSeen: u.Login, Rev: rev}
}

// account reads one. A name that there is not gives an account that nobody can use.
func (a *Auth) account(ctx context.Context, name string) (u account, rev int64, err error) {
	if !accountName.MatchString(name) {
		return u, 0, nil
	}
	rev, err = a.get(ctx, accountPrefix+name, &u)
	return u, rev, err
}

func (a *Auth) newAccount(name string, grants []view.Grant) account {
	return account{ID: rand.Text(), Name: name, Era: rand.Text(), Grants: grants, Created: a.now().UTC()}
}

func checkName(name string) error {
	if !accountName.MatchString(name) {
		return invalid("name", "an account's name begins with a small letter or digit, and has at most 63 of them and of . _ @ -")
	}
	return nil
}

// Console is a caller for the commands of who has the panel's data anyway. With a name it
// has that account's grants, else all.
func (a *Auth) Console(ctx context.Context, name string) (Caller, error) {
	c := Caller{Kind: KindUser, Name: "panel", console: true, Grants: []view.Grant{{Role: view.RoleAdmin}}, Until: a.now().Add(time.Hour)}
	if name != "" {
		u, rev, err := a.account(ctx, name)
		if err != nil {
			return c, err
		}
		if rev == 0 {
			return c, ErrUnknown
		}
		c.Name, c.Grants, c.account = u.Name, u.Grants, u.ID
	}
	return a.caller(c), nil
}

// Accounts lists all.
func (a *Auth) Accounts(ctx context.Context, c Caller) ([]view.Account, error) {
	if !c.Can(ManageAccess, nil) {
		return nil, ErrForbidden
	}
	list := []view.Account{}
	err := a.accounts(ctx, func(u account, rev int64) { list = append(list, u.view(rev)) })
	return list, err
}

func (a *Auth) accounts(ctx context.Context, each func(account, int64)) error {
	_, err := store.All(ctx, a.store, accountPrefix, func(item store.Item) error {
		var u account
		if err := json.Unmarshal(item.Value, &u); err != nil {
			return fmt.Errorf("the panel's record %s is damaged: %w", item.Key, err)
		}
		each(u, item.Rev)
		return nil
	})
	return err
}

// AddAccount makes an account with a password.
func (a *Auth) AddAccount(ctx context.Context, c Caller, req view.AccountRequest) (view.Account, error) {
	if !c.Can(ManageAccess, nil) {
		return view.Account{}, ErrForbidden
	}
	grants, err := checkGrants(req.Grants)
	if err := errors.Join(err, checkName(req.Name), checkPassword(req.Password)); err != nil {
		return view.Account{}, first(err)
	}
	u := a.newAccount(req.Name, grants)
	if u.Hash, err = a.hasher.hash(ctx, req.Password); err != nil {
		return view.Account{}, err
	}
	rev, err := a.ledger.Commit(ctx, []store.Cond{{Key: u.key()}}, []store.Op{set(u.key(), u)},
		c.line("account.add", "account "+u.Name, nil, u.view(0)))
	if errors.Is(err, store.ErrConflict) {
		err = ErrTaken
	}
	return u.view(rev), err
}

// first is the first of joined errors: answers name one thing that is wrong.
func first(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return err
}

// ChangeAccount changes an account if its revision is still rev; 0: whatever it is. Who is
// disabled or gets another password is signed out everywhere.
func (a *Auth) ChangeAccount(ctx context.Context, c Caller, name string, patch view.AccountPatch, rev int64) (out view.Account, err error) {
	if !c.Can(ManageAccess, nil) {
		return out, ErrForbidden
	}
	hash := ""
	if patch.Password != nil {
		if err := checkPassword(*patch.Password); err != nil {
			return out, err
		}
		if hash, err = a.hasher.hash(ctx, *patch.Password); err != nil {
			return out, err
		}
	}
	err = again(ctx, func() error {
		u, have, err := a.account(ctx, name)
		if err := found(have, rev, err); err != nil {
			return err
		}
		before := u
		if err := u.apply(patch, hash); err != nil {
			return err
		}
		ifs, err := a.guarded(ctx, before, u, have)
		if err != nil {
			return err
		}
		line := c.line("account.change", "account "+u.Name, before.view(0), u.view(0))
		if hash != "" {
			line.Detail = "another password"
		}
		now, err := a.ledger.Commit(ctx, ifs, []store.Op{set(u.key(), u)}, line)
		out = u.view(now)
		return err
	})
	return out, err
}

func found(have, want int64, err error) error {
	switch {
	case err != nil:
		return err
	case have == 0:
		return ErrUnknown
	case want != 0 && want != have:
		return ErrChanged
	}
	return nil
}

func (u *account) apply(patch view.AccountPatch, hash string) error {
	if u.Subject != "" && (patch.Password != nil || patch.Grants != nil) {
		return invalid("grants", "%s is an account of the identity provider: its password and its grants come from there", u.Name)
	}
	if patch.Grants != nil {
		grants, err := checkGrants(*patch.Grants)
		if err != nil {
			return err
		}
		u.Grants = grants
	}
	if patch.Disabled != nil && u.Disabled != *patch.Disabled {
		u.Disabled = *patch.Disabled
		u.Era = rand.Text()
	}
	if hash != "" {
		u.Hash, u.Era = hash, rand.Text()
	}
	return nil
}

// guarded are the conditions of a change of an account: nobody else has changed it, and if
// an administrator goes by it, another one stays, who must not go at the same time.
func (a *Auth) guarded(ctx context.Context, before, after account, rev int64) ([]store.Cond, error) {
	ifs := []store.Cond{{Key: before.key(), Rev: rev}}
	if !before.admin() || after.admin() {
		return ifs, nil
	}
	err := a.accounts(ctx, func(u account, rev int64) {
		if len(ifs) == 1 && u.ID != before.ID && u.admin() {
			ifs = append(ifs, store.Cond{Key: u.key(), Rev: rev})
		}
	})
	if err == nil && len(ifs) == 1 {
		err = ErrLastAdmin
	}
	return ifs, err
}

// RemoveAccount deletes an account; what it did stays in the audit.
func (a *Auth) RemoveAccount(ctx context.Context, c Caller, name string, rev int64) error {
	if !c.Can(ManageAccess, nil) {
		return ErrForbidden
	}
	return again(ctx, func() error {
		u, have, err := a.account(ctx, name)
		if err := found(have, rev, err); err != nil {
			return err
		}
		ifs, err := a.guarded(ctx, u, account{}, have)
		if err != nil {
			return err
		}
		_, err = a.ledger.Commit(ctx, ifs, []store.Op{{Key: u.key(), Delete: true}},
			c.line("account.remove", "account "+u.Name, u.view(0), nil))
		return err
	})
}

// line is the audit's on what the caller did.
func (c Caller) line(action, object string, before, after any) view.AuditLine {
	line := view.AuditLine{Actor: c.Actor(), From: c.From, Action: action, Object: object}
	if before != nil {
		line.Before = set("", before).Value
	}
	if after != nil {
		line.After = set("", after).Value
	}
	return line
}

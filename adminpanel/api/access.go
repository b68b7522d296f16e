package api

import (
	"context"
	"net/http"

	"slipstream/adminpanel/view"
)

func (a *API) registerAccess() {
	add(a, "GET /accounts", "All accounts", a.getAccounts)
	add(a, "POST /accounts", "Make an account with a password", a.postAccount, status(http.StatusCreated))
	add(a, "PATCH /accounts/{id}", "Change an account's password or grants, or disable it", a.patchAccount)
	add(a, "DELETE /accounts/{id}", "Delete an account, its sessions and its tokens", a.deleteAccount)
}

// AccountName is the parameter of routes about one.
type AccountName struct {
	ID string `path:"id" maxLength:"64" doc:"its name"`
}

func (a *API) getAccounts(ctx context.Context, _ *nothing) (*answer[view.Accounts], error) {
	list, err := a.cfg.Auth.Accounts(ctx, callerOf(ctx))
	return say(view.Accounts{Accounts: list}, err)
}

func (a *API) postAccount(ctx context.Context, in *struct{ Body view.AccountRequest }) (*tagged[view.Account], error) {
	made, err := a.cfg.Auth.AddAccount(ctx, callerOf(ctx), in.Body)
	return tag(made, made.Rev, err)
}

func (a *API) patchAccount(ctx context.Context, in *struct {
	AccountName
	Revised
	Body view.AccountPatch
}) (*tagged[view.Account], error) {
	rev, err := in.rev()
	if err != nil {
		return nil, err
	}
	now, err := a.cfg.Auth.ChangeAccount(ctx, callerOf(ctx), in.ID, in.Body, rev)
	return tag(now, now.Rev, err)
}

func (a *API) deleteAccount(ctx context.Context, in *struct {
	AccountName
	Revised
}) (*nothing, error) {
	rev, err := in.rev()
	if err != nil {
		return nil, err
	}
	return nil, a.cfg.Auth.RemoveAccount(ctx, callerOf(ctx), in.ID, rev)
}

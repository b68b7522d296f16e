package api

import (
	"context"
	"net/http"

	"slipstream/adminpanel/view"
)

func (a *API) registerTokens() {
	add(a, "GET /tokens", "The caller's API tokens, and everybody's for who manages access; without their texts", a.getTokens)
	add(a, "POST /tokens", "Make an API token; its text is in this answer and nowhere else", a.postToken, status(http.StatusCreated))
	add(a, "DELETE /tokens/{id}", "End a token", a.deleteToken)
}

func (a *API) getTokens(ctx context.Context, _ *nothing) (*answer[view.Tokens], error) {
	list, err := a.cfg.Auth.Tokens(ctx, callerOf(ctx))
	return say(view.Tokens{Tokens: list}, err)
}

func (a *API) postToken(ctx context.Context, in *struct{ Body view.TokenRequest }) (*answer[view.Token], error) {
	return say(a.cfg.Auth.AddToken(ctx, callerOf(ctx), in.Body))
}

func (a *API) deleteToken(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*nothing, error) {
	return nil, a.cfg.Auth.RemoveToken(ctx, callerOf(ctx), in.ID)
}

package api

import (
	"context"
	"net/http"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

func (a *API) registerSessions() {
	add(a, "POST /sessions", "Sign in with a password", a.postSession, open, status(http.StatusCreated))
	add(a, "GET /sessions", "Who is signed in: the caller, and everybody for who manages access", a.getSessions)
	add(a, "DELETE /sessions/{id}", "Sign out; \"current\" is the session of this request", a.deleteSession)
	add(a, "PUT /me/password", "Change one's password, which ends one's other sessions", a.putPassword)
}

// signedIn is who somebody is from now on, and the cookie that shows it.
type signedIn struct {
	Cookie string `header:"Set-Cookie"`
	Body   view.Me
}

func signIn(s auth.Session, err error) (*signedIn, error) {
	if err != nil {
		return nil, err
	}
	return &signedIn{s.Cookie.String(), s.Caller.Me()}, nil
}

func (a *API) postSession(ctx context.Context, in *struct{ Body view.Login }) (*signedIn, error) {
	return signIn(a.cfg.Auth.Login(httpOf(ctx), in.Body.Name, in.Body.Password))
}

func (a *API) getSessions(ctx context.Context, _ *nothing) (*answer[view.Sessions], error) {
	list, err := a.cfg.Auth.Sessions(ctx, callerOf(ctx))
	return say(view.Sessions{Sessions: list}, err)
}

// signedOut makes the browser forget its session, if that has ended.
type signedOut struct {
	Cookie string `header:"Set-Cookie"`
}

func (a *API) deleteSession(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*signedOut, error) {
	c := callerOf(ctx)
	if err := a.cfg.Auth.EndSession(ctx, c, in.ID); err != nil {
		return nil, err
	}
	out := &signedOut{}
	if in.ID == "current" || in.ID == c.ID {
		out.Cookie = a.cfg.Auth.NoCookie().String()
	}
	return out, nil
}

func (a *API) putPassword(ctx context.Context, in *struct{ Body view.PasswordChange }) (*signedIn, error) {
	return signIn(a.cfg.Auth.ChangePassword(httpOf(ctx), callerOf(ctx), in.Body))
}

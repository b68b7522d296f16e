package api

import (
	"net/http"
)

func (a *API) registerOIDC() {
	raw(a, "GET /oidc/login", "Send the browser to the identity provider", a.oidcLogin, open, query("next", "the path to come back to"))
	raw(a, "GET /oidc/callback", "Where the identity provider sends the browser back to", a.oidcCallback, open)
}

func (a *API) oidcLogin(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.OIDC == nil {
		return unavailable("this panel knows no identity provider: sign in with a password")
	}
	to, cookie, err := a.cfg.OIDC.Begin(r, r.URL.Query().Get("next"))
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (a *API) oidcCallback(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.OIDC == nil {
		return unavailable("this panel knows no identity provider: sign in with a password")
	}
	http.SetCookie(w, a.cfg.OIDC.NoTrip())
	session, next, err := a.cfg.OIDC.Finish(r)
	if err != nil {
		return err
	}
	http.SetCookie(w, session.Cookie)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

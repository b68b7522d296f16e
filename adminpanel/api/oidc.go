package api

import (
	"errors"
	"net/http"
	"net/url"

	"slipstream/adminpanel/auth"
)

func (a *API) registerOIDC() {
	raw(a, "GET /oidc/login", "Send the browser to the identity provider", a.leads(a.oidcLogin), open, query("next", "the path to come back to"),
		gives(http.StatusSeeOther, "to the provider, or to the login page, which says why not"))
	raw(a, "GET /oidc/callback", "Where the identity provider sends the browser back to", a.leads(a.oidcCallback), open,
		gives(http.StatusSeeOther, "to where the login was begun, or to the login page, which says why not"))
}

// leads has a browser that a person looks at end at the login page where other callers get a
// problem. The page knows sentences by words, and shows nothing that an address says.
func (a *API) leads(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := handle(w, r)
		if err == nil {
			return nil
		}
		word := a.problem(err).Code
		if refusal, ok := errors.AsType[*auth.Error](err); ok && refusal.Reason != "" {
			word = refusal.Reason
		}
		http.Redirect(w, r, "/?refused="+url.QueryEscape(word), http.StatusSeeOther)
		return nil
	}
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

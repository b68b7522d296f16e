package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// anyOrigin among the allowed ones lets every page play.
const anyOrigin = "*"

// sameOrigin lets browsers play from pages that may (the Fetch standard's CORS), and
// refuses others before anything else happens. Whoever sends no Origin is no page.
func (g *Gateway) sameOrigin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		switch {
		case g.cfg.allows(anyOrigin):
			header.Set("Access-Control-Allow-Origin", anyOrigin)
		case origin == "":
		case g.cfg.allows(origin) || sameHost(origin, r.Host):
			header.Set("Access-Control-Allow-Origin", origin)
		default:
			g.refuse(w, r, errOrigin)
			return
		}
		header.Set("Access-Control-Expose-Headers", "Accept-Patch, ETag, Link, Location, Retry-After, WWW-Authenticate")
		if r.Method == http.MethodOptions {
			header.Set("Access-Control-Allow-Methods", methods)
			header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
			header.Set("Access-Control-Max-Age", "600")
		}
		h.ServeHTTP(w, r)
	})
}

var errOrigin = &refusal{http.StatusForbidden, "origin", "pages of this origin may not play here; the device's configuration names those that may"}

// allows tells whether pages of an origin may play. When everybody may watch and
// nothing else is said, those of all origins may.
func (c Config) allows(origin string) bool {
	if len(c.Origins) == 0 {
		return c.Public && origin == anyOrigin
	}
	return slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// sameHost tells whether a page comes from the very host that it asks, by whatever
// port: from the device itself.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	asked := (&url.URL{Host: host}).Hostname()
	return err == nil && asked != "" && strings.EqualFold(u.Hostname(), asked)
}

package main

import (
	"strings"
	"testing"

	"slipstream/adminpanel/auth"
)

// browsers are routes that are for a person's browser: a session, or pictures.
const browsers = "browsers"

// verbs are the commands that do what the API's routes do.
var verbs = map[string]string{
	"GET me": "fleet me", "GET setup": browsers, "POST setup": browsers, "POST sessions": "fleet login", "GET oidc/login": browsers, "GET oidc/callback": browsers,
	"GET sessions": browsers, "DELETE sessions/{id}": "fleet login", "PUT me/password": browsers,
	"GET tokens": "token list", "POST tokens": "token add", "DELETE tokens/{id}": "token remove",
	"GET settings": "fleet settings", "PUT settings": "fleet settings", "GET hub": "fleet hub", "GET events": "fleet events",
	"GET devices": "fleet devices", "GET devices/{id}": "fleet show", "GET devices/{id}/history": "fleet history", "GET versions": "fleet versions", "GET at": "fleet at",
	"PATCH devices/{id}": "fleet describe", "DELETE devices/{id}": "fleet revoke",
	"POST devices/{id}/stage": "fleet stage", "POST devices/{id}/activate": "fleet activate", "POST devices/{id}/confirm": "fleet confirm",
	"POST devices/{id}/revert": "fleet revert", "POST devices/{id}/cancel": "fleet cancel", "POST devices/{id}/upgrade": "fleet upgrade",
	"POST devices/{id}/whep/{stream}": browsers, "PATCH devices/{id}/whep/{stream}/{session}": browsers, "DELETE devices/{id}/whep/{stream}/{session}": browsers,
	"OPTIONS devices/{id}/whep/{stream}": browsers,
	"GET releases":                       "fleet release list", "GET releases/{id}": "fleet release show", "POST releases": "fleet release add", "DELETE releases/{id}": "fleet release withdraw",
	"POST releases/{id}/order": "fleet release order", "GET releases/{id}/order": "fleet release order",
	"POST uploads": "fleet release add", "GET uploads/{id}": "fleet release add", "PATCH uploads/{id}": "fleet release add", "POST uploads/{id}/finish": "fleet release add", "DELETE uploads/{id}": "fleet release add",
	"GET rollouts": "fleet rollout list", "GET rollouts/{id}": "fleet rollout show", "GET rollouts/{id}/devices": "fleet rollout show",
	"POST rollouts": "fleet rollout create", "POST rollouts/preview": "fleet rollout preview",
	"POST rollouts/{id}/pause": "fleet rollout pause", "POST rollouts/{id}/confirm": "fleet rollout confirm", "POST rollouts/{id}/approve": "fleet rollout approve",
	"POST rollouts/{id}/start": "fleet rollout start", "POST rollouts/{id}/resume": "fleet rollout resume", "POST rollouts/{id}/abort": "fleet rollout abort",
	"POST rollouts/{id}/abort-revert": "fleet rollout abort-revert", "POST rollouts/{id}/retry": "fleet rollout retry", "POST rollouts/{id}/skip-wave": "fleet rollout skip-wave",
	"GET audit": "fleet audit", "GET audit/export": "fleet audit", "GET backup": "backup",
	"GET accounts": "user list", "POST accounts": "user add", "PATCH accounts/{id}": "user grant", "DELETE accounts/{id}": "user remove",
	"GET enrolments": "fleet enrol", "POST enrolments": "fleet enrol", "DELETE enrolments/{id}": "fleet enrol",
}

// Whatever the API can do a command can, but for what needs a browser.
func TestEveryRouteHasACommand(t *testing.T) {
	t.Parallel()
	root := command()
	for _, rule := range auth.Rules {
		route := strings.Replace(rule.Route, "/api/v1/", "", 1)
		verb, ok := verbs[route]
		if !ok {
			t.Errorf("no command does what %s does", rule.Route)
		}
		if !ok || verb == browsers {
			continue
		}
		if cmd, rest, err := root.Find(strings.Fields(verb)); err != nil || len(rest) > 0 || !cmd.Runnable() || cmd.CommandPath() != "slipstream-panel "+verb {
			t.Errorf("%s: there is no command %q", rule.Route, verb)
		}
	}
}

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

func TestWhoIsLetIn(t *testing.T) {
	w := newWorld(t)
	var me view.Me
	if w.call("GET", "/me", nil).is(200, &me); me.Kind != auth.KindToken || len(me.Grants) != 1 || me.UntilMS <= 0 {
		t.Errorf("ann's token is %+v", me)
	}
	if w.call("GET", "/me", nil, signedIn(w.person("bob", "viewer"))).is(200, &me); me.Name != "bob" || me.Kind != auth.KindUser {
		t.Errorf("bob is %+v", me)
	}
	g := w.call("GET", "/me", nil, nobody)
	g.fails(401, "signed-out")
	if g.header.Get("WWW-Authenticate") == "" || g.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the headers are %v", g.header)
	}
	w.call("GET", "/me", nil, by("fwp_forged_token")).fails(401, "signed-out")
	w.call("GET", "/me", nil, signedIn(&http.Cookie{Name: "slipstream", Value: "forged"})).fails(401, "signed-out")
	w.call("GET", "/me", nil, func(r *http.Request) { r.Host = "panel.attacker.example" }).fails(421, "wrong-host")
	w.call("POST", "/sessions", "{}", header("Sec-Fetch-Site", "cross-site")).fails(403, "cross-origin")
	w.call("POST", "/sessions", "{}", header("Content-Type", "text/plain")).fails(415, "wrong-type")
	w.call("GET", "/nowhere", nil).fails(404, "no-route")
	w.call("DELETE", "/me", nil).fails(404, "no-route")
	p := w.call("GET", "/me?colour=red", nil).fails(422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Location != "query.colour" {
		t.Errorf("an unknown parameter is told as %+v", p.Errors)
	}
	if text := fmt.Sprint(p); strings.Contains(text, "red") {
		t.Errorf("what was sent is sent back: %s", text)
	}
}

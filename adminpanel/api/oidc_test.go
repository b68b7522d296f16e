package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

// panelName is how a browser of these tests calls the panel, whose address is not known when
// its provider is.
const panelName = "http://localhost:9"

// directory is a provider's storage that knows one person, in one group.
type directory struct{ *storage.Storage }

func (directory) GetUserByID(string) *storage.User       { return cid }
func (directory) GetUserByUsername(string) *storage.User { return cid }
func (directory) ExampleClientID() string                { return "none" }

var cid = &storage.User{ID: "id-cid", Username: "cid", Password: "verysecure"}

func (d directory) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	err := d.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
	info.PreferredUsername = cid.Username
	info.AppendClaims("groups", []string{"video-ops"})
	return err
}

// provided lets people sign in at a real provider.
func provided(t *testing.T) (issuer string, change func(*api.Config)) {
	server := httptest.NewUnstartedServer(nil)
	issuer = "http://" + server.Listener.Addr().String()
	client := storage.WebClient("panel", "between us", panelName+"/api/v1/oidc/callback")
	d := directory{storage.NewStorageWithClients(directory{}, map[string]*storage.Client{"panel": client})}
	server.Config.Handler = exampleop.SetupServer(issuer, d, slog.New(slog.DiscardHandler), false)
	server.Start()
	t.Cleanup(server.Close)
	return issuer, func(c *api.Config) {
		var err error
		c.OIDC, err = auth.NewOIDC(c.Auth, auth.OIDCConfig{
			Issuer: issuer, Client: "panel", Secret: "between us", Redirect: panelName + "/api/v1/oidc/callback",
			Groups: map[string][]view.Grant{"video-ops": {{Role: view.RoleOperator, Selector: "site:north"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

var _ op.Storage = directory{}

// A browser is sent to the identity provider, and comes back signed in as what its groups
// say. What nobody was sent away with is refused.
func TestSignInAtAProvider(t *testing.T) {
	issuer, change := provided(t)
	w := newWorld(t, change)
	before := len(w.lines())
	refused := w.call("GET", "/oidc/callback?code=guessed&state=guessed", nil, nobody).is(303, nil)
	if to := refused.header.Get("Location"); to != "/?refused=login-lost" {
		t.Errorf("who comes back without having gone is sent to %q", to)
	}
	if n := len(w.lines()); n != before {
		t.Errorf("a stranger's guess is told in %d lines", n-before)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dial := (&net.Dialer{}).DialContext
	transport := &http.Transport{DialContext: func(ctx context.Context, network, at string) (net.Conn, error) {
		if at == strings.TrimPrefix(panelName, "http://") {
			at = strings.TrimPrefix(w.url, "http://")
		}
		return dial(ctx, network, at)
	}}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Jar: jar, Timeout: patience, Transport: transport}
	signIn := func() (at *url.URL, text []byte) {
		form, err := browser.Get(panelName + "/api/v1/oidc/login?next=/api/v1/me")
		if err != nil {
			t.Fatal(err)
		}
		form.Body.Close()
		answer, err := browser.PostForm(issuer+"/login/username", url.Values{
			"username": {"cid"}, "password": {"verysecure"}, "id": {form.Request.URL.Query().Get("authRequestID")}})
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if text, err = io.ReadAll(answer.Body); err != nil {
			t.Fatal(err)
		}
		return answer.Request.URL, text
	}
	at, text := signIn()
	var me view.Me
	if err := json.Unmarshal(text, &me); err != nil || me.Name != "cid" || len(me.Grants) != 1 || me.Grants[0].Selector != "site:north" {
		t.Errorf("he came to %s as %s", at, text)
	}

	// Who may not come in is led back to the login page, and the audit tells of it.
	disabled := true
	w.call("PATCH", "/accounts/cid", view.AccountPatch{Disabled: &disabled}, header("If-Match", "*")).is(200, nil)
	if at, _ := signIn(); at.RequestURI() != "/?refused=disabled" {
		t.Errorf("he came to %s", at)
	}
	lines, _, err := w.cfg.Audit.Lines(t.Context(), audit.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if l := lines[0]; l.Action != "session.refuse" || l.Object != "account cid" || l.Actor != "panel" || l.From == "" || l.Detail == "" {
		t.Errorf("the audit tells %+v", l)
	}
}

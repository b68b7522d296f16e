package adminpanel_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/view"
)

// A person whose identity provider is away reads a sentence on the login page, once.
func TestALoginThatFailsLeadsBackToItsPage(t *testing.T) {
	away := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { away.Close() })
	go func() { // it takes calls, and hangs up
		for conn, err := away.Accept(); err == nil; conn, err = away.Accept() {
			conn.Close()
		}
	}()
	cfg := blank(t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret")
	if err := writeFile(secret, "between us"); err != nil {
		t.Fatal(err)
	}
	at := must(adminpanel.Listen(cfg))
	cfg.URL = "http://" + at.People.Addr().String()
	cfg.OIDC = config.OIDC{Issuer: "http://" + away.Addr().String(), ClientID: "panel", SecretFile: secret, Claim: "groups", Groups: map[string]string{"ops": "viewer"}}
	w := launchAt(t, cfg, at)
	token := must(w.panel.SetupToken(t.Context()))
	w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: token, Name: "ann", Password: annPassword}).is(http.StatusCreated, nil)
	p := openPage(t, browser(t), w.url+"/versions")
	p.until(t, part("login-oidc"))
	var href string
	p.run(t, chromedp.Evaluate(part("login-oidc")+".href", &href))
	p.run(t, chromedp.Navigate(href))
	const sentence = "Your organisation’s login does not answer as it should."
	p.until(t, `document.querySelector('[role="alert"]').textContent.includes("`+sentence+`")`)
	p.until(t, `location.pathname === '/' && location.search === ''`)
	p.run(t, chromedp.Reload())
	p.until(t, part("login-oidc")+` && !document.body.textContent.includes("`+sentence+`")`)
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}

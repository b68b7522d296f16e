package gateway_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/stream/gateway"
	"slipstream/stream/viewers"
)

// ask makes a request with headers, given as pairs.
func ask(t *testing.T, method, url, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// Without a viewer's token there is nothing to be had, on any resource; with one,
// everything.
func TestTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "viewers")
	secret, err := viewers.Add(file, "nvr")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *gateway.Config) { c.Public, c.Viewers = false, file })
	newFake(t, w)
	offer := newOffer(t, newPeer(t))
	for _, c := range []struct{ name, shown, says string }{
		{"nothing", "", `Bearer realm="slipstream"`},
		{"a password", "Basic bnZyOng=", `Bearer realm="slipstream"`},
		{"another token", "Bearer " + strings.Repeat("x", len(secret)), `Bearer realm="slipstream", error="invalid_token"`},
		{"an empty token", "Bearer ", `Bearer realm="slipstream", error="invalid_token"`},
		{"the name", "Bearer nvr", `Bearer realm="slipstream", error="invalid_token"`},
	} {
		for method, url := range map[string]string{"POST": w.whep, "GET": w.whep, "PATCH": w.whep + "/x", "DELETE": w.whep + "/x"} {
			res := ask(t, method, url, offer, "Content-Type", "application/sdp", "Authorization", c.shown)
			if res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") != c.says {
				t.Errorf("%s by %s: %s %q", c.name, method, res.Status, res.Header.Get("WWW-Authenticate"))
			}
			if method == "GET" {
				break // wrong tokens of one address are counted
			}
		}
	}
	if res := ask(t, "OPTIONS", w.whep, ""); res.StatusCode != http.StatusOK {
		t.Errorf("OPTIONS: %s", res.Status)
	}
}

func TestTokenLetsIn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "viewers")
	secret, err := viewers.Add(file, "nvr")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *gateway.Config) { c.Public, c.Viewers, c.Secret = false, file, "the-device's-own-secret" })
	newFake(t, w)
	for _, shown := range []string{"Bearer " + secret, "bearer  " + secret, "Bearer the-device's-own-secret"} {
		res := ask(t, "POST", w.whep, newOffer(t, newPeer(t)), "Content-Type", "application/sdp", "Authorization", shown)
		if res.StatusCode != http.StatusCreated {
			t.Errorf("POST: %s", res.Status)
			continue
		}
		session := strings.TrimSuffix(w.whep, "/whep/main") + res.Header.Get("Location")
		if res := ask(t, "DELETE", session, ""); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("DELETE without a token: %s", res.Status)
		}
		if res := ask(t, "DELETE", session, "", "Authorization", shown); res.StatusCode != http.StatusOK {
			t.Errorf("DELETE: %s", res.Status)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		public       bool
		allowed      []string
		host, origin string
		want         string // Access-Control-Allow-Origin
		refused      bool
	}{
		{"public, any page", true, nil, "", "https://page.example", "*", false},
		{"public, no page", true, nil, "", "", "*", false},
		{"not public, no page", false, nil, "", "", "", false},
		{"not public, another's page", false, nil, "", "https://page.example", "", true},
		{"not public, the device's own page", false, nil, "cam.lan:8889", "http://cam.lan", "http://cam.lan", false},
		{"not public, the device's own page by IPv6", false, nil, "[fe80::1]:8889", "http://[fe80::1]:8080", "http://[fe80::1]:8080", false},
		{"not public, a page that only looks like the device's", false, nil, "cam.lan:8889", "http://cam.lan.page.example", "", true},
		{"a page from a file", false, nil, "", "null", "", true},
		{"one that is named", false, []string{"https://page.example"}, "", "https://page.example", "https://page.example", false},
		{"its other port", false, []string{"https://page.example"}, "", "https://page.example:8443", "", true},
		{"public, and one is named: no other", true, []string{"https://page.example"}, "", "https://other.example", "", true},
		{"all are named", false, []string{"*"}, "", "https://page.example", "*", false},
	} {
		w := newWorld(t, func(cfg *gateway.Config) { cfg.Public, cfg.Origins = c.public, c.allowed })
		for _, method := range []string{"OPTIONS", "DELETE"} {
			headers := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}
			if c.host != "" {
				headers = append(headers, "Host", c.host)
			}
			if c.origin != "" {
				headers = append(headers, "Origin", c.origin)
			}
			res := ask(t, method, w.whep+"/x", "", headers...)
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != c.want || (res.StatusCode == http.StatusForbidden) != c.refused || res.Header.Get("Vary") != "Origin" {
				t.Errorf("%s: %s: %s, allowed %q, %v", c.name, method, res.Status, got, res.Header)
			}
			if allowed := res.Header.Get("Access-Control-Allow-Headers"); method == "OPTIONS" && !c.refused && !strings.Contains(allowed, "Authorization") {
				t.Errorf("%s: headers %q", c.name, allowed)
			}
			if res.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: cookies are allowed", c.name)
			}
		}
	}
}

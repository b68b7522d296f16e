package auth_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"slipstream/adminpanel/auth"
)

// The codes are good here, so that nothing but the cookie and the state can refuse them.
func TestGoodCodesComeWithTheirOwnState(t *testing.T) {
	p := startProvider(t, nil)
	p.directory.set("id-cid", "video-leads")
	for name, spoil := range map[string]func(*http.Request, *http.Cookie) *http.Cookie{
		"another state": func(r *http.Request, c *http.Cookie) *http.Cookie {
			q := r.URL.Query()
			q.Set("state", strings.Repeat("a", len(q.Get("state"))))
			r.URL.RawQuery = q.Encode()
			return c
		},
		"a cookie that leads elsewhere": func(_ *http.Request, c *http.Cookie) *http.Cookie {
			text, mac, _ := strings.Cut(c.Value, ".")
			raw, err := base64.RawURLEncoding.DecodeString(text)
			other := strings.Replace(string(raw), `"next":"/"`, `"next":"//evil.example"`, 1)
			if err != nil || other == string(raw) {
				t.Fatalf("the cookie says %s, %v", raw, err)
			}
			return &http.Cookie{Name: c.Name, Value: base64.RawURLEncoding.EncodeToString([]byte(other)) + "." + mac}
		},
	} {
		good, bad := p.freshCode(func(url.Values) {}), p.freshCode(func(url.Values) {})
		if _, _, err := p.oidc.Finish(good); err != nil {
			t.Errorf("unspoilt: %v", err)
		}
		cookie := spoil(bad, bad.Cookies()[0])
		bad.Header.Del("Cookie")
		bad.AddCookie(cookie)
		if _, _, err := p.oidc.Finish(bad); err == nil {
			t.Errorf("%s was taken", name)
		} else {
			expect(t, err, auth.ErrWrong)
		}
	}
}

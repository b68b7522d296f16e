package auth_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
)

// guarded answers 204, or the status of the refusal.
func guarded(a *auth.Auth) http.Handler {
	return a.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		func(w http.ResponseWriter, _ *http.Request, err error) {
			if e, ok := errors.AsType[*auth.Error](err); ok {
				http.Error(w, e.Detail, e.Status)
			}
		})
}

func TestTheGuard(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Hosts = []string{"Panel.example", "[2001:db8::5]", "192.0.2.80"} })
	h := guarded(p.Auth)
	for _, row := range []struct {
		name, method, url, body string
		headers                 map[string]string
		want                    int
	}{
		{"a page's read", "GET", "https://panel.example/api/v1/devices", "", map[string]string{"Sec-Fetch-Site": "same-origin"}, 204},
		{"a link elsewhere", "GET", "https://panel.example/", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 204},
		{"a page's write", "POST", "https://panel.example/api/v1/sessions", "{}", map[string]string{"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json; charset=utf-8"}, 204},
		{"a program's write", "POST", "https://panel.example/api/v1/sessions", "{}", map[string]string{"Content-Type": "application/json"}, 204},
		{"no body", "POST", "https://panel.example/api/v1/devices/cam-1/activate", "", nil, 204},
		{"another site's write", "POST", "https://panel.example/api/v1/sessions", "{}", map[string]string{"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}, 403},
		{"a sibling's write", "DELETE", "https://panel.example/api/v1/devices/cam-1", "", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another origin's write in an old browser", "POST", "https://panel.example/api/v1/devices/cam-1/activate", "", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a form", "POST", "https://panel.example/api/v1/sessions", "a=b", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"a form's text", "POST", "https://panel.example/api/v1/sessions", "{}", map[string]string{"Content-Type": "text/plain"}, 415},
		{"a body of no type", "POST", "https://panel.example/api/v1/sessions", "{}", nil, 415},
		{"a broken type", "POST", "https://panel.example/api/v1/sessions", "{}", map[string]string{"Content-Type": "application/json;;"}, 415},
		{"JSON for an unknown route", "POST", "https://panel.example/x", "{}", map[string]string{"Content-Type": "application/json"}, 204},
		{"bytes for an unknown route", "POST", "https://panel.example/x", "{}", map[string]string{"Content-Type": "application/octet-stream"}, 415},
		{"an upload", "PATCH", "https://panel.example/api/v1/uploads/7", "x", map[string]string{"Content-Type": "application/offset+octet-stream"}, 204},
		{"an upload as JSON", "PATCH", "https://panel.example/api/v1/uploads/7", "x", map[string]string{"Content-Type": "application/json"}, 415},
		{"a package", "POST", "https://panel.example/api/v1/releases", "x", map[string]string{"Content-Type": "application/octet-stream"}, 204},
		{"an offer of video", "POST", "https://panel.example/api/v1/devices/cam-1/whep/main", "v=0", map[string]string{"Content-Type": "application/sdp"}, 204},
		{"another name", "GET", "https://evil.example/", "", nil, 421},
		{"no name", "GET", "https:///", "", nil, 421},
		{"a name with ours in it", "GET", "https://panel.example.evil.example/", "", nil, 421},
		{"a rebound name", "GET", "https://127.0.0.1.evil.example/", "", nil, 421},
		{"loopback of a panel with TLS", "GET", "https://127.0.0.1/", "", nil, 421},
		{"a port", "GET", "https://PANEL.example:8443/", "", nil, 204},
		{"a dot at the end", "GET", "https://panel.example./", "", nil, 204},
		{"an address", "GET", "https://192.0.2.80:8443/", "", nil, 204},
		{"an address of IPv6", "GET", "https://[2001:db8::5]:8443/", "", nil, 204},
	} {
		r := httptest.NewRequest(row.method, row.url, strings.NewReader(row.body))
		if row.name == "no name" {
			r.Host = ""
		}
		for name, value := range row.headers {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != row.want {
			t.Errorf("%s: %d, want %d", row.name, w.Code, row.want)
		}
	}
}

func TestABodyOfUnknownLengthHasAType(t *testing.T) {
	t.Parallel()
	p := start(t)
	r := request("POST", "/api/v1/sessions")
	r.ContentLength, r.TransferEncoding = 0, []string{"chunked"}
	w := httptest.NewRecorder()
	guarded(p.Auth).ServeHTTP(w, r)
	if w.Code != 415 {
		t.Errorf("%d", w.Code)
	}
}

func TestPlainPanelsAnswerToLoopback(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Plain, c.Hosts = true, nil })
	for host, want := range map[string]int{"localhost:8080": 204, "127.0.0.1": 204, "[::1]:80": 204, "127.9.9.9:1": 204, "192.0.2.7": 421, "evil.example": 421, "localhost.evil.example": 421} {
		r := request("GET", "/")
		r.Host = host
		w := httptest.NewRecorder()
		guarded(p.Auth).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
	if _, err := auth.New(p.store, audit.New(p.store), auth.Config{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a panel with TLS and without a name was made")
	}
}

func TestAProxyIsBelievedIfItIsOurs(t *testing.T) {
	t.Parallel()
	p := start(t, func(c *auth.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for _, row := range []struct {
		remote, said, want string
	}{
		{"192.0.2.7:1", "", "192.0.2.7"},
		{"192.0.2.7:1", "198.51.100.1", "192.0.2.7"}, // anybody can say that
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"}, // what it was told is not ours
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1, nonsense", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "2001:db8::1", "2001:db8::1"},
		{"@", "198.51.100.1", "@"},
	} {
		r := request("GET", "/")
		r.RemoteAddr = row.remote
		r.Header.Set("X-Forwarded-For", row.said)
		if got := p.From(r); got != row.want {
			t.Errorf("%s saying %q is %s, want %s", row.remote, row.said, got, row.want)
		}
	}
}

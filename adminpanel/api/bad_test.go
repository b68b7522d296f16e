package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
)

// What nobody should send is refused by a problem that says where it is wrong, changes
// nothing, and is answered to the next request as if it had not been.
func TestBadInput(t *testing.T) {
	v := newVendor(t)
	w := newWorld(t, v.judged(t.TempDir()), takesDevices(t))
	rel := w.release(v.pack("2.0.0"))
	before := w.lines()
	account := `"name":"eve","password":"long enough a secret","grants":[{"role":"viewer"}]`
	plan := fmt.Sprintf(`"release":%q,"selector":"","waves":[{}],"maxUnavailable":1,"successPercent":90,"failPercent":5,"trialDeadlineMs":60000,"onFailure":"halt"`, rel.ID)
	for name, c := range map[string]struct {
		route, body string
		status      int
		code, where string
	}{
		"an unknown field":               {"POST /accounts", `{` + account + `,"admin":true}`, 422, "invalid", "body.admin"},
		"an unknown field deep inside":   {"POST /rollouts", `{` + plan + `,"activation":"waves","windows":[{"days":["mon"],"from":"01:00","to":"02:00","zone":"UTC"}]}`, 422, "invalid", "body.windows[0].zone"},
		"a field in other letters":       {"POST /sessions", `{"NAME":"ann","password":"x"}`, 422, "invalid", "body.NAME"},
		"a missing field":                {"POST /accounts", `{"name":"eve","grants":[]}`, 422, "invalid", "body"},
		"a number for a text":            {"POST /sessions", `{"name":5,"password":"x"}`, 422, "invalid", "body.name"},
		"a text for a number":            {"POST /uploads", `{"name":"x","size":"5"}`, 422, "invalid", "body.size"},
		"a number that is not whole":     {"POST /uploads", `{"name":"x","size":5.5}`, 422, "invalid", "body.size"},
		"a number beyond all":            {"POST /uploads", `{"name":"x","size":1e400}`, 400, "bad-json", ""},
		"a list for an object":           {"POST /sessions", `[]`, 422, "invalid", "body"},
		"null for an object":             {"POST /sessions", `null`, 422, "invalid", "body"},
		"no body":                        {"POST /sessions", ``, 400, "bad-json", ""},
		"half a body":                    {"POST /sessions", `{"name":"ann"`, 400, "bad-json", ""},
		"two bodies":                     {"POST /sessions", `{"name":"ann","password":"x"}{}`, 400, "bad-json", ""},
		"no text at all":                 {"POST /sessions", "\x00\xff\xfe", 400, "bad-json", ""},
		"nested without end":             {"POST /sessions", strings.Repeat("[", 15_000), 400, "bad-json", ""},
		"a role that is none":            {"POST /accounts", `{"name":"eve","password":"long enough a secret","grants":[{"role":"root"}]}`, 422, "invalid", "body.grants[0].role"},
		"a selector that is none":        {"POST /accounts", `{"name":"eve","password":"long enough a secret","grants":[{"role":"viewer","selector":"colour:red"}]}`, 422, "invalid", "body.grants"},
		"a plan's selector that is none": {"POST /rollouts/preview", `{` + strings.Replace(plan, `"selector":""`, `"selector":"colour:red"`, 1) + `,"activation":"waves"}`, 422, "selector", "body.selector"},
		"a name that is a path":          {"POST /accounts", `{"name":"../ann","password":"long enough a secret","grants":[]}`, 422, "invalid", "body.name"},
		"a short password":               {"POST /accounts", `{"name":"eve","password":"short","grants":[]}`, 422, "invalid", "body.password"},
		"a plan without waves":           {"POST /rollouts", `{` + strings.Replace(plan, `[{}]`, `[]`, 1) + `,"activation":"waves"}`, 422, "invalid", "body.waves"},
		"a plan of no known release":     {"POST /rollouts", `{` + strings.Replace(plan, rel.ID, "nothing", 1) + `,"activation":"waves"}`, 409, "refused", ""},
		"a token of the past":            {"POST /tokens", `{"name":"x","grants":[{"role":"viewer"}],"until":"1970-01-01T00:00:00Z"}`, 422, "invalid", "body.until"},
		"a token of another century":     {"POST /tokens", `{"name":"x","grants":[{"role":"viewer"}],"until":"2399-01-01T00:00:00Z"}`, 422, "invalid", "body.until"},
		"a time that is none":            {"POST /enrolments", `{"uses":1,"until":"tomorrow"}`, 422, "invalid", "body.until"},
		"an upload of nothing":           {"POST /uploads", `{"name":"x","size":0}`, 422, "invalid", "body.size"},
		"a page before the first":        {"GET /audit?after=-3", "", 422, "invalid", "query.after"},
		"a page of millions":             {"GET /audit?limit=1000000", "", 422, "invalid", "query.limit"},
		"a phase that is none":           {"GET /rollouts/x/devices?phase=flying", "", 422, "invalid", "query.phase"},
		"an unknown parameter":           {"GET /releases?sort=up", "", 422, "invalid", "query.sort"},
	} {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(c.route, " ")
			var body any
			if method != "GET" {
				body = c.body
			}
			in := *w
			in.T = t
			p := in.call(method, path, body, signedIn(in.cookie)).fails(c.status, c.code)
			if c.where != "" && !slices.ContainsFunc(p.Errors, func(f view.Fault) bool { return f.Location == c.where }) {
				t.Errorf("it is told as %+v, and the fault is at %s", p, c.where)
			}
		})
	}
	if after := w.lines(); !slices.Equal(after, before) {
		t.Errorf("something was changed: %q", after[:len(after)-len(before)])
	}
}

// raw sends a request as it stands, and returns the status of the answer, which comes
// although the request does not end.
func (w *world) raw(request string) int {
	w.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		w.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

const post = "POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "

// A giant body is read no further than to its limit, and less far of who is not known.
func TestGiantBodies(t *testing.T) {
	w := newWorld(t)
	if got := w.raw(post + "1000000000\r\n\r\n" + strings.Repeat(" ", 16<<10+1)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a stranger's is answered %d", got)
	}
	known := strings.Replace(post, "sessions", "accounts", 1) + "1000000000\r\nAuthorization: Bearer " + w.ann + "\r\n\r\n"
	if got := w.raw(known + strings.Repeat(" ", 1<<20+1)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("hers is answered %d", got)
	}
}

// Who sends a body that does not end keeps nobody else out, and is answered before its end
// if it makes no difference.
func TestSlowClients(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, post+"50\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	w.call("GET", "/me", nil).is(200, nil)
	if got := w.raw(strings.Replace(post, "localhost", "elsewhere", 1) + "50\r\n\r\n{"); got != http.StatusMisdirectedRequest {
		t.Errorf("with another's name it is answered %d", got)
	}
}

// Forged cookies and tokens are nobody's, whatever is nearly right about them.
func TestForgedCredentials(t *testing.T) {
	w := newWorld(t)
	bob := w.person("bob", "admin")
	id, secret, _ := strings.Cut(strings.TrimPrefix(w.ann, "slpt_"), "_")
	other := w.token("carl", "viewer")
	for name, forge := range map[string]with{
		"a flipped letter of a secret": by("slpt_" + id + "_" + flipped(secret)),
		"another token's secret":       by("slpt_" + id + "_" + other[strings.LastIndex(other, "_")+1:]),
		"an id alone":                  by("slpt_" + id + "_"),
		"a token as a password":        header("Authorization", "Basic "+w.ann),
		"two tokens":                   func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+w.ann) },
		"a bad token beside a good cookie": func(r *http.Request) {
			r.AddCookie(bob)
			r.Header.Set("Authorization", "Bearer nothing")
		},
		"a flipped letter of a cookie": signedIn(&http.Cookie{Name: bob.Name, Value: flipped(bob.Value)}),
		"two cookies":                  func(r *http.Request) { nobody(r); r.AddCookie(bob); r.AddCookie(bob) },
		"a cookie of the store's key":  signedIn(&http.Cookie{Name: bob.Name, Value: strings.Repeat("0", 64)}),
		"a cookie without an end":      signedIn(&http.Cookie{Name: bob.Name, Value: strings.Repeat("A", 8000)}),
	} {
		t.Run(name, func(t *testing.T) {
			in := *w
			in.T = t
			in.call("GET", "/accounts", nil, forge).fails(401, "signed-out")
		})
	}
	w.call("GET", "/accounts", nil, signedIn(bob)).is(200, nil)
}

// flipped changes the first letter.
func flipped(text string) string {
	if text[0] == 'a' {
		return "b" + text[1:]
	}
	return "a" + text[1:]
}

// A refused login does not say whether there is such an account.
func TestLoginsAreRefusedAlike(t *testing.T) {
	w := newWorld(t)
	w.call("POST", "/sessions", view.Login{Name: "ann", Password: "wrong"}, nobody).fails(401, "wrong-login")
	w.call("POST", "/sessions", view.Login{Name: "nobody", Password: "wrong"}, nobody).fails(401, "wrong-login")
}

func TestLoginsAreSlowedDown(t *testing.T) {
	free, tight := auth.Limit{Every: time.Microsecond, Burst: 1 << 20}, auth.Limit{Every: time.Hour, Burst: 1}
	w := newWorld(t, (&world{T: t}).guarded(auth.Limits{LoginName: tight, LoginAddress: free, Token: free, Stranger: free}))
	w.call("POST", "/sessions", view.Login{Name: "ann", Password: "wrong"}, nobody).fails(401, "wrong-login")
	g := w.call("POST", "/sessions", view.Login{Name: "ann", Password: annPassword}, nobody)
	g.fails(429, "too-many")
	if g.header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	w.call("GET", "/me", nil).is(200, nil) // who is in is not kept out by that
}

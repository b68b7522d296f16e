package api_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/verify"
)

// door is where devices enrol, with the panel's own tokens.
type door struct {
	*world
	mux *http.ServeMux
}

// opens gives the panel an authority and a desk.
func (d *door) opens(t *testing.T) func(*api.Config) {
	d.mux = http.NewServeMux()
	return func(c *api.Config) {
		authority, err := ca.OpenStore(c.Store, "")
		if err != nil {
			t.Fatal(err)
		}
		tokens := enrol.NewTokens(c.Store, c.Audit, authority, "https://panel.example:8443", c.Log)
		c.Enrolments = tokens
		enrol.New(enrol.Config{Authority: authority, Tokens: tokens, Fleet: c.Fleet, Names: []string{"panel.example"}, Log: c.Log}).Register(d.mux)
	}
}

// knocks sends a device's request to enrol.
func (d *door) knocks(body []byte) got {
	answer := httptest.NewRecorder()
	d.mux.ServeHTTP(answer, httptest.NewRequest("POST", wire.EnrollPath, bytes.NewReader(body)))
	return got{w: d.world, what: "enrol", status: answer.Code, header: answer.Header(), body: answer.Body.Bytes()}
}

// enrols asks for a certificate with a key of its own.
func (d *door) enrols(token, device string) got {
	d.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		d.Fatal(err)
	}
	body, err := json.Marshal(wire.EnrollRequest{Token: token, Device: device, CSR: csr})
	if err != nil {
		d.Fatal(err)
	}
	return d.knocks(body)
}

// kept is everything in the store but the audit, which is asked for its lines.
func (w *world) kept() map[string]string {
	w.Helper()
	all := map[string]string{}
	_, err := store.All(w.Context(), w.cfg.Store, "", func(item store.Item) error {
		if !strings.HasPrefix(item.Key, "a/") && item.Key != "meta/audit" {
			all[item.Key] = string(item.Value)
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// Whatever is wrong with what comes in, the panel says so in a problem document, keeps what it
// has, and tells the audit where somebody has brought what they should not.
func TestWhatIsRefusedChangesNothing(t *testing.T) {
	v, d := newVendor(t), &door{}
	d.world = newWorld(t, v.judged(t.TempDir()), d.opens(t))
	w := d.world
	w.enrol("north", "cam-1", "cam-2")
	w.eventually("both are there", func() bool { return w.cfg.Fleet.Table().Len() == 2 })
	slip := v.pack("2.0.0")
	rel := w.release(slip)
	bob := w.person("bob", "viewer")
	w.call("GET", "/me", nil, signedIn(bob)).is(200, nil)
	r := w.rollout(planOf(rel.ID, "site:north"))
	var batch, named, spent view.Enrolment
	for one, ask := range map[*view.Enrolment]view.EnrolmentRequest{&batch: {Uses: 9}, &named: {Uses: 1, Device: "cam-7"}, &spent: {Uses: 1}} {
		ask.Until = time.Now().Add(time.Hour)
		w.call("POST", "/enrolments", ask).is(201, one)
	}
	d.enrols(spent.Text, "cam-8").is(200, nil)
	var up view.Upload
	w.call("POST", "/uploads", view.UploadRequest{Name: "y.slip", Size: 9000}).is(201, &up)
	w.call("PATCH", "/uploads/"+up.ID, slip[:4000], header("Content-Type", "application/offset+octet-stream"), header("Upload-Offset", "0")).is(200, nil)

	send := func(route string, body any, changes ...with) func() got {
		method, path, _ := strings.Cut(route, " ")
		return func() got { return w.call(method, path, body, changes...) }
	}
	token := func(token, device string) func() got { return func() got { return d.enrols(token, device) } }
	flipped := bytes.Clone(slip)
	flipped[len(flipped)-1100] ^= 1
	whatever := header("If-Match", "*")
	const patch, pieces = "PATCH /devices/cam-1", "application/offset+octet-stream"
	for name, c := range map[string]struct {
		does   func() got
		status int
		code   string
		told   string // the audit's line; "": none
	}{
		"an unknown field":                   {send(patch, `{"colour":"red"}`, whatever), 422, "invalid", ""},
		"a number for a name":                {send(patch, `{"name":7}`, whatever), 422, "invalid", ""},
		"a wrong type":                       {send(patch, `{"tags":"door"}`, whatever), 422, "invalid", ""},
		"no JSON":                            {send(patch, "\xff\xfe", whatever), 400, "bad-json", ""},
		"a giant body":                       {send(patch, `{"note":"`+strings.Repeat("x", 1<<20)+`"}`, whatever), 413, "too-large", ""},
		"a time zone that is none":           {send(patch, `{"zone":"Mars/Olympus"}`, whatever), 422, "invalid", ""},
		"an older revision":                  {send(patch, `{"name":"x"}`, rev("1")), 412, "changed", ""},
		"no revision":                        {send(patch, `{"name":"x"}`), 428, "no-revision", ""},
		"an unknown device":                  {send("PATCH /devices/cam-9", `{"name":"x"}`, whatever), 404, "no-device", ""},
		"a role too low":                     {send(patch, `{"name":"x"}`, whatever, signedIn(bob)), 403, "forbidden", ""},
		"a forged cookie":                    {send(patch, `{"name":"x"}`, whatever, signedIn(&http.Cookie{Name: bob.Name, Value: flippedLast(bob.Value)})), 401, "signed-out", ""},
		"a forged token":                     {send(patch, `{"name":"x"}`, whatever, by(flippedLast(w.ann))), 401, "signed-out", ""},
		"a stranger":                         {send(patch, `{"name":"x"}`, whatever, nobody), 401, "signed-out", ""},
		"another site's page":                {send(patch, `{"name":"x"}`, whatever, signedIn(w.cookie), header("Sec-Fetch-Site", "cross-site")), 403, "cross-origin", ""},
		"a token for 1970":                   {send("POST /tokens", `{"name":"x","grants":[{"role":"viewer"}],"until":"1970-01-01T00:00:00Z"}`, signedIn(w.cookie)), 422, "invalid", ""},
		"an enrolment until 2399":            {send("POST /enrolments", `{"uses":1,"until":"2399-01-01T00:00:00Z"}`), 422, "invalid", ""},
		"a verb of an older page":            {send("POST /rollouts/"+r.ID+"/start", view.RolloutVerb{}, rev("1")), 412, "changed", ""},
		"a verb that makes no sense":         {send("POST /rollouts/"+r.ID+"/resume", view.RolloutVerb{}, whatever), 409, "state", ""},
		"a release that is none":             {send("POST /devices/cam-1/stage", view.StageRequest{Release: strings.Repeat("0", 32)}), 409, "refused", ""},
		"a piece at another place":           {send("PATCH /uploads/"+up.ID, "x", header("Content-Type", pieces), header("Upload-Offset", "7")), 409, "offset", ""},
		"a piece that is too long":           {send("PATCH /uploads/"+up.ID, slip[:5001], header("Content-Type", pieces), header("Upload-Offset", "4000")), 413, "too-large", ""},
		"the end of half an upload":          {send("POST /uploads/"+up.ID+"/finish", "{}"), 409, "not-whole", ""},
		"a package of another vendor":        {send("POST /releases", newVendor(t).pack("2.0.0"), bytesOf), 422, verify.CodeUntrusted, "release.refuse"},
		"a package that was changed":         {send("POST /releases", flipped, bytesOf), 422, verify.CodeCorrupt, "release.refuse"},
		"half a package":                     {send("POST /releases", slip[:len(slip)-512], bytesOf), 422, verify.CodeTruncated, "release.refuse"},
		"no package":                         {send("POST /releases", bytes.Repeat([]byte("none "), 400), bytesOf), 422, verify.CodeNotPackage, "release.refuse"},
		"an enrolment again, by another key": {token(spent.Text, "cam-8"), 403, wire.CodeUsedToken, ""},
		"an enrolment again, as another":     {token(spent.Text, "cam-9"), 403, wire.CodeUsedToken, ""},
		"an enrolment by another's name":     {token(batch.Text, "cam-1"), 409, wire.CodeTakenName, ""},
		"an enrolment by another's token":    {token(named.Text, "cam-6"), 403, wire.CodeOtherDevice, ""},
		"an enrolment with a forged token":   {token(forged(t, batch.Text), "cam-6"), 403, wire.CodeBadToken, ""},
		"an enrolment without a key":         {func() got { return d.knocks([]byte(`{"token":"` + batch.Text + `","device":"cam-6"}`)) }, 400, wire.CodeBadRequest, ""},
		"an enrolment of nonsense":           {func() got { return d.knocks([]byte("\xff")) }, 400, wire.CodeBadRequest, ""},
		"an enrolment without end":           {func() got { return d.knocks(make([]byte, wire.MaxEnrollment+1)) }, 413, wire.CodeBadRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before, told := w.kept(), w.lines()
			g := c.does()
			var p view.Problem
			if err := json.Unmarshal(g.body, &p); err != nil || g.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("no problem: %d %s", g.status, g.body)
			}
			if g.status != c.status || p.Status != c.status || p.Code != c.code || p.Detail == "" {
				t.Errorf("%d %s, want %d %s", g.status, g.body, c.status, c.code)
			}
			if after := w.kept(); !maps.Equal(after, before) {
				t.Errorf("it changed %q", changed(before, after))
			}
			now := w.lines()
			if now = now[:len(now)-len(told)]; strings.Join(now, " ") != c.told {
				t.Errorf("the audit tells of it %q, want %q", now, c.told)
			}
		})
	}
}

// forged is a token of another secret.
func forged(t *testing.T, text string) string {
	token, err := wire.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	token.Secret = strings.Repeat("A", len(token.Secret))
	return token.String()
}

func flippedLast(text string) string {
	last := "a"
	if strings.HasSuffix(text, last) {
		last = "b"
	}
	return text[:len(text)-1] + last
}

// changed are the keys that differ.
func changed(before, after map[string]string) (keys []string) {
	for key := range maps.Keys(before) {
		if after[key] != before[key] {
			keys = append(keys, key)
		}
	}
	for key := range maps.Keys(after) {
		if _, ok := before[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

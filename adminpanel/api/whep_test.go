package api_test

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/live"
	"slipstream/agent/wire"
)

func TestWatchingADevice(t *testing.T) {
	w := newWorld(t)
	c := w.link("north", "cam-1")
	sdp := header("Content-Type", "application/sdp")
	bob := by(w.token("bob", "viewer site:north"))
	g := w.call("POST", "/devices/cam-1/whep/main", "v=0 offer", sdp, bob)
	session := g.header.Get("Location")
	if g.status != 201 || string(g.body) != "v=0 answer to v=0 offer" || g.header.Get("Content-Type") != "application/sdp" ||
		session != "/api/v1/devices/cam-1/whep/main/s1" {
		t.Fatalf("%d %v %s", g.status, g.header, g.body)
	}
	session = strings.TrimPrefix(session, "/api/v1")
	g = w.call("PATCH", session, "a=candidate", header("Content-Type", "application/trickle-ice-sdpfrag"), bob)
	if g.fails(405, "no-trickle"); g.header.Get("Allow") != "DELETE" {
		t.Errorf("it allows %q", g.header.Get("Allow"))
	}
	if asks := c.asked(); len(asks) != 2 || asks[1].TellWHEP == nil {
		t.Errorf("the device was asked %+v", asks)
	}
	if g := w.call("DELETE", session, nil, bob); g.status != 204 {
		t.Errorf("%d %s", g.status, g.body)
	}
	if asks := c.asked(); len(asks) != 3 || asks[2].EndWHEP == nil || asks[2].EndWHEP.Session != "main/s1" {
		t.Errorf("the device was asked %+v", asks)
	}

	eve := by(w.token("eve", "viewer site:south"))
	w.call("POST", "/devices/cam-1/whep/main", "v=0", sdp, eve).fails(404, "no-device")
	w.call("DELETE", session, nil, eve).fails(404, "no-device")
	w.call("PATCH", session, nil, eve).fails(404, "no-device")
	w.call("POST", "/devices/cam-1/whep/main", "{}").fails(415, "wrong-type")
	w.call("POST", "/devices/cam-1/whep/ma%20in", "v=0", sdp).fails(422, "invalid")
	w.call("POST", "/devices/cam-1/whep/main?via=moon", "v=0", sdp).fails(422, "invalid")
	w.call("POST", "/devices/cam-1/whep/main?via=panel", "v=0", sdp).fails(501, "not-set-up")
	w.call("POST", "/devices/cam-1/whep/main", strings.Repeat("v", wire.MaxOffer+1), sdp).fails(413, "too-large")
	w.call("DELETE", "/devices/cam-1/whep/main/..%2f..", nil).fails(404, "no-session")
	c.away()
	w.call("POST", "/devices/cam-1/whep/main", "v=0", sdp).fails(503, "device-offline")
}

// A device that says what cannot be a path gives no link to follow.
func TestAWrongAnswerToAnOffer(t *testing.T) {
	w := newWorld(t)
	w.link("north", "cam-1", func(c *cam) { c.session = "../../sessions/current?" })
	w.call("POST", "/devices/cam-1/whep/main", "v=0", header("Content-Type", "application/sdp")).fails(502, "bad-answer")
}

// Who may watch is told of the servers by which he comes to the panel's relay, by the name
// by which he knows the panel; for the way to the device itself there are none.
func TestServersForICE(t *testing.T) {
	for _, test := range []struct{ at, link string }{
		{"", `^<turn:127\.0\.0\.1:[0-9]+\?transport=tcp>; rel="ice-server"; username="[0-9]+\.[A-Z2-7]+"; credential="[A-Za-z0-9_-]{43}"; credential-type="password"$`},
		{"panel.example.com:443", `^<turn:panel\.example\.com:443\?transport=tcp>; `},
	} {
		t.Run(test.at, func(t *testing.T) {
			var relay *live.Live
			w := newWorld(t, func(c *api.Config) {
				var err error
				if relay, err = live.New(live.Config{Asker: c.Hub, Media: "127.0.0.1:8190", TURN: "127.0.0.1:0", TURNAt: test.at, Log: slog.New(slog.DiscardHandler)}); err != nil {
					t.Fatal(err)
				}
				c.Live = relay
			})
			t.Cleanup(relay.Close)
			w.link("north", "cam-1")
			bob, eve := by(w.token("bob", "viewer site:north")), by(w.token("eve", "viewer site:south"))
			g := w.call("OPTIONS", "/devices/cam-1/whep/main?via=panel", nil, bob)
			if link := g.header.Get("Link"); g.status != 204 || !regexp.MustCompile(test.link).MatchString(link) || g.header.Get("Accept-Post") != "application/sdp" {
				t.Errorf("%d, %v", g.status, g.header)
			}
			if again := w.call("OPTIONS", "/devices/cam-1/whep/main?via=panel", nil, bob).header.Get("Link"); again == g.header.Get("Link") {
				t.Error("a pass is given twice")
			}
			for what, g := range map[string]got{
				"by the device": w.call("OPTIONS", "/devices/cam-1/whep/main", nil, bob),
				"a stranger":    w.call("OPTIONS", "/devices/cam-1/whep/main?via=panel", nil, eve),
				"an offer":      w.call("POST", "/devices/cam-1/whep/main", "v=0", header("Content-Type", "application/sdp"), bob),
			} {
				if link := g.header.Get("Link"); link != "" {
					t.Errorf("%s: %d, %q", what, g.status, link)
				}
			}
			w.call("OPTIONS", "/devices/cam-1/whep/main?via=panel", nil, eve).fails(404, "no-device")
		})
	}
}

// What a browser tells of its session's ICE comes to the device as it is, and the gateway's
// word comes back: 204 for candidates, 200 for another ICE session, or why not.
func TestTellingOfASession(t *testing.T) {
	w := newWorld(t)
	c := w.link("north", "cam-1", func(c *cam) { c.tag = `"1"` })
	g := w.call("POST", "/devices/cam-1/whep/main", "v=0", header("Content-Type", "application/sdp"))
	const kind = "application/trickle-ice-sdpfrag"
	if g.header.Get("ETag") != `"1"` || g.header.Get("Accept-Patch") != kind {
		t.Fatalf("%d %v", g.status, g.header)
	}
	session := strings.TrimPrefix(g.header.Get("Location"), "/api/v1")
	tell := func(told wire.WHEPTold) got {
		c.mu.Lock()
		c.told = told
		c.mu.Unlock()
		return w.call("PATCH", session, "a=candidate:1", header("Content-Type", kind), header("If-Match", `"1"`))
	}
	if g := tell(wire.WHEPTold{Status: 204}); g.status != 204 || len(g.body) > 0 {
		t.Errorf("%d %s", g.status, g.body)
	}
	if got := c.asked()[1].TellWHEP; *got != (wire.TellWHEP{Session: "main/s1", Match: `"1"`, Fragment: "a=candidate:1"}) {
		t.Errorf("the device was told %+v", got)
	}
	if g := tell(wire.WHEPTold{Status: 200, Tag: `"2"`, Body: "a=ice-lite\r\n"}); g.status != 200 || g.header.Get("ETag") != `"2"` ||
		g.header.Get("Content-Type") != kind || string(g.body) != "a=ice-lite\r\n" {
		t.Errorf("%d %v %s", g.status, g.header, g.body)
	}
	for status, want := range map[int]struct {
		status int
		code   string
	}{
		400: {400, "invalid"}, 404: {404, "no-session"}, 410: {410, "session-over"}, 412: {412, "changed"}, 428: {428, "changed"},
		429: {503, "not-now"}, 503: {503, "not-now"}, 200: {502, "bad-answer"}, 302: {502, "bad-answer"}, 500: {502, "bad-answer"},
	} {
		if g := tell(wire.WHEPTold{Status: status, Body: "because"}); want.code != "bad-answer" && !strings.Contains(string(g.body), "because") {
			t.Errorf("%d: %s", status, g.body)
		} else {
			g.fails(want.status, want.code)
		}
	}
	w.call("PATCH", session, "a", header("Content-Type", kind), header("If-Match", strings.Repeat("x", wire.MaxTag+1))).fails(422, "invalid")
	w.call("PATCH", session, strings.Repeat("a", wire.MaxFragment+1), header("Content-Type", kind)).fails(413, "too-large")
	w.call("PATCH", "/devices/cam-1/whep/main/..%2f..", "a", header("Content-Type", kind)).fails(404, "no-session")
}

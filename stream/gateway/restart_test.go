package gateway_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/webrtc/v3"
)

const fragmentType = "application/trickle-ice-sdpfrag"

// patch sends a fragment to a session.
func patch(t *testing.T, url, kind, match, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// ofSDP takes the ICE attributes out of a description.
func ofSDP(text string) (fragment, ufrag, pwd string) {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\r\n") {
		for _, key := range []string{"a=group:", "m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"} {
			if strings.HasPrefix(line, key) {
				b.WriteString(line + "\r\n")
			}
		}
	}
	return b.String(), attributeOf(text, "ice-ufrag"), attributeOf(text, "ice-pwd")
}

func attributeOf(text, key string) string {
	m := regexp.MustCompile(`a=` + key + `:(\S+)`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// restart begins a new ICE session, with new sockets, and returns its entity tag.
func (v *viewer) restart(t *testing.T) string {
	t.Helper()
	offer, err := v.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	body, _, _ := ofSDP(v.pc.LocalDescription().SDP)
	res, answer := patch(t, v.location, fragmentType, "*", body)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != fragmentType || res.Header.Get("ETag") == "" {
		t.Fatalf("restart: %s %v %s", res.Status, res.Header, answer)
	}
	_, ufrag, pwd := ofSDP(answer)
	if ufrag == attributeOf(v.answer, "ice-ufrag") || ufrag == "" || pwd == "" {
		t.Fatalf("credentials after a restart:\n%s", answer)
	}
	if !strings.Contains(answer, "a=ice-lite\r\n") || !strings.Contains(answer, "m=video ") || !strings.Contains(answer, "a=candidate:") || !strings.Contains(answer, "a=mid:") {
		t.Errorf("fragment:\n%s", answer)
	}
	v.answer = strings.ReplaceAll(v.answer, "a=ice-ufrag:"+attributeOf(v.answer, "ice-ufrag"), "a=ice-ufrag:"+ufrag)
	v.answer = strings.ReplaceAll(v.answer, "a=ice-pwd:"+attributeOf(v.answer, "ice-pwd"), "a=ice-pwd:"+pwd)
	v.enter(t)
	return res.Header.Get("ETag")
}

// A viewer restarts ICE, goes on at other addresses, and loses nothing but what was
// on its way.
func TestICERestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forward(t)
	w.publish(t)
	v := join(t, w.whep)
	v.pass(t, 5)
	first := v.tag
	for range 2 {
		before := v.tag
		if v.tag = v.restart(t); v.tag == before || v.tag == first {
			t.Errorf("entity tag %s after %s", v.tag, before)
		}
		w.log.await(t, "ICE restarted")
		w.log.await(t, "viewer moved")
		w.log.forget()
		v.forget()
		v.pass(t, 30)
	}
	// What belongs to a session that is over is not taken.
	body, _, _ := ofSDP(v.pc.LocalDescription().SDP)
	if res, _ := patch(t, v.location, fragmentType, first, body); res.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("an old entity tag: %s", res.Status)
	}
	if res, body := patch(t, v.location, fragmentType, v.tag, body); res.StatusCode != http.StatusNoContent || body != "" || res.Header.Get("ETag") != "" {
		t.Errorf("candidates: %s %v %q", res.Status, res.Header, body)
	}
	v.forget()
	v.pass(t, 30)
	if s := v.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
		t.Errorf("connection is %v", s)
	}
	if n := w.viewers(t); n != 1 {
		t.Errorf("the forwarder has %d viewers", n)
	}
}

func TestFragmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFake(t, w)
	v := knock(t, w.whep)
	good, ufrag, pwd := ofSDP(v.pc.LocalDescription().SDP)
	other := strings.NewReplacer(ufrag, "anotherUfrag", pwd, "anotherPasswordOfThisViewer").Replace(good)
	for _, c := range []struct {
		name, kind, match, body string
		status                  int
		says                    string
	}{
		{"another type", "application/sdp", "*", good, 415, fragmentType},
		{"no entity tag", fragmentType, "", good, 428, "If-Match"},
		{"a foreign entity tag", fragmentType, `"x"`, good, 412, "over"},
		{"nothing", fragmentType, "*", "", 400, "no ice-ufrag"},
		{"no fragment", fragmentType, "*", "hello", 400, "line 1"},
		{"more than 16 KiB", fragmentType, "*", good + strings.Repeat("a=x\r\n", 4000), 413, "16 KiB"},
		{"too many lines", fragmentType, "*", good + strings.Repeat("a=x\r\n", 300), 400, "256 lines"},
		{"a restart before there is a connection", fragmentType, "*", other, 503, "not connected yet"},
		{"a list of entity tags", fragmentType, `"x", ` + v.tag, good, 204, ""},
		{"the draft's asterisk", fragmentType, `"*"`, good, 204, ""},
	} {
		res, body := patch(t, v.location, c.kind, c.match, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Count(body, "\n") > 1 {
			t.Errorf("%s: %s %q; want %d and %q", c.name, res.Status, body, c.status, c.says)
		}
	}
	if res, _ := patch(t, strings.Replace(v.location, "/main/", "/sub/", 1), fragmentType, "*", good); res.StatusCode != http.StatusNotFound {
		t.Errorf("another stream's session: %s", res.Status)
	}

	// A forwarder that does not take it: the session before goes on.
	v.enter(t)
	f.viewer()
	f.change(func() { f.refusal = "not now" })
	res, body := patch(t, v.location, fragmentType, "*", other)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "could not be restarted") {
		t.Errorf("a refused restart: %s %q", res.Status, body)
	}
	if asked := f.moved(); asked.Moved.ICE == nil || asked.Moved.ICE.RemoteUfrag != "anotherUfrag" || asked.socket >= 0 {
		t.Errorf("the forwarder was asked %+v", asked.Moved)
	}
	if res, _ := patch(t, v.location, fragmentType, v.tag, good); res.StatusCode != http.StatusNoContent {
		t.Errorf("candidates of the session before: %s", res.Status)
	}
	f.change(func() { f.refusal = "" })
	if res, _ := patch(t, v.location, fragmentType, v.tag, other); res.StatusCode != http.StatusOK {
		t.Errorf("the restart, again: %s", res.Status)
	}
}

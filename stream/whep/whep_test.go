package whep_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipstream/stream/whep"
)

func gateway(t *testing.T, h http.HandlerFunc) *whep.Client {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return whep.New(strings.TrimPrefix(s.URL, "http://"), "s3cret")
}

func TestTheGatewayIsAskedByWHEP(t *testing.T) {
	var seen []string
	g := gateway(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization")+" "+string(body))
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "/whep/main/id-1")
			w.Header().Set("ETag", `"t-1"`)
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, "v=0 answer")
		}
		if r.Method == http.MethodPatch {
			w.Header().Set("ETag", `"t-2"`)
			io.WriteString(w, "a=y")
		}
	})
	answer, session, tag, err := g.WHEP(t.Context(), "main", []byte("v=0 offer"))
	if err != nil || string(answer) != "v=0 answer" || session != "main/id-1" || tag != `"t-1"` {
		t.Errorf("got %q, %q, %q, %v", answer, session, tag, err)
	}
	status, tag, answer, err := g.TellWHEP(t.Context(), session, `"t-1"`, []byte("a=x"))
	if err != nil || status != http.StatusOK || tag != `"t-2"` || string(answer) != "a=y" {
		t.Errorf("got %d, %q, %q, %v", status, tag, answer, err)
	}
	g.EndWHEP(session)
	g.EndWHEP("../../v1/status")
	want := "POST /whep/main application/sdp Bearer s3cret v=0 offer\nPATCH /whep/main/id-1 application/trickle-ice-sdpfrag Bearer s3cret a=x\nDELETE /whep/main/id-1  Bearer s3cret "
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("the gateway saw\n%s\nwant\n%s", got, want)
	}
}

func TestWhatTheGatewayMaySay(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"refuses":          func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such stream", http.StatusNotFound) },
		"names no session": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
		"names one elsewhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/whep/../x")
			w.WriteHeader(201)
		},
		"answers without bound": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			io.WriteString(w, strings.Repeat("x", whep.MaxSDP+1))
		},
	} {
		if _, _, _, err := gateway(t, h).WHEP(t.Context(), "main", nil); err == nil {
			t.Errorf("a gateway that %s was believed", name)
		}
	}
}

func TestAStreamsNameStaysAName(t *testing.T) {
	g := gateway(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the gateway was asked for %s", r.URL) })
	for _, stream := range []string{"", "..", "main/x", "main?x", strings.Repeat("x", 65)} {
		if _, _, _, err := g.WHEP(t.Context(), stream, nil); err == nil {
			t.Errorf("%q was taken for a stream", stream)
		}
	}
}

// What the gateway refuses it says in its own words, if they are words.
func TestWhyTheGatewayRefuses(t *testing.T) {
	for body, want := range map[string]string{"all places are taken\n": "all places are taken", "\x00": "the gateway answered 503 Service Unavailable"} {
		g := gateway(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, http.StatusServiceUnavailable) })
		_, _, _, err := g.WHEP(t.Context(), "main", nil)
		var refusal *whep.Refusal
		if !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || refusal.Sentence != want {
			t.Errorf("%q: %v", body, err)
		}
		status, tag, text, err := g.TellWHEP(t.Context(), "main/1", "", nil)
		if err != nil || status != http.StatusServiceUnavailable || tag != "" || string(text) != want {
			t.Errorf("%q: %d, %q, %q, %v", body, status, tag, text, err)
		}
	}
	if _, _, _, err := gateway(t, nil).TellWHEP(t.Context(), "../status", "", nil); err == nil {
		t.Error("a name that is none is passed on")
	}
}

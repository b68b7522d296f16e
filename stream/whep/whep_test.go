package whep_test

import (
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
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, "v=0 answer")
		}
	})
	answer, session, err := g.WHEP(t.Context(), "main", []byte("v=0 offer"))
	if err != nil || string(answer) != "v=0 answer" || session != "main/id-1" {
		t.Errorf("got %q, %q, %v", answer, session, err)
	}
	g.EndWHEP(session)
	g.EndWHEP("../../v1/status")
	want := "POST /whep/main application/sdp Bearer s3cret v=0 offer\nDELETE /whep/main/id-1  Bearer s3cret "
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
		if _, _, err := gateway(t, h).WHEP(t.Context(), "main", nil); err == nil {
			t.Errorf("a gateway that %s was believed", name)
		}
	}
}

func TestAStreamsNameStaysAName(t *testing.T) {
	g := gateway(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the gateway was asked for %s", r.URL) })
	for _, stream := range []string{"", "..", "main/x", "main?x", strings.Repeat("x", 65)} {
		if _, _, err := g.WHEP(t.Context(), stream, nil); err == nil {
			t.Errorf("%q was taken for a stream", stream)
		}
	}
}

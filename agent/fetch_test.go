package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipstream/agent/config"
	"slipstream/slots/fetch"
)

// What the sample says of a download's limits is what they are.
func TestFetchLimits(t *testing.T) {
	sample, err := config.Load("config/slipstream.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := fetch.Limits{
		Stall: fetch.DefaultStall, MinRate: fetch.DefaultMinRate, Attempts: fetch.DefaultAttempts, Total: fetch.DefaultTotal,
		MaxRate: 250_000,
	}
	if got := fetchLimits(sample.Fetch); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := fetchLimits(config.Default().Fetch); got != (fetch.Limits{}) {
		t.Errorf("the default is %+v", got)
	}
}

// TestImageElsewhere: ranges of an image begin with what was read ahead, and end
// when whoever asked for the package has gone.
func TestImageElsewhere(t *testing.T) {
	content := make([]byte, 3*readAhead)
	for i := range content {
		content[i] = byte(i>>8) ^ byte(i)
	}
	var ranges []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) > 5 { // the last one gets an answer that does not end
			first := 1000 + readAhead
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+readAhead-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	asker, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := openRemote(asker, s.URL+"/x.slip", config.Fetch{StallS: 5, Attempts: 1}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	image := &remoteImage{r: r, at: 1000}
	for _, test := range []struct {
		off, n int64
		asked  int // requests so far
	}{
		{0, 10, 1}, {0, 10, 2}, // once more: it may have come damaged
		{readAhead - 1600, 10, 2}, {readAhead - 1500, 1000, 3}, {readAhead - 1000, 5, 4}, {readAhead, readAhead, 5},
	} {
		part, err := image.Range(t.Context(), test.off, test.n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(part)
		part.Close()
		if err != nil || !bytes.Equal(got, content[1000+test.off:][:test.n]) {
			t.Errorf("%d bytes at %d: got %d, %v", test.n, test.off, len(got), err)
		}
		if len(ranges) != test.asked {
			t.Errorf("%d bytes at %d: asked for %q", test.n, test.off, ranges)
		}
	}
	if want := fmt.Sprintf("bytes=%d-%d", readAhead, readAhead+499); ranges[2] != want {
		t.Errorf("asked for %s, want %s", ranges[2], want)
	}
	part, err := image.Range(t.Context(), readAhead, readAhead)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	leave()
	if _, err := io.ReadAll(part); !errors.Is(err, context.Canceled) {
		t.Errorf("read on for nobody: %v", err)
	}
}

// What an address may hold in secrets is said to nobody.
func TestSecretsOfAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"http://u:secret@127.0.0.1:1/x.slip?key=secret":  "http://127.0.0.1:1/x.slip: ",
		"https://u:secret@panel.invalid\x00/x.slip":      "the package: ",
		"ftp://u:secret@panel.invalid/x.slip?key=secret": "ftp://panel.invalid/x.slip: ",
	} {
		_, err := openRemote(t.Context(), address, config.Fetch{Attempts: 1}, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

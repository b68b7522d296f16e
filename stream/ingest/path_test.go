package ingest

import (
	"slices"
	"strings"
	"testing"
)

func TestRoute(t *testing.T) {
	t.Parallel()
	c := Config{Secret: "s3cret", Streams: []Stream{{Name: "main"}, {Name: "sub"}}}
	for path, want := range map[string]string{
		"/s3cret": "main", "/s3cret/": "main", "/s3cret/main": "main", "/s3cret/sub": "sub", "/s3cret/sub/": "sub",
		"": "", "/": "", "//": "", "/s3cre": "", "/s3crett": "", "/S3CRET": "", "/s3cret/x": "", "/s3cret/sub/x": "",
		"/s3cret//sub": "", "/main": "", "/s3cret\x00": "",
	} {
		got, ok := c.route(path)
		if got != want || ok != (want != "") {
			t.Errorf("%q leads to %q, %v; want %q", path, got, ok, want)
		}
	}
	if got, ok := (Config{Streams: []Stream{{Name: "main"}}}).route("/"); ok {
		t.Errorf("no secret at all leads to %q", got)
	}
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"/s3cret", "/s3cret/sub", "/s3cret/other", "//s3cret", "/", ""} {
		f.Add(path)
	}
	c := Config{Secret: "s3cret", Streams: []Stream{{Name: "main"}, {Name: "sub"}}}
	f.Fuzz(func(t *testing.T, path string) {
		stream, ok := c.route(path)
		if ok != slices.Contains(c.Streams, Stream{Name: stream}) {
			t.Fatalf("%q leads to %q, %v", path, stream, ok)
		}
		if ok && !strings.HasPrefix(strings.TrimPrefix(path, "/"), c.Secret) {
			t.Fatalf("%q leads to %q without the secret", path, stream)
		}
	})
}

package fetch_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipstream/slots/fetch"
)

const block = 1 << 20

// readWhole reads a file through ranges, which are read ahead of its end too.
func readWhole(t *testing.T, f *fetch.File) ([]byte, error) {
	t.Helper()
	var all []byte
	for f.Size() == 0 || int64(len(all)) < f.Size() {
		r, err := f.Range(t.Context(), int64(len(all)), block)
		if err != nil {
			return nil, err
		}
		part, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// opened reads by a transport of the test's.
func opened(t *testing.T, transport http.RoundTripper, address string) *fetch.File {
	t.Helper()
	client := fetch.NewClient(fetch.Limits{})
	if transport != nil {
		client.Transport = transport
	}
	f, err := fetch.Open(client, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// lie answers a request for a range of the content. Honest is what ought to be said.
type lie func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request)

// TestServersThatLie: whatever a server does, it can make reading fail and nothing
// else.
func TestServersThatLie(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("slip"), block*5/8) // two and a half blocks
	partial := func(given string, body []byte) lie {
		return func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("Content-Range", given)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}
	}
	first := fmt.Sprintf("bytes 0-%d/%d", block-1, len(content))
	tests := []struct {
		name, want string
		lie        lie
	}{
		{"the whole file for a range", "200", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) { w.Write(content) }},
		{"not found", "404", func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) { http.NotFound(w, r) }},
		{"no range", "not the one asked for", partial("", content[:block])},
		{"another range", "not the one asked for", partial(fmt.Sprintf("bytes 1-%d/%d", block, len(content)), content[1:block+1])},
		{"a shorter range", "not the one asked for", partial(fmt.Sprintf("bytes 0-9/%d", len(content)), content[:10])},
		{"a longer range", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/%d", block, len(content)), content[:block+1])},
		{"a range of unknown size", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/*", block-1), content[:block])},
		{"a range of a negative size", "not the one asked for", partial("bytes 0-0/-1", content[:1])},
		{"a range of an empty file", "not the one asked for", partial("bytes 0-0/0", nil)},
		{"a size spelt in another way", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/+%d", block-1, len(content)), content[:block])},
		{"several ranges", "not the one asked for", partial("", []byte("--x\r\n"))},
		{"a short body", "another length", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) {
			w.Header().Set("Content-Range", first)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:block-1])
		}},
		{"a body that breaks off", "unexpected EOF", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) {
			w.Header().Set("Content-Range", first)
			w.Header().Set("Content-Length", fmt.Sprint(block))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:100])
		}},
		{"a long body", "another length", partial(first, content[:block+1])},
		{"an endless body", "another length", func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) {
			w.Header().Set("Content-Range", first)
			w.WriteHeader(http.StatusPartialContent)
			for r.Context().Err() == nil {
				if _, err := w.Write(content); err != nil {
					return
				}
			}
		}},
		{"gzip", "encoded", func(w http.ResponseWriter, _ int, honest http.Handler, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			honest.ServeHTTP(w, r)
		}},
		{"another tag half way", "changed", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(off)))
			r.Header.Del("If-Match") // the server does not know it
			honest.ServeHTTP(w, r)
		}},
		{"another weak tag half way", "changed", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("ETag", fmt.Sprintf("W/%q", fmt.Sprint(off)))
			honest.ServeHTTP(w, r)
		}},
		{"another tag, by a server that knows of them", "412", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(off)))
			honest.ServeHTTP(w, r)
		}},
		{"no tag half way", "changed", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			if off == 0 {
				w.Header().Set("ETag", `W/"a"`)
			}
			honest.ServeHTTP(w, r)
		}},
		{"another size half way", "changed", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			if off > 0 {
				honest = served(content[:len(content)-1])
			}
			honest.ServeHTTP(w, r)
		}},
		{"two tags", "changed", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header()["Etag"] = []string{`"a"`, `"b"`}
			honest.ServeHTTP(w, r)
		}},
		{"two ranges", "not the one asked for", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header()["Content-Range"] = []string{first, first}
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:block])
		}},
		{"several ranges that say they are one", "several ranges", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("Content-Type", "Multipart/ByteRanges; boundary=x")
			w.Header().Set("Content-Range", first)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:block])
		}},
		{"an endless header", "exceeded", func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			for i := range fetch.MaxHeader / 16 {
				w.Header().Set(fmt.Sprintf("X-%d", i), "0123456789abcdef")
			}
			honest.ServeHTTP(w, r)
		}},
		{"to a file", "redirects", away("file:///etc/passwd")},
		{"to another scheme", "redirects", away("ftp://127.0.0.1/")},
		{"to another server", "redirects", away("http://127.0.0.1:1/")},
		{"in a circle", "redirects", func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(lying(content, test.lie))
			t.Cleanup(s.Close)
			_, err := readWhole(t, opened(t, nil, s.URL))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func away(address string) lie {
	return func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) {
		http.Redirect(w, r, address, http.StatusFound)
	}
}

func served(content []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(content))
	})
}

func lying(content []byte, tell lie) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		off := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off); err != nil {
			http.Error(w, "no range was asked for", http.StatusBadRequest)
			return
		}
		tell(w, off, served(content), r)
	})
}

// Nobody is led from TLS to plain text.
func TestNoWayOutOfTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/x", http.StatusFound)
	}))
	t.Cleanup(s.Close)
	_, err := readWhole(t, opened(t, s.Client().Transport, s.URL))
	if err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("got %v", err)
	}
}

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/agent/config"
	"slipstream/verify"
)

// remoteBy reads by a transport of the test's.
func remoteBy(t *testing.T, transport http.RoundTripper, address string) *remote {
	t.Helper()
	r := &remote{ctx: t.Context(), url: address}
	if err := r.introduce(config.Panel{}); err != nil {
		t.Fatal(err)
	}
	r.client.Transport = transport
	return r
}

// readWhole reads a file through ranges.
func (r *remote) readWhole() ([]byte, error) {
	if err := r.fetch(0); err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.size))
}

// lie answers a request for a range of the content. Honest is what ought to be said.
type lie func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request)

// TestServersThatLie: whatever a server does, it can make reading fail and nothing
// else. Nothing of it is a refusal of the package, which may be good.
func TestServersThatLie(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("slip"), readAhead*5/8) // two and a half blocks
	partial := func(given string, body []byte) lie {
		return func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			w.Header().Set("Content-Range", given)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}
	}
	first := fmt.Sprintf("bytes 0-%d/%d", readAhead-1, len(content))
	tests := []struct {
		name, want string
		lie        lie
	}{
		{"the whole file for a range", "200", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) { w.Write(content) }},
		{"not found", "404", func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) { http.NotFound(w, r) }},
		{"no range", "not the one asked for", partial("", content[:readAhead])},
		{"another range", "not the one asked for", partial(fmt.Sprintf("bytes 1-%d/%d", readAhead, len(content)), content[1:readAhead+1])},
		{"a shorter range", "not the one asked for", partial(fmt.Sprintf("bytes 0-9/%d", len(content)), content[:10])},
		{"a longer range", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/%d", readAhead, len(content)), content[:readAhead+1])},
		{"a range of unknown size", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/*", readAhead-1), content[:readAhead])},
		{"a range of a negative size", "not the one asked for", partial("bytes 0-0/-1", content[:1])},
		{"a range of an empty file", "not the one asked for", partial("bytes 0-0/0", nil)},
		{"a size spelt in another way", "not the one asked for", partial(fmt.Sprintf("bytes 0-%d/+%d", readAhead-1, len(content)), content[:readAhead])},
		{"several ranges", "not the one asked for", partial("", []byte("--x\r\n"))},
		{"a short body", "another length", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) {
			w.Header().Set("Content-Range", first)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:readAhead-1])
		}},
		{"a body that breaks off", "unexpected EOF", func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) {
			w.Header().Set("Content-Range", first)
			w.Header().Set("Content-Length", fmt.Sprint(readAhead))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content[:100])
		}},
		{"a long body", "another length", partial(first, content[:readAhead+1])},
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
			r := remoteBy(t, s.Client().Transport, s.URL)
			_, err := r.readWhole()
			if err == nil || !strings.Contains(err.Error(), test.want) || verify.Code(err) != "" {
				t.Errorf("got %v, want %q", err, test.want)
			}
			r.Close()
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
	r := remoteBy(t, s.Client().Transport, s.URL)
	defer r.Close()
	if err := r.fetch(0); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("got %v", err)
	}
}

// A server that gives a byte a second is given up in time.
func TestSlowServerIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var server sync.WaitGroup
		server.Go(func() {
			defer theirs.Close()
			if _, err := theirs.Read(make([]byte, 4096)); err != nil {
				return
			}
			head := fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n\r\n", readAhead-1, readAhead)
			if _, err := io.WriteString(theirs, head); err != nil {
				return
			}
			for {
				time.Sleep(time.Second)
				if _, err := theirs.Write([]byte{'x'}); err != nil {
					return
				}
			}
		})
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		r := remoteBy(t, transport, "http://camera.invalid/x.slip")
		start := time.Now()
		err := r.fetch(0)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != fetchTimeout {
			t.Errorf("given up after %v", took)
		}
		r.Close()
		server.Wait()
	})
}

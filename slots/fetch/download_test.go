package fetch_test

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
	"time"

	"slipstream/slots/fetch"
)

// asked is what a server was asked for.
type asked struct {
	off     int
	ifMatch string
}

// book is what a server was asked for so far.
type book struct {
	mu  sync.Mutex
	all []asked
}

func (b *book) note(off int, r *http.Request) (number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, asked{off, r.Header.Get("If-Match")})
	return len(b.all)
}

func (b *book) read() []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

// turns is a server whose first answers are told; the others are honest, of a file
// with a tag.
func turns(content []byte, b *book, tell ...lie) http.Handler {
	tagged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		served(content).ServeHTTP(w, r)
	})
	return lying(content, func(w http.ResponseWriter, off int, _ http.Handler, r *http.Request) {
		if n := b.note(off, r); n <= len(tell) && tell[n-1] != nil {
			tell[n-1](w, off, tagged, r)
			return
		}
		tagged.ServeHTTP(w, r)
	})
}

// cut lets n bytes of an honest body through, and then breaks the connection: by
// its end, or so that what is still on the way is lost.
func cut(n int, reset bool) lie {
	return func(w http.ResponseWriter, _ int, honest http.Handler, r *http.Request) {
		honest.ServeHTTP(&cutter{ResponseWriter: w, left: n}, r)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; err == nil && n < len(p) {
		err = http.NewResponseController(c.ResponseWriter).Flush()
	}
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// read reads a file as one range.
func read(ctx context.Context, d *fetch.Download, n int) ([]byte, error) {
	r, err := d.Range(ctx, 0, int64(n))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func begun(t *testing.T, address string, l fetch.Limits) *fetch.Download {
	t.Helper()
	f, err := fetch.Open(fetch.NewClient(l), address)
	if err != nil {
		t.Fatal(err)
	}
	d := fetch.Begin(f, l)
	t.Cleanup(d.Close)
	return d
}

var patterned = func() []byte {
	content := make([]byte, block)
	for i := range content {
		content[i] = byte(i>>10) ^ byte(i)
	}
	return content
}()

// TestGoesOnWhereItStopped: on real connections that break, each byte is asked for
// once, and of the file that was pinned.
func TestGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	const at = 3*fetch.Progress + 7
	for name, test := range map[string]struct {
		lies []lie
		more int // bytes that a lost connection may take with it
	}{
		"connections that end":   {[]lie{cut(at, false), cut(at, false)}, 0},
		"connections that break": {[]lie{cut(at, true), cut(at, true)}, at},
		"a short body": {[]lie{func(w http.ResponseWriter, off int, _ http.Handler, _ *http.Request) {
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, block-1, block))
			w.Header().Set("Content-Length", fmt.Sprint(at))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(patterned[off:][:at])
		}}, 0},
		"a body of pieces that breaks off": {[]lie{func(w http.ResponseWriter, off int, _ http.Handler, _ *http.Request) {
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, block-1, block))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(patterned[off:][:at])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b book
			s := httptest.NewServer(turns(patterned, &b, test.lies...))
			t.Cleanup(s.Close)
			got, err := read(t.Context(), begun(t, s.URL, fetch.Limits{}), 2*block)
			if err != nil || !bytes.Equal(got, patterned) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			all := b.read()
			if len(all) != len(test.lies)+1 || all[0].ifMatch != "" {
				t.Fatalf("asked %v", all)
			}
			for i, a := range all[1:] {
				if want := all[i].off + at; a.off > want || a.off < want-test.more || a.ifMatch != `"one"` {
					t.Errorf("asked %v, want %d and the tag", a, want)
				}
			}
		})
	}
}

// TestWhatDoesNotGetBetter is asked for once.
func TestWhatDoesNotGetBetter(t *testing.T) {
	t.Parallel()
	const at = 2 * fetch.Progress
	changed := func(knows bool) lie {
		return func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) {
			if !knows {
				r.Header.Del("If-Match")
			}
			w.Header().Set("ETag", `"two"`)
			served(patterned).ServeHTTP(w, r)
		}
	}
	says := func(code int) lie {
		return func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, test := range map[string]struct {
		then lie
		want string
	}{
		"the whole file": {func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) { w.Write(patterned) },
			`the server answers "200 OK" where a range was asked for; it cannot serve parts`},
		"another file":                 {changed(false), "the file on the server changed while it was read; stage it again"},
		"another file, and it says so": {changed(true), "the file on the server changed while it was read (\"412 Precondition Failed\"); stage it again"},
		"a smaller file": {func(w http.ResponseWriter, _ int, _ http.Handler, r *http.Request) {
			served(patterned[:at+9]).ServeHTTP(w, r)
		}, "changed"},
		"nothing there":               {says(http.StatusNotFound), `"404 Not Found" where a range was asked for; check the address`},
		"nothing for us":              {says(http.StatusForbidden), "enrolled"},
		"a server that knows no such": {says(http.StatusNotImplemented), "501"},
		"another range": {func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", off-1))
			honest.ServeHTTP(w, r)
		}, "not the one asked for; download"},
		"elsewhere": {away("http://127.0.0.2:1/"), "the server redirects to another server; give that one's address"},
		"an endless body": {func(w http.ResponseWriter, off int, _ http.Handler, r *http.Request) {
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, block-1, block))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(patterned[off:])
			for r.Context().Err() == nil {
				if _, err := w.Write(patterned); err != nil {
					return
				}
			}
		}, "another length; download"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b book
			s := httptest.NewServer(turns(patterned, &b, cut(at, false), test.then))
			t.Cleanup(s.Close)
			got, err := read(t.Context(), begun(t, s.URL, fetch.Limits{}), block)
			if _, ours := errors.AsType[*fetch.Error](err); !ours || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if !bytes.HasPrefix(patterned, got) || len(got) < at || len(got) == block {
				t.Errorf("%d bytes came, not of the file", len(got))
			}
			if all := b.read(); len(all) != 2 {
				t.Errorf("asked %v", all)
			}
		})
	}
}

func TestCertificatesOfStrangers(t *testing.T) {
	t.Parallel()
	var b book
	s := httptest.NewUnstartedServer(turns(patterned, &b))
	s.Config.ErrorLog = quiet(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	d := begun(t, s.URL, fetch.Limits{})
	d.Paused = func(why error, _ time.Duration) { t.Errorf("tried again after %v", why) }
	_, err := read(t.Context(), d, block)
	if err == nil || !strings.Contains(err.Error(), "certificate is not accepted") || !strings.Contains(err.Error(), "; check") {
		t.Errorf("got %v", err)
	}
	open := httptest.NewServer(turns(patterned, &b))
	t.Cleanup(open.Close)
	plain := begun(t, strings.Replace(open.URL, "http:", "https:", 1), fetch.Limits{})
	plain.Paused = d.Paused
	if _, err := read(t.Context(), plain, block); err == nil || !strings.Contains(err.Error(), "does not speak TLS; check") {
		t.Errorf("got %v", err)
	}
	if all := b.read(); len(all) != 0 {
		t.Errorf("asked %v", all)
	}
}

// TestServerGoneAndBack: the server's process dies in the middle of a file, and
// another one comes up at its address during the second pause.
func TestServerGoneAndBack(t *testing.T) {
	t.Parallel()
	var b book
	first := httptest.NewServer(turns(patterned, &b, cut(2*fetch.Progress, false)))
	address := first.Listener.Addr().String()
	d := begun(t, first.URL, fetch.Limits{})
	var reasons []string
	var second *httptest.Server
	d.Paused = func(why error, _ time.Duration) {
		reasons = append(reasons, why.Error())
		switch len(reasons) {
		case 1:
			first.Close()
		case 2:
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			second = httptest.NewUnstartedServer(turns(patterned, &b))
			second.Listener.Close()
			second.Listener = l
			second.Start()
			t.Cleanup(second.Close)
		}
	}
	got, err := read(t.Context(), d, block)
	if err != nil || !bytes.Equal(got, patterned) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if len(reasons) != 2 || !strings.Contains(reasons[0], "the connection broke") || !strings.Contains(reasons[1], "connection refused") {
		t.Errorf("paused for %q", reasons)
	}
	if all := b.read(); len(all) != 2 || all[1].off != 2*fetch.Progress {
		t.Errorf("asked %v", all)
	}
}

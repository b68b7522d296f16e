package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/slots/fetch"
)

func quiet(t *testing.T) *log.Logger { return log.New(t.Output(), "", 0) }

// pipes are connections without a kernel, so that the clock is the test's.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// timed reads a file by a clock that moves only while all wait.
type timed struct {
	*fetch.Download
	server *http.Server
	begun  time.Time
	pauses []time.Duration
}

func (c *timed) took() time.Duration { return time.Since(c.begun) }

// inBubble runs a test with a server of its own.
func inBubble(t *testing.T, l fetch.Limits, handler http.Handler, test func(t *testing.T, c *timed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		c := &timed{server: &http.Server{Handler: handler, ErrorLog: quiet(t)}, begun: time.Now()}
		var serving sync.WaitGroup
		serving.Go(func() { c.server.Serve(line) })
		client := fetch.NewClient(l)
		client.Transport.(*http.Transport).DialContext = line.dial
		f, err := fetch.Open(client, "http://camera.invalid/x.slip")
		if err != nil {
			t.Fatal(err)
		}
		c.Download = fetch.Begin(f, l)
		c.Paused = func(_ error, pause time.Duration) { c.pauses = append(c.pauses, pause) }
		test(t, c)
		c.Close()
		c.server.Close()
		serving.Wait()
	})
}

// silent gives n bytes of the file and then nothing, until who asked has gone.
func silent(n int) lie {
	return func(w http.ResponseWriter, _ int, honest http.Handler, r *http.Request) {
		honest.ServeHTTP(&cutter{ResponseWriter: w, left: n}, r)
		<-r.Context().Done()
	}
}

// dripping gives a piece of the file a second.
func dripping(size int) lie {
	return func(w http.ResponseWriter, off int, _ http.Handler, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, block-1, block))
		w.WriteHeader(http.StatusPartialContent)
		for at := off; r.Context().Err() == nil && at < block; at += size {
			w.Write(patterned[at:min(at+size, block)])
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	}
}

func always(l lie) http.Handler {
	return lying(patterned, func(w http.ResponseWriter, off int, honest http.Handler, r *http.Request) {
		l(w, off, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"one"`)
			honest.ServeHTTP(w, r)
		}), r)
	})
}

func unavailable(h map[string]string) lie {
	return func(w http.ResponseWriter, _ int, _ http.Handler, _ *http.Request) {
		for k, v := range h {
			w.Header().Set(k, v)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestWhoIsGivenUp: each limit by itself, what is said of it, and when.
func TestWhoIsGivenUp(t *testing.T) {
	t.Parallel()
	const onward = "; the download goes on where it stopped when staged again"
	for _, test := range []struct {
		name       string
		limits     fetch.Limits
		server     http.Handler
		want       string
		least      int // bytes that came
		after      time.Duration
		atMost     time.Duration
		wantPauses int
	}{
		{name: "a server that says nothing at all", server: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			want: "the server sent nothing for 30s, the last of 8 attempts in a row" + onward, wantPauses: 7,
			after: 8*30*time.Second + 123*time.Second/2, atMost: 8*30*time.Second + 123*time.Second},
		{name: "a server that stops in the middle", server: always(silent(2 * fetch.Progress)), limits: fetch.Limits{Attempts: 1},
			want: "the server sent nothing for 30s" + onward, least: 2 * fetch.Progress, after: 30 * time.Second, atMost: 30 * time.Second},
		{name: "a byte a second", server: always(dripping(1)), limits: fetch.Limits{Attempts: 2}, wantPauses: 1, least: 50,
			want:  "the server sent less than 8000 bytes a second for 30s, the last of 2 attempts in a row" + onward,
			after: 60 * time.Second, atMost: 62 * time.Second},
		{name: "nearly enough", server: always(dripping(7500)), limits: fetch.Limits{Attempts: 2}, least: 400_000, wantPauses: 1,
			want: "less than 8000 bytes a second", after: 60 * time.Second, atMost: 63 * time.Second},
		{name: "enough, but not in time", server: always(dripping(8100)), limits: fetch.Limits{Total: time.Minute}, least: 400_000,
			want: "the download was not done after 1m0s" + onward, after: time.Minute, atMost: time.Minute},
		{name: "a limit of our own that takes too long", server: always(cut(block, false)), limits: fetch.Limits{Total: time.Minute, MaxRate: 2000}, least: 118_000,
			want: "the download was not done after 1m0s" + onward, after: 59 * time.Second, atMost: time.Minute},
		{name: "connections that bring too little", server: always(cut(fetch.Progress-1, false)), limits: fetch.Limits{Attempts: 3}, wantPauses: 2,
			want: "the connection broke: unexpected EOF, the last of 3 attempts in a row" + onward, least: 3 * (fetch.Progress - 1), after: time.Second, atMost: 3 * time.Second},
		{name: "a server that is never ready", server: always(unavailable(nil)), wantPauses: 7,
			want: `the server answers "503 Service Unavailable" where a range was asked for, the last of 8`, after: 123 * time.Second / 2, atMost: 123 * time.Second},
		{name: "a server that wants to be left alone", server: always(unavailable(map[string]string{"Retry-After": "86400"})), limits: fetch.Limits{Attempts: 3}, wantPauses: 2,
			want: "503", after: 2 * fetch.MaxRetryAfter, atMost: 2 * fetch.MaxRetryAfter},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, test.limits, test.server, func(t *testing.T, c *timed) {
				got, err := read(t.Context(), c.Download, block)
				if _, ours := errors.AsType[*fetch.Error](err); !ours || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if took := c.took(); took < test.after || took > test.atMost {
					t.Errorf("given up after %v, want %v to %v", took, test.after, test.atMost)
				}
				if len(got) < test.least || !bytes.HasPrefix(patterned, got) {
					t.Errorf("%d bytes came", len(got))
				}
				if len(c.pauses) != test.wantPauses {
					t.Errorf("pauses %v", c.pauses)
				}
			})
		})
	}
}

// An address that was misspelt is said soon; a server that was there is waited for.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	inBubble(t, fetch.Limits{}, always(cut(block, false)), func(t *testing.T, c *timed) {
		if err := c.server.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := read(t.Context(), c.Download, block)
		if err == nil || !strings.Contains(err.Error(), "the server gives no answer: nobody listens, the last of 3 attempts in a row; check the address and the network") || c.took() > 3*time.Second {
			t.Errorf("after %v: %v", c.took(), err)
		}
	})
	inBubble(t, fetch.Limits{}, always(cut(2*fetch.Progress, false)), func(t *testing.T, c *timed) {
		r, err := c.Range(t.Context(), 0, block)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := c.server.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(r)
		if err == nil || !strings.Contains(err.Error(), "the last of 8 attempts") {
			t.Errorf("after %v: %v", c.took(), err)
		}
	})
}

// TestPauses: they grow, at random; a server's own word goes above them, in seconds
// or by its own clock, and a good attempt begins anew.
func TestPauses(t *testing.T) {
	t.Parallel()
	day := time.Date(1999, 12, 31, 23, 59, 0, 0, time.UTC)
	var b book
	handler := turns(patterned, &b,
		unavailable(nil), unavailable(map[string]string{"Retry-After": "120"}),
		unavailable(map[string]string{"Retry-After": day.Add(time.Minute + 30*time.Second).Format(http.TimeFormat), "Date": day.Format(http.TimeFormat)}),
		unavailable(map[string]string{"Retry-After": "-1"}), unavailable(map[string]string{"Retry-After": "soon"}),
		cut(2*fetch.Progress, false), cut(1, false))
	inBubble(t, fetch.Limits{}, handler, func(t *testing.T, c *timed) {
		got, err := read(t.Context(), c.Download, block)
		if err != nil || !bytes.Equal(got, patterned) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		s := time.Second
		want := [][2]time.Duration{{s / 2, s}, {120 * s, 120 * s}, {90 * s, 90 * s}, {4 * s, 8 * s}, {8 * s, 16 * s}, {s / 2, s}, {s, 2 * s}}
		if len(c.pauses) != len(want) {
			t.Fatalf("pauses %v", c.pauses)
		}
		for i, pause := range c.pauses {
			if pause < want[i][0] || pause > want[i][1] || pause == want[i][1] && pause != want[i][0] {
				t.Errorf("pause %d of %v: %v, want %v", i, c.pauses, pause, want[i])
			}
		}
	})
}

// TestReadersMayBeSlow: only the server's slowness counts.
func TestReadersMayBeSlow(t *testing.T) {
	t.Parallel()
	inBubble(t, fetch.Limits{Attempts: 1}, always(func(w http.ResponseWriter, _ int, honest http.Handler, r *http.Request) {
		honest.ServeHTTP(w, r)
	}), func(t *testing.T, c *timed) {
		r, err := c.Range(t.Context(), 0, block)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		time.Sleep(time.Minute)
		var got []byte
		for piece := make([]byte, 64<<10); ; {
			n, err := r.Read(piece)
			got = append(got, piece[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if !bytes.Equal(got, patterned) {
			t.Errorf("%d bytes", len(got))
		}
	})
}

// TestSlowEnough: a server is not too slow because its reader wants less, nor when it
// has given all.
func TestSlowEnough(t *testing.T) {
	t.Parallel()
	const drips = 33
	for name, test := range map[string]struct {
		limits fetch.Limits
		drip   int
	}{
		"a limit of our own":       {fetch.Limits{MaxRate: 2000}, 1500},
		"slow up to the last byte": {fetch.Limits{Window: drips * time.Second, MinRate: block}, (block - 1) / drips},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.limits.Attempts = 1
			inBubble(t, test.limits, always(dripping(test.drip)), func(t *testing.T, c *timed) {
				got, err := read(t.Context(), c.Download, block)
				if err != nil || !bytes.Equal(got, patterned) {
					t.Errorf("after %v: %d bytes, %v", c.took(), len(got), err)
				}
			})
		})
	}
}

// TestCancel: at whatever a download waits for, the end of its context is the end
// of it, at that instant.
func TestCancel(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits fetch.Limits
		server http.Handler
	}{
		"for an answer":        {server: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
		"for bytes":            {server: always(silent(fetch.Progress))},
		"for the next attempt": {server: always(unavailable(map[string]string{"Retry-After": "100"}))},
		"for its own limit":    {server: always(cut(block, false)), limits: fetch.Limits{MaxRate: 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, test.limits, test.server, func(t *testing.T, c *timed) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(17*time.Second, cancel)
				_, err := read(ctx, c.Download, block)
				if err != context.Canceled || c.took() != 17*time.Second { //nolint:errorlint // it must be nothing else
					t.Errorf("after %v: %v", c.took(), err)
				}
			})
		})
	}
}

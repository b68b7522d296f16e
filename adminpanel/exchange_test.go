package adminpanel_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
)

// sockets are what a service manager keeps open for one panel after the other.
type sockets struct {
	files []*os.File
	at    adminpanel.Listeners // a copy, for a panel in this process
}

func openSockets(t *testing.T) sockets {
	t.Helper()
	var s sockets
	for _, to := range []*net.Listener{&s.at.People, &s.at.Devices} {
		l := must(net.Listen("tcp", "127.0.0.1:0")).(*net.TCPListener)
		f := must(l.File())
		t.Cleanup(func() { f.Close() })
		s.files, *to = append(s.files, f), l
	}
	return s
}

// process is a panel of its own, as systemd starts one.
type process struct {
	hears *net.UnixConn // where it tells how it is
	cmd   *exec.Cmd
	said  *bytes.Buffer
	end   func() error // has it end as systemd does, and waits for that
}

func (s sockets) begin(t *testing.T, data string) *process {
	t.Helper()
	manager := filepath.Join(t.TempDir(), "notify")
	hears := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: manager, Net: "unixgram"}))
	t.Cleanup(func() { hears.Close() })
	// The process that listens must be the one that is named, as with systemd.
	p := &process{hears: hears, cmd: exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0]), said: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), asPanel+"="+data, "LISTEN_FDS=2", "LISTEN_FDNAMES=people:devices", "NOTIFY_SOCKET="+manager)
	p.cmd.ExtraFiles, p.cmd.Stderr = s.files, p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.end = sync.OnceValue(func() error {
		return errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait())
	})
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it has ended
		p.end()              //nolint:errcheck // likewise
		if t.Failed() {
			t.Logf("a panel said:\n%s", p.said)
		}
	})
	return p
}

// tells waits for the next thing that it tells to its service manager.
func (p *process) tells(t *testing.T, want string) {
	t.Helper()
	if err := p.hears.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := p.hears.Read(said)
	if err != nil || string(said[:n]) != want {
		t.Errorf("it tells %q, %v; want %q", said[:n], err, want)
	}
}

// Panels are exchanged under a fleet and its people: nobody who calls is refused or gets
// anything but a whole answer, readers of events go on, and every device is back.
func TestPanelsAreExchangedUnderTheirCallers(t *testing.T) {
	t.Parallel()
	const devices = 20
	cfg, s := blank(t.TempDir()), openSockets(t)
	w := launchAt(t, cfg, s.at)
	token := must(w.panel.SetupToken(t.Context()))
	w.ann = w.ask("POST", "/api/v1/setup", view.SetupRequest{Token: token, Name: "ann", Password: annPassword}).is(http.StatusCreated, nil).cookies
	var made view.Token
	w.ask("POST", "/api/v1/tokens", view.TokenRequest{Name: "exchange", Grants: []view.Grant{{Role: view.RoleAdmin}}, Until: time.Now().Add(time.Hour)}).is(http.StatusCreated, &made)
	for i := range devices {
		w.device(fmt.Sprint("cam-", i))
	}

	callers := hammer(t, w)
	heard := listens(t, w, made.Text)
	w.stop()
	for range 2 {
		p := s.begin(t, cfg.Data)
		w.eventually("every device is back", func() bool {
			var h view.Hub
			w.ask("GET", "/api/v1/hub", nil).is(http.StatusOK, &h)
			return h.Linked == devices
		})
		name := fmt.Sprint("by process ", p.cmd.Process.Pid)
		w.ask("PATCH", "/api/v1/devices/cam-3", map[string]string{"name": name}, "If-Match", "*").is(http.StatusOK, nil)
		w.eventually("a reader of events hears of it", func() bool { return heard(name) })
		p.tells(t, "READY=1")
		if err := p.end(); err != nil {
			t.Errorf("the panel ended badly: %v\n%s", err, p.said)
		}
		p.tells(t, "STOPPING=1")
	}
	s.begin(t, cfg.Data)
	w.ask("GET", "/api/v1/me", nil).is(http.StatusOK, nil)
	if n, failed := callers(); n == 0 || len(failed) > 0 {
		t.Errorf("%d calls, and of them failed %d: %q", n, len(failed), failed[:min(len(failed), 5)])
	}
}

// A socket that systemd has opened to a network is no way to give passwords away.
func TestASocketWithoutTLSIsRefused(t *testing.T) {
	t.Parallel()
	s := openSockets(t)
	open := must(net.Listen("tcp", "0.0.0.0:0")).(*net.TCPListener)
	defer open.Close()
	f := must(open.File())
	defer f.Close()
	s.files[0] = f
	p := s.begin(t, t.TempDir())
	defer time.AfterFunc(patience, func() { p.cmd.Process.Kill() }).Stop() //nolint:errcheck // it has ended
	err := p.cmd.Wait()
	if err == nil || !strings.Contains(p.said.String(), "is reachable from elsewhere without TLS") {
		t.Errorf("the panel ended with %v and said:\n%s", err, p.said)
	}
}

// What a panel says of where it is can be called: a name, where the address is none or not its.
func TestWhereItSaysItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names         []string
		at, url, want string
	}{
		{[]string{"panel.example"}, "127.0.0.1:0", "", "http://panel.example:"},
		{[]string{"panel.example", "127.0.0.1"}, "127.0.0.1:0", "", "http://127.0.0.1:"},
		{[]string{"panel.example"}, "127.0.0.1:0", "http://fleet.example", "http://fleet.example"},
	} {
		cfg := blank(t.TempDir())
		cfg.Names, cfg.Listen, cfg.URL = c.names, c.at, c.url
		if got := launch(t, cfg).panel.URL(); !strings.HasPrefix(got, c.want) {
			t.Errorf("of the names %q it says %s", c.names, got)
		}
	}
}

// Who has come in but not said all of what they want when the panel begins to end is answered.
func TestWhoHasJustComeInIsAnswered(t *testing.T) {
	t.Parallel()
	w := launch(t, blank(t.TempDir()))
	w.panel.SetFreshTime(patience)
	at := strings.TrimPrefix(w.url, "http://")
	conn := must(net.Dial("tcp", at))
	defer conn.Close()
	must(io.WriteString(conn, "GET /healthz HTTP/1.1\r\n"))
	w.ask("GET", "/healthz", nil).is(http.StatusOK, nil) // who came later is in, and so is the first one
	go w.stop()
	w.eventually("nobody comes in any more", func() bool {
		late, err := net.Dial("tcp", at)
		if err == nil {
			late.Close()
		}
		return err != nil
	})
	must(io.WriteString(conn, "Host: localhost\r\n\r\n"))
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("there is no answer: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("it is %s", resp.Status)
	}
}

// hammer has people call all the time, each time anew, until the end is asked for.
func hammer(t *testing.T, w *world) (end func() (calls int, failed []string)) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	var mu sync.Mutex // guards what follows
	calls, failed := 0, []string{}
	for range 3 {
		all.Go(func() {
			for ctx.Err() == nil {
				why := callOnce(w)
				mu.Lock()
				calls++
				if why != "" {
					failed = append(failed, why)
				}
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { stop(); all.Wait() })
	return func() (int, []string) {
		stop()
		all.Wait()
		return calls, slices.Clone(failed)
	}
}

// callOnce says what was wrong with an answer.
func callOnce(w *world) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/v1/releases", nil))
	for _, c := range w.ann {
		r.AddCookie(c)
	}
	line := &http.Transport{DisableKeepAlives: true}
	resp, err := line.RoundTrip(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s %v", resp.StatusCode, text, err)
	}
	return ""
}

// listens hears events as the pages do, and tells whether one has held a text.
func listens(t *testing.T, w *world, token string) (heard func(text string) bool) {
	t.Helper()
	c := must(client.New(client.Config{URL: w.url, Token: token}))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var mu sync.Mutex // guards what follows
	var all []byte
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e, err := range c.Events(ctx, client.Topics{Topics: []string{"devices"}}) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("events ended: %v", err)
				}
				return
			}
			mu.Lock()
			all = append(all, e.Data...)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { stop(); <-ended; c.Close() })
	return func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		return bytes.Contains(all, []byte(text))
	}
}

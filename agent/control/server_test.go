package control_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipstream/agent/control"
)

// fake is a backend that answers at once from what the test wrote into it, so
// that no request waits for a disk or a camera. Its lies: nothing is staged or
// started, and a trial ends when the test says so.
type fake struct {
	mu      sync.Mutex
	status  control.Status
	changed chan struct{} // closed at a change
	records []control.Record
	result  control.Result
	calls   []string
	hold    chan struct{} // if set, Activate waits for it or for its caller
	left    chan struct{} // closed when a waiting Activate's caller went away
}

func newFake() *fake {
	return &fake{changed: make(chan struct{}), status: control.Status{Seq: 1, Device: "cam-7"}}
}

func (f *fake) set(s control.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = s
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) called(format string, a ...any) control.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, a...))
	return f.result
}

func (f *fake) Status(context.Context) (control.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, nil
}

func (f *fake) WaitStatus(ctx context.Context, seq uint64) (control.Status, error) {
	for {
		f.mu.Lock()
		s, changed := f.status, f.changed
		f.mu.Unlock()
		if s.Seq != seq {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

func (f *fake) History(_ context.Context, max int) ([]control.Record, error) {
	return f.records[:min(max, len(f.records))], nil
}

func (f *fake) Stage(_ context.Context, r control.StageRequest) control.Result {
	return f.called("stage %+v", r)
}

func (f *fake) Activate(ctx context.Context, r control.ActivateRequest) control.Result {
	result := f.called("activate %+v", r)
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			close(f.left)
		}
	}
	return result
}

func (f *fake) Greenlight(context.Context) control.Result { return f.called("greenlight") }
func (f *fake) Revert(context.Context) control.Result     { return f.called("revert") }
func (f *fake) ReplaceForwarder(context.Context) control.Result {
	return f.called("replace forwarder")
}

// keeper is a fake that also changes whom a device trusts.
type keeper struct{ *fake }

func (k keeper) TakeTrust(_ context.Context, r control.TrustRequest) control.Result {
	return k.called("trust %v", r.Paths)
}
func (k keeper) Enroll(_ context.Context, r control.EnrollRequest) control.Result {
	return k.called("enroll %s", r.Path)
}
func (k keeper) Leave(_ context.Context, r control.LeaveRequest) control.Result {
	return k.called("leave %s", r.Device)
}

// What changes the trust is there if the backend can do it, and else no route is: a
// link's backend cannot be made to by mistake.
func TestTrustIsAskedOfKeepersOnly(t *testing.T) {
	t.Parallel()
	f := newFake()
	ask := func(b control.Backend) (all []control.Result) {
		c := control.Dial(serve(t, b))
		defer c.Close()
		return []control.Result{
			c.TakeTrust(t.Context(), control.TrustRequest{Paths: []string{"/a", "/b"}}),
			c.Enroll(t.Context(), control.EnrollRequest{Path: "/f"}),
			c.Leave(t.Context(), control.LeaveRequest{Device: "cam-7"}),
		}
	}
	for _, got := range ask(f) {
		if got.Exit != control.ExitRefused || got.Code != "no-such-route" {
			t.Errorf("a backend alone answers %+v", got)
		}
	}
	for _, got := range ask(keeper{f}) {
		if got.Exit != control.ExitDone {
			t.Errorf("a keeper answers %+v", got)
		}
	}
	if diff := cmp.Diff([]string{"trust [/a /b]", "enroll /f", "leave cam-7"}, f.calls); diff != "" {
		t.Error(diff)
	}
	c := control.Dial(serve(t, keeper{f}))
	defer c.Close()
	for _, got := range []control.Result{
		c.TakeTrust(t.Context(), control.TrustRequest{}), c.TakeTrust(t.Context(), control.TrustRequest{Paths: []string{"a"}}),
		c.TakeTrust(t.Context(), control.TrustRequest{Paths: make([]string, 65)}),
		c.Enroll(t.Context(), control.EnrollRequest{Path: "f"}), c.Leave(t.Context(), control.LeaveRequest{}),
	} {
		if got.Exit != control.ExitRefused || got.Code != "bad-request" {
			t.Errorf("a wrong request is answered by %+v", got)
		}
	}
}

// technician is a fake that is asked by somebody at the device.
type technician struct{ *fake }

func (k technician) Rehearse(_ context.Context, r control.RehearseRequest) control.Result {
	return k.called("rehearse %v", r.Wait)
}
func (k technician) Reset(_ context.Context, r control.ResetRequest) control.Result {
	return k.called("reset %v", r.Wait)
}
func (k technician) Return(_ context.Context, r control.ReturnRequest) control.Result {
	return k.called("return %v %v", r.Force, r.Wait)
}
func (k technician) Cancel(context.Context) control.Result { return k.called("cancel") }
func (k technician) Clear(_ context.Context, r control.ClearRequest) control.Result {
	return k.called("clear %s", r.Slot)
}

func TestATechniciansRequestsArrive(t *testing.T) {
	t.Parallel()
	f := newFake()
	c := control.Dial(serve(t, technician{f}))
	defer c.Close()
	for _, got := range []control.Result{
		c.Rehearse(t.Context(), control.RehearseRequest{Wait: true}), c.Reset(t.Context(), control.ResetRequest{}),
		c.Return(t.Context(), control.ReturnRequest{Force: true}),
		c.Cancel(t.Context()), c.Clear(t.Context(), control.ClearRequest{Slot: "system-b"}),
	} {
		if got.Exit != control.ExitDone {
			t.Errorf("a technician is answered %+v", got)
		}
	}
	if diff := cmp.Diff([]string{"rehearse true", "reset false", "return true false", "cancel", "clear system-b"}, f.calls); diff != "" {
		t.Error(diff)
	}
	for _, slot := range []string{"", strings.Repeat("a", 65)} {
		if got := c.Clear(t.Context(), control.ClearRequest{Slot: slot}); got.Exit != control.ExitRefused || got.Code != "bad-request" {
			t.Errorf("slot %q is answered by %+v", slot, got)
		}
	}
}

// socketIn is a short path: a test's own directory may exceed a socket's limit.
func socketIn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}

// serve runs a server until the test ends and returns its socket once it answers.
func serve(t *testing.T, b control.Backend) string {
	t.Helper()
	return serveWith(t, control.NewServer(b, nil))
}

func serveWith(t *testing.T, s *control.Server) string {
	t.Helper()
	socket := socketIn(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, socket) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("serve ended with %v", err)
		}
	})
	until(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return socket
}

// until polls for a condition that no event announces.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited for a minute")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// raw sends bytes as they are and gives back the answer's status and Result.
func raw(t *testing.T, socket, request string) (int, control.Result) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(conn, request) // the server may stop reading; its answer is what counts
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r control.Result
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatalf("the answer is no JSON: %v", err)
	}
	conn.Close()
	<-sent
	return resp.StatusCode, r
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: agent\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func TestEveryVerbArrivesAsItWasSent(t *testing.T) {
	f := newFake()
	record := &control.Record{To: "2.0", Outcome: control.OutcomeReverted}
	f.result = control.Result{Exit: control.ExitReverted, Message: "went back", Code: "exit", Record: record}
	f.records = []control.Record{{To: "3"}, {To: "2"}, {To: "1"}}
	c := control.Dial(serve(t, f))
	defer c.Close()

	results := []control.Result{
		c.Stage(t.Context(), control.StageRequest{Path: "/p.slip", Force: true}),
		c.Stage(t.Context(), control.StageRequest{URL: "https://x/p.slip"}),
		c.Activate(t.Context(), control.ActivateRequest{Wait: true}),
		c.Greenlight(t.Context()),
		c.Revert(t.Context()),
		c.ReplaceForwarder(t.Context()),
	}
	for _, got := range results {
		if diff := cmp.Diff(f.result, got); diff != "" {
			t.Error(diff)
		}
	}
	want := []string{
		"stage {Path:/p.slip URL: Force:true Order:[]}", "stage {Path: URL:https://x/p.slip Force:false Order:[]}",
		"activate {Force:false Wait:true Digest:}", "greenlight", "revert", "replace forwarder",
	}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Error(diff)
	}
	records, err := c.History(t.Context(), 2)
	if err != nil || len(records) != 2 || records[0].To != "3" {
		t.Errorf("history: %v, %v", records, err)
	}
	status, err := c.Status(t.Context())
	if err != nil || status.Device != "cam-7" {
		t.Errorf("status: %v, %v", status, err)
	}
}

func TestInstallActivatesOnlyWhatWasStaged(t *testing.T) {
	for _, test := range []struct {
		name      string
		staged    control.Result
		activates bool
	}{
		{"staged", control.Result{Exit: control.ExitDone}, true},
		{"staged already", control.Result{Exit: control.ExitNothing, Code: control.CodeAlreadyStaged}, true},
		{"permanent already", control.Result{Exit: control.ExitNothing, Code: "already-permanent"}, false},
		{"refused", control.Result{Exit: control.ExitRefused, Code: "untrusted"}, false},
		{"failed", control.Result{Exit: control.ExitError}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake()
			f.result = test.staged
			raw(t, serve(t, f), post("/v1/install", `{"path":"/p.slip","wait":true}`))
			if got := len(f.calls) == 2; got != test.activates {
				t.Errorf("calls: %q", f.calls)
			}
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name, request string
		status        int
		code, want    string
	}{
		{"an unknown field", post("/v1/stage", `{"path":"/p","sudo":true}`), 400, "bad-request", `"sudo"`},
		{"a field of another type", post("/v1/stage", `{"path":7}`), 400, "bad-request", "path"},
		{"no JSON", post("/v1/stage", `path=/p`), 400, "bad-request", "not understood"},
		{"JSON that breaks off", post("/v1/stage", `{"path":`), 400, "bad-request", "not understood"},
		{"two objects", post("/v1/stage", `{"path":"/p"}{}`), 400, "bad-request", "more after"},
		{"neither path nor URL", post("/v1/stage", `{}`), 400, "bad-request", "either path or url"},
		{"both path and URL", post("/v1/stage", `{"path":"/p","url":"https://x"}`), 400, "bad-request", "either path or url"},
		{"a relative path", post("/v1/install", `{"path":"p.slip"}`), 400, "bad-request", "absolute"},
		{"a body where none belongs", post("/v1/revert", `{"force":true}`), 400, "bad-request", `"force"`},
		{"a huge body", post("/v1/stage", `{"path":"/`+strings.Repeat("x", control.MaxBody)+`"}`), 413, "too-large", "65536 bytes"},
		{"a huge declared body", "POST /v1/stage HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n{" + strings.Repeat(" ", control.MaxBody), 413, "too-large", "65536 bytes"},
		{"an unknown route", post("/v1/reboot", ``), 404, "no-such-route", "/v1/reboot"},
		{"an unknown method", "DELETE /v1/status HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no-such-route", "DELETE"},
		{"an unknown parameter", "GET /v1/status?since=3 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-request", `"since"`},
		{"a sequence that is no number", "GET /v1/status?after=x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-request", "after"},
		{"a negative number", "GET /v1/history?max=-1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-request", "max"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake()
			status, r := raw(t, serve(t, f), test.request)
			if status != test.status || r.Exit != control.ExitRefused || r.Code != test.code || !strings.Contains(r.Message, test.want) {
				t.Errorf("answered %d %+v", status, r)
			}
			if len(f.calls) != 0 {
				t.Errorf("the agent was asked: %.80q", f.calls)
			}
		})
	}
}

func TestEmptyBodyStandsForNoWishes(t *testing.T) {
	f := newFake()
	status, r := raw(t, serve(t, f), post("/v1/activate", ""))
	if status != 200 || r.Exit != control.ExitDone || len(f.calls) != 1 {
		t.Errorf("answered %d %+v, calls %q", status, r, f.calls)
	}
}

func TestBodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	f := newFake()
	s := control.NewServer(f, nil)
	s.SetBodyTimeout(20 * time.Millisecond)
	status, r := raw(t, serveWith(t, s), "POST /v1/stage HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n{\"path\":")
	if status != 408 || r.Code != "too-slow" {
		t.Errorf("answered %d %+v", status, r)
	}
}

// The body's deadline must not end an answer that takes longer than it.
func TestAnswerMayTakeLongerThanTheBody(t *testing.T) {
	f := newFake()
	f.hold, f.left = make(chan struct{}), make(chan struct{})
	s := control.NewServer(f, nil)
	s.SetBodyTimeout(20 * time.Millisecond)
	c := control.Dial(serveWith(t, s))
	defer c.Close()
	result := make(chan control.Result, 1)
	go func() { result <- c.Activate(t.Context(), control.ActivateRequest{Wait: true}) }()
	select {
	case <-f.left:
		t.Error("the request was given up while its answer was under way")
	case <-time.After(200 * time.Millisecond): // ten times the body's limit
	}
	close(f.hold)
	if r := <-result; r.Exit != control.ExitDone {
		t.Errorf("got %+v", r)
	}
}

func TestCallerThatGoesAwayIsNoticed(t *testing.T) {
	f := newFake()
	f.hold, f.left = make(chan struct{}), make(chan struct{})
	c := control.Dial(serve(t, f))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan control.Result, 1)
	go func() { result <- c.Activate(ctx, control.ActivateRequest{Wait: true}) }()
	until(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.calls) == 1 })
	cancel()
	if r := <-result; r.Exit != control.ExitError {
		t.Errorf("got %+v", r)
	}
	<-f.left
}

// poll asks for a change of the status and returns the connection on which the
// answer will come.
func poll(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET /v1/status?after=1 HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// silent proves that nothing comes for a moment.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("answered without a change: %v", err)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
}

func TestLongPollAnswersAtTheChange(t *testing.T) {
	f := newFake()
	conn := poll(t, serve(t, f))
	silent(t, conn)
	f.set(control.Status{Seq: 2, Phase: "trial"})
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s control.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || s.Phase != "trial" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWaitStatusReturnsAtTheChange(t *testing.T) {
	f := newFake()
	c := control.Dial(serve(t, f))
	defer c.Close()
	got := make(chan control.Status, 1)
	go func() {
		s, err := c.WaitStatus(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	f.set(control.Status{Seq: 2, Phase: "trial"})
	if s := <-got; s.Phase != "trial" {
		t.Errorf("got %+v", s)
	}
}

// An agent that was started anew counts from the beginning again.
func TestLongPollNoticesANewAgent(t *testing.T) {
	c := control.Dial(serve(t, newFake()))
	defer c.Close()
	s, err := c.WaitStatus(t.Context(), 900)
	if err != nil || s.Seq != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestLongPollEndsWithItsCaller(t *testing.T) {
	c := control.Dial(serve(t, newFake()))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.WaitStatus(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Serve must not wait for those who wait, and gives them an answer, not a cut.
func TestServeEndsAlthoughAClientWaits(t *testing.T) {
	socket := socketIn(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.NewServer(newFake(), nil).Serve(ctx, socket) }()
	until(t, func() bool { _, err := control.Dial(socket).Status(t.Context()); return err == nil })
	conn := poll(t, socket)
	silent(t, conn)
	stop()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the waiting client was cut off: %v", err)
	}
	resp.Body.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("serve ended with %v", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// An agent that stops says so, to those who wait for the end of a trial too.
func TestRequestUnderWayAtTheEnd(t *testing.T) {
	f := newFake()
	f.hold, f.left = make(chan struct{}), make(chan struct{})
	f.result = control.Result{Exit: control.ExitError, Message: "context canceled"}
	socket := socketIn(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.NewServer(f, nil).Serve(ctx, socket) }()
	c := control.Dial(socket)
	until(t, func() bool { _, err := c.Status(t.Context()); return err == nil })
	result := make(chan control.Result, 1)
	go func() { result <- c.Activate(t.Context(), control.ActivateRequest{Wait: true}) }()
	until(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.calls) == 1 })
	stop()
	if r := <-result; r.Code != control.CodeLost || r.Message != "the agent is stopping" {
		t.Errorf("got %+v", r)
	}
	<-done
}

// An agent that is killed cuts its clients off.
func TestAgentThatIsCutOff(t *testing.T) {
	socket := socketIn(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			http.ReadRequest(bufio.NewReader(conn))
			conn.Close()
		}
	}()
	c := control.Dial(socket)
	if r := c.Activate(t.Context(), control.ActivateRequest{}); r.Exit != control.ExitError || r.Code != control.CodeLost {
		t.Errorf("got %+v", r)
	}
	_, err = c.Status(t.Context())
	if _, ok := errors.AsType[*control.LostError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestAgentThatIsNotThere(t *testing.T) {
	socket := socketIn(t)
	c := control.Dial(socket)
	_, err := c.Status(t.Context())
	if _, ok := errors.AsType[*control.NotRunningError](err); !ok || !strings.Contains(err.Error(), socket) {
		t.Errorf("got %v", err)
	}
	if r := c.Revert(t.Context()); r.Exit != control.ExitError || !strings.Contains(r.Message, "not running") {
		t.Errorf("got %+v", r)
	}
}

package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	// writeTimeout is how long a device may leave a line unread.
	writeTimeout = 10 * time.Second
	// maxPending bounds the asks of one device that wait for an answer.
	maxPending = 64
)

var (
	// ErrOffline is returned for an ask to a device without a link.
	ErrOffline = errors.New("the device is not linked")
	// ErrLost is returned when the link ended before the answer came. The device
	// may have done what was asked: its next status tells.
	ErrLost = errors.New("the link ended before the device answered")
	// ErrBusy is returned when too many asks wait for one device.
	ErrBusy = errors.New("too many asks wait for this device")

	errSuperseded = errors.New("the device has opened another link")
	errUnknown    = errors.New("the device may not call any more")
	errLeaving    = errors.New("the panel is about to end")
)

// link is one device's connection.
type link struct {
	device  string
	request *http.Request // that opened it: who calls
	hello   wire.Hello
	lines   *wire.Writer
	ctx     context.Context // ends with the link; its cause says why
	end     context.CancelCauseFunc
	owned   *sync.WaitGroup // what it has begun besides
	taught  atomic.Bool     // it knows the fleet's newest root, or cannot be told

	mu      sync.Mutex // guards what follows
	next    uint64
	pending map[uint64]chan wire.Answer // nil until something is asked
	pulse   *time.Timer                 // the next ping; nil: there is none any more
}

// ServeHTTP takes a device's link and returns when it has ended.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		http.Error(w, "a link needs HTTP/2", http.StatusHTTPVersionNotSupported)
		return
	}
	device, ok := h.cfg.Identify(r)
	if !ok {
		http.Error(w, "a link is for enrolled devices", http.StatusUnauthorized)
		return
	}
	if over := h.isLeaving(); over > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(over.Seconds())+1))
		http.Error(w, "the panel is about to end", http.StatusServiceUnavailable)
		return
	}
	h.links.Add(1)
	defer h.links.Done()
	err := h.serve(w, r, device)
	h.log.Info("device left", "device", device, "cause", err)
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, device string) error {
	ctx, end := context.WithCancelCause(r.Context())
	rc := http.NewResponseController(w)
	out := &promptWriter{w: w, rc: rc, ctx: ctx}
	// There are ten thousand links: none has a goroutine besides this one that waits.
	var woken sync.WaitGroup
	l := &link{device: device, request: r, ctx: ctx, end: end, lines: wire.NewWriter(out), owned: &woken}
	defer out.close()
	defer woken.Wait()
	defer end(nil)
	// Whatever ends the link must also end a read that waits for the device and a
	// write that the device does not take.
	woken.Add(1)
	context.AfterFunc(ctx, func() {
		defer woken.Done()
		rc.SetReadDeadline(time.Now())
		rc.SetWriteDeadline(time.Now())
	})
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return err
	}
	l.begin()
	defer l.still()
	return h.listen(l, lineReader{wire.NewReader(r.Body), rc, ctx})
}

// listen takes the device's lines; the first one is its hello.
func (h *Hub) listen(l *link, lines lineReader) error {
	text, err := lines.read()
	if err == nil {
		err = aside(func() error { return h.meet(l, text) })
	}
	defer h.leave(l)
	for err == nil {
		if text, err = lines.read(); err == nil {
			err = aside(func() error { return h.take(l, text) })
		}
	}
	return err
}

// aside does something on a stack that is given back afterwards. That of a goroutine that
// waits for a device most of its life, ten thousand times, stays as large as it ever was.
func aside(do func() error) error {
	done := make(chan error)
	go func() { done <- do() }()
	return <-done
}

// meet takes the first line.
func (h *Hub) meet(l *link, text []byte) error {
	var up wire.Up
	if err := json.Unmarshal(text, &up); err != nil {
		return errNoLine(err)
	}
	if up.Hello == nil || up.Hello.Device != l.device {
		return errors.New("the device did not give the name that its certificate stands for")
	}
	l.hello = *up.Hello
	h.arrive(l)
	h.log.Info("device linked", "device", l.device, "agent", l.hello.Agent, "protocol", l.hello.Protocol)
	return h.greet(l)
}

func errNoLine(err error) error { return fmt.Errorf("read a line of the link: %w", err) }

// take takes any other line.
func (h *Hub) take(l *link, text []byte) error {
	h.heard(l)
	var up wire.Up
	if err := json.Unmarshal(text, &up); err != nil {
		return errNoLine(err)
	}
	if up.Status != nil {
		var s control.Status
		if err := json.Unmarshal(up.Status, &s); err != nil {
			return fmt.Errorf("read the device's status: %w", err)
		}
		h.report(l, s)
	}
	if up.Answer != nil {
		l.deliver(*up.Answer)
	}
	if up.Report != nil {
		h.reported(l, *up.Report)
	}
	return nil
}

// promptWriter sends each line at once and gives up on a device that does not
// read. The deadline stands only while it writes: HTTP/2 ends a stream whose
// deadline passes, busy or idle.
type promptWriter struct {
	w   io.Writer
	rc  *http.ResponseController
	ctx context.Context

	mu   sync.Mutex // guards gone, and is held while writing
	gone bool       // the handler has returned: its writer must not be touched
}

func (p *promptWriter) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return 0, ErrLost
	}
	// In this order: an end between the two steps finds the deadline set and
	// pulls it forward.
	if err := p.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	if p.ctx.Err() != nil {
		return 0, ErrLost
	}
	n, err := p.w.Write(line)
	if err == nil {
		err = p.rc.Flush()
	}
	return n, errors.Join(err, p.rc.SetWriteDeadline(time.Time{}))
}

// close waits for the write under way; none comes after it.
func (p *promptWriter) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// lineReader gives up when the device is silent or the link was ended.
type lineReader struct {
	lines *wire.Reader
	rc    *http.ResponseController
	ctx   context.Context
}

// read returns a line that is good until the next.
func (r lineReader) read() ([]byte, error) {
	// In this order, as with writes.
	if err := r.rc.SetReadDeadline(time.Now().Add(wire.SilenceLimit)); err != nil {
		return nil, err
	}
	if r.ctx.Err() != nil {
		return nil, context.Cause(r.ctx)
	}
	text, err := r.lines.Line()
	switch {
	case err != nil && r.ctx.Err() != nil:
		return nil, context.Cause(r.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("the device was silent for %v", wire.SilenceLimit)
	case errors.Is(err, io.EOF):
		return nil, errors.New("the device ended the link")
	}
	return text, err
}

// begin pings from now on.
func (l *link) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pulse = time.AfterFunc(wire.PingEvery, l.beat)
}

// still ends the pings. One under way is the writer's to wait for.
func (l *link) still() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pulse.Stop()
	l.pulse = nil
}

// beat pings, and ends the link when the device does not read.
func (l *link) beat() {
	if err := l.lines.Write(wire.Down{Ping: &wire.Ping{}}); err != nil {
		l.end(err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulse != nil {
		l.pulse.Reset(wire.PingEvery)
	}
}

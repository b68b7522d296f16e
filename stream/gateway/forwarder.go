package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"slipstream/stream/handover"
)

const (
	// giveTime bounds the forwarder's answer to a hand-over.
	giveTime = 5 * time.Second

	// describeTime bounds the forwarder's answer to what a stream is.
	describeTime = 2 * time.Second

	// reachTime is how long a viewer waits for a forwarder that is just not there,
	// because it is being replaced.
	reachTime = time.Second

	// awayTime is how long viewers are kept in the books while there is no forwarder.
	awayTime = 30 * time.Second

	// Pauses between two attempts to reach the forwarder.
	minDialPause = 20 * time.Millisecond
	maxDialPause = 250 * time.Millisecond
)

var (
	// errAway means that there is no forwarder to ask.
	errAway = errors.New("the forwarder is away")
	// errUnknownStream means that no version has a stream of that name.
	errUnknownStream = errors.New("no such stream")
	// errNoSource means that the stream has nothing to show yet.
	errNoSource = errors.New("the stream has no source yet")

	errUnlisted = errors.New("the forwarder no longer has it")

	// errNoAnswer leaves open whether the forwarder has done what it was asked.
	errNoAnswer = fmt.Errorf("the forwarder did not answer within %v", giveTime)
)

// forwarder is the gateway's connection to the process that has the viewers. It is
// made again whenever it ends; viewers that were taken are the forwarder's all the
// while, and what became of them is in its list at the next connection.
type forwarder struct {
	socket string
	log    *slog.Logger

	sending sync.Mutex // keeps requests in the order of their waiting; never held while reading

	mu        sync.Mutex // guards what follows
	conn      *handover.Conn
	up        chan struct{} // closed while there is a connection whose list is complete
	listing   []handover.Known
	given     map[string]*given
	described map[string]chan telling
	question  uint64 // number of the last one
}

// hears is told what the forwarder says without having been asked. Both are called
// from the reading of the connection and must not wait.
type hears struct {
	known func(handover.Known, *given) // a viewer that an earlier gateway gave
	asked func(handover.Asked)         // a request of an RTSP viewer
}

// given is a viewer in the forwarder's hands.
type given struct {
	id      string
	waiting []chan error  // for answers, in the order of the requests; guarded by the forwarder's mu
	ended   chan struct{} // closed when the forwarder no longer has it
	why     error         // valid once ended is closed
}

type telling struct {
	streams []handover.Stream
	err     error
}

func newForwarder(socket string, log *slog.Logger) *forwarder {
	return &forwarder{
		socket: socket, log: log, up: make(chan struct{}),
		given: map[string]*given{}, described: map[string]chan telling{},
	}
}

// run keeps the connection up until ctx ends, which leaves all viewers with the
// forwarder.
func (f *forwarder) run(ctx context.Context, h hears) {
	away := time.Now()
	for pause := minDialPause; ; pause = min(2*pause, maxDialPause) {
		if conn, err := handover.Dial(f.socket); err == nil {
			f.serve(ctx, conn, h)
			away, pause = time.Now(), minDialPause
		} else if time.Since(away) > awayTime {
			f.giveUp()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// serve takes the forwarder's words until the connection ends.
func (f *forwarder) serve(ctx context.Context, conn *handover.Conn, h hears) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	f.mu.Lock()
	f.conn, f.listing = conn, nil
	f.mu.Unlock()
	for {
		m, err := conn.Receive()
		if err != nil {
			f.lost(conn)
			f.log.Info("the forwarder is away", "because", err)
			return
		}
		f.hear(m, h)
	}
}

func (f *forwarder) hear(m handover.Message, h hears) {
	switch {
	case m.Known != nil:
		f.listing = append(f.listing, *m.Known)
	case m.Listed:
		f.listed(h)
	case m.Asked != nil:
		h.asked(*m.Asked)
	case m.Ended != nil:
		f.forget(m.Ended.ID, &endedError{m.Ended.Reason, m.Ended.Detail})
	case m.Described != nil:
		f.answer(m.ID, telling{streams: m.Described.Streams}, nil)
	case m.Taken != "":
		f.answer(m.Taken, telling{}, nil)
	case m.Error != "" && m.NotFound:
		f.answer(m.ID, telling{err: errUnknownStream}, errUnknownStream)
	case m.Error != "":
		f.answer(m.ID, telling{err: fmt.Errorf("%w: %s", errNoSource, m.Error)}, fmt.Errorf("the forwarder refused it: %s", m.Error))
	}
}

// listed compares the forwarder's list with what was given to it: who is missing
// ended while nobody listened, and who is new was given by an earlier gateway.
func (f *forwarder) listed(h hears) {
	f.mu.Lock()
	has, found := map[string]bool{}, map[*given]handover.Known{}
	for _, k := range f.listing {
		has[k.ID] = true
		if f.given[k.ID] == nil {
			g := newGiven(k.ID)
			f.given[k.ID], found[g] = g, k
		}
	}
	for id, g := range f.given {
		if !has[id] && len(g.waiting) == 0 {
			g.finish(errUnlisted)
			delete(f.given, id)
		}
	}
	f.listing = nil
	f.mu.Unlock()
	for g, k := range found {
		h.known(k, g)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.up: // listed twice
	default:
		close(f.up)
		f.log.Info("the forwarder is there", "viewers", len(has), "found", len(found))
	}
}

// answer passes an answer on to who waits for it.
func (f *forwarder) answer(id string, d telling, taken error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.described[id]; ok {
		delete(f.described, id)
		c <- d
		return
	}
	if g := f.given[id]; g != nil && len(g.waiting) > 0 {
		g.waiting[0] <- taken
		g.waiting = g.waiting[1:]
	}
}

// lost tells those who wait for an answer that none will come.
func (f *forwarder) lost(conn *handover.Conn) {
	conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn = nil
	select {
	case <-f.up:
		f.up = make(chan struct{})
	default:
	}
	for _, g := range f.given {
		g.fail(errAway)
	}
	for _, c := range f.described {
		c <- telling{err: errAway}
	}
	clear(f.described)
}

// giveUp ends the viewers of a forwarder that does not come back.
func (f *forwarder) giveUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.given {
		g.finish(errAway)
	}
	clear(f.given)
}

// connected tells whether the forwarder is there.
func (f *forwarder) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.up:
		return true
	default:
		return false
	}
}

// reach waits for the forwarder a little.
func (f *forwarder) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTime, errAway)
	defer cancel()
	f.mu.Lock()
	up := f.up
	f.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// describe asks what a stream is, and then what sound goes with it. Its errors are
// [errUnknownStream], [errNoSource] and [errAway].
func (f *forwarder) describe(ctx context.Context, stream string) ([]handover.Stream, error) {
	if err := f.reach(ctx); err != nil {
		return nil, err
	}
	answer := make(chan telling, 1)
	f.mu.Lock()
	f.question++
	id := fmt.Sprint("describe-", f.question)
	f.described[id] = answer
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.described, id)
		f.mu.Unlock()
	}()
	if err := f.send(handover.Request{Describe: &handover.Describe{ID: id, Stream: stream}}); err != nil {
		return nil, err
	}
	wait := time.NewTimer(describeTime)
	defer wait.Stop()
	select {
	case d := <-answer:
		if d.err == nil && len(d.streams) == 0 {
			d.err = errNoSource
		}
		return d.streams, d.err
	case <-wait.C:
		return nil, fmt.Errorf("%w: it did not describe the stream within %v", errAway, describeTime)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// give hands a WebRTC viewer over with its socket, which stays the caller's to close.
// On an error the viewer is nobody's.
func (f *forwarder) give(v handover.Viewer, s socket) (*given, error) {
	return f.hand(v.ID, handover.Request{Viewer: &v}, s.fd)
}

// hand sends what makes a viewer the forwarder's, of either kind.
func (f *forwarder) hand(id string, r handover.Request, fds ...int) (*given, error) {
	g := newGiven(id)
	f.mu.Lock()
	f.given[id] = g
	f.mu.Unlock()
	err := f.ask(g, r, fds...)
	if err != nil {
		if errors.Is(err, errNoAnswer) {
			f.end(id) // it may yet take it
		}
		f.forget(id, err)
		return nil, err
	}
	return g, nil
}

// ask sends a request about a viewer and waits for the answer.
func (f *forwarder) ask(g *given, r handover.Request, fds ...int) error {
	answer := make(chan error, 1)
	if err := f.sendAs(g, answer, r, fds...); err != nil {
		return err
	}
	wait := time.NewTimer(giveTime)
	defer wait.Stop()
	select {
	case err := <-answer:
		return err
	case <-wait.C:
		return errNoAnswer
	}
}

// sendAs sends a request whose answer goes to a channel.
func (f *forwarder) sendAs(g *given, answer chan error, r handover.Request, fds ...int) error {
	f.sending.Lock()
	defer f.sending.Unlock()
	f.mu.Lock()
	conn, known := f.conn, f.given[g.id] == g
	if known {
		g.waiting = append(g.waiting, answer)
	}
	f.mu.Unlock()
	if !known {
		return errUnlisted
	}
	err := f.write(conn, r, fds...)
	if err != nil {
		f.mu.Lock()
		g.waiting = slices.DeleteFunc(g.waiting, func(c chan error) bool { return c == answer })
		f.mu.Unlock()
	}
	return err
}

// send sends a request to which nobody waits for an answer by a viewer's name.
func (f *forwarder) send(r handover.Request) error {
	f.sending.Lock()
	defer f.sending.Unlock()
	f.mu.Lock()
	conn := f.conn
	f.mu.Unlock()
	return f.write(conn, r)
}

// write ends a connection that takes nothing more; its reader tells the others.
func (f *forwarder) write(conn *handover.Conn, r handover.Request, fds ...int) error {
	if conn == nil {
		return errAway
	}
	err := conn.Send(r, fds...)
	if errors.Is(err, handover.ErrTooLarge) {
		return err
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("%w: %w", errAway, err)
	}
	return nil
}

// end asks the forwarder to let a viewer go. What it answers ends the viewer, or
// says that there is none.
func (f *forwarder) end(id string) {
	if err := f.send(handover.Request{End: &handover.End{ID: id}}); err != nil {
		f.log.Debug("a viewer's end was not said", "err", err)
	}
}

// reply answers the request of an RTSP viewer.
func (f *forwarder) reply(id string, text []byte) error {
	return f.send(handover.Request{Reply: &handover.Reply{ID: id, Reply: text}})
}

// forget ends what is known of a viewer here.
func (f *forwarder) forget(id string, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.given[id]; g != nil {
		g.finish(why)
		delete(f.given, id)
	}
}

func newGiven(id string) *given { return &given{id: id, ended: make(chan struct{})} }

// fail answers all requests that wait; the forwarder's mu is held.
func (g *given) fail(err error) {
	for _, answer := range g.waiting {
		answer <- err
	}
	g.waiting = nil
}

// finish says that the forwarder no longer has the viewer; its mu is held.
func (g *given) finish(why error) {
	g.fail(why)
	g.why = why
	close(g.ended)
}

package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"slipstream/stream/handover"
)

// giveTime bounds the forwarder's answer to a hand-over.
const giveTime = 5 * time.Second

// errAway means that the forwarder ended, and with it all viewers that it had.
var errAway = errors.New("the forwarder is away")

// forwarder is the gateway's connection to the process that has the viewers. It is
// made when there is something to say.
type forwarder struct {
	socket string
	log    *slog.Logger

	mu      sync.Mutex // guards what follows, and orders the dials
	conn    *handover.Conn
	given   map[string]*given
	reading sync.WaitGroup
}

// given is a viewer in the forwarder's hands.
type given struct {
	taken chan error    // the answer to the hand-over
	ended chan struct{} // closed when the forwarder no longer has it
	why   error         // valid once ended is closed
}

func newForwarder(socket string, log *slog.Logger) *forwarder {
	return &forwarder{socket: socket, log: log, given: map[string]*given{}}
}

// give hands a viewer over with its socket, which stays the caller's to close. On
// an error the viewer is nobody's.
func (f *forwarder) give(v handover.Viewer, s socket) (*given, error) {
	g := &given{taken: make(chan error, 1), ended: make(chan struct{})}
	if err := f.enter(v.ID, g); err != nil {
		return nil, err
	}
	if err := f.send(handover.Request{Viewer: &v}, s.fd); err != nil {
		f.forget(v.ID)
		return nil, err
	}
	wait := time.NewTimer(giveTime)
	defer wait.Stop()
	select {
	case err := <-g.taken:
		if err != nil {
			f.forget(v.ID)
			return nil, err
		}
		return g, nil
	case <-wait.C:
		f.end(v.ID) // it may yet take it
		f.forget(v.ID)
		return nil, fmt.Errorf("the forwarder did not answer within %v", giveTime)
	}
}

// move gives a viewer a new socket, which stays the caller's to close.
func (f *forwarder) move(id string, s socket) error {
	return f.send(handover.Request{Moved: &handover.Moved{ID: id}}, s.fd)
}

// end asks the forwarder to let a viewer go.
func (f *forwarder) end(id string) {
	if err := f.send(handover.Request{End: &handover.End{ID: id}}); err != nil {
		f.log.Debug("a viewer's end was not said", "err", err) // it has ended otherwise
	}
}

// enter connects if need be, and expects answers about a viewer.
func (f *forwarder) enter(id string, g *given) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil {
		conn, err := handover.Dial(f.socket)
		if err != nil {
			return fmt.Errorf("%w: %w", errAway, err)
		}
		f.conn = conn
		f.reading.Go(func() { f.read(conn) })
	}
	f.given[id] = g
	return nil
}

func (f *forwarder) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.given, id)
}

func (f *forwarder) send(r handover.Request, fds ...int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil {
		return errAway
	}
	return f.conn.Send(r, fds...)
}

// read takes the forwarder's words until the connection ends.
func (f *forwarder) read(conn *handover.Conn) {
	for {
		m, err := conn.Receive()
		if err != nil {
			f.lost(conn)
			return
		}
		f.hear(m)
	}
}

func (f *forwarder) hear(m handover.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case m.Ended != nil:
		if g, ok := f.given[m.Ended.ID]; ok {
			g.finish(fmt.Errorf("the forwarder ended it: %s", m.Ended.Reason))
			delete(f.given, m.Ended.ID)
		}
	case m.Taken != "":
		f.given[m.Taken].answer(nil)
	case m.Error != "":
		f.given[m.ID].answer(fmt.Errorf("the forwarder refused it: %s", m.Error))
	}
}

// lost ends what went over a connection.
func (f *forwarder) lost(conn *handover.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn.Close()
	f.conn = nil
	for _, g := range f.given {
		g.answer(errAway)
		g.finish(errAway)
	}
	clear(f.given)
}

// answer is about the hand-over; what comes after it is about moves, and the
// viewer's next check will tell. g may be nil.
func (g *given) answer(err error) {
	if g == nil {
		return
	}
	select {
	case g.taken <- err:
	default:
	}
}

func (g *given) finish(why error) {
	g.why = why
	close(g.ended)
}

// close leaves all viewers with the forwarder.
func (f *forwarder) close() {
	f.mu.Lock()
	if f.conn != nil {
		f.conn.Close()
	}
	f.mu.Unlock()
	f.reading.Wait()
}

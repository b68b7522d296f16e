package stand

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"slipstream/stream/orders"
)

// keptEvents is how many events are kept for those who ask later.
const keptEvents = 64

// talk is one connection to the forwarder's orders socket.
type talk struct {
	conn *orders.Conn
	done chan struct{}

	mu      sync.Mutex // guards what follows
	req     uint64
	answers map[uint64]orders.Message
	events  []orders.Message
	err     error
	more    chan struct{} // closed and replaced with each message
}

func newTalk(conn *orders.Conn) *talk {
	t := &talk{conn: conn, done: make(chan struct{}), answers: map[uint64]orders.Message{}, more: make(chan struct{})}
	go t.listen()
	return t
}

func (t *talk) listen() {
	defer close(t.done)
	for {
		m, err := t.conn.Receive()
		t.mu.Lock()
		t.keep(m, err)
		close(t.more)
		t.more = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// keep files a message, or why there will be no more; t.mu is held.
func (t *talk) keep(m orders.Message, err error) {
	if err != nil {
		t.err = fmt.Errorf("the forwarder hung up: %w", err)
		return
	}
	if m.Req != 0 {
		t.answers[m.Req] = m
		return
	}
	if len(t.events) == keptEvents {
		t.events = append(t.events[:0], t.events[1:]...)
	}
	t.events = append(t.events, m)
}

func (t *talk) close() {
	t.conn.Close()
	<-t.done
}

// Ask sends a request and waits for its answer, which must not be an error.
func (s *Stand) Ask(ctx context.Context, r orders.Request, fds ...int) (orders.Message, error) {
	t := s.talk
	t.mu.Lock()
	t.req++
	r.Req = t.req
	t.mu.Unlock()
	if err := t.conn.Send(r, fds...); err != nil {
		return orders.Message{}, err
	}
	return t.wait(ctx, "answer", func() (orders.Message, bool) {
		m, ok := t.answers[r.Req]
		delete(t.answers, r.Req)
		return m, ok
	})
}

// Tell sends a request that is answered only if it is refused.
func (s *Stand) Tell(r orders.Request) error { return s.talk.conn.Send(r) }

// Event waits for an event that was told already, lately, or is to come.
func (s *Stand) Event(ctx context.Context, what string, match func(orders.Message) bool) (orders.Message, error) {
	t := s.talk
	return t.wait(ctx, what, func() (orders.Message, bool) {
		for _, m := range t.events {
			if match(m) {
				return m, true
			}
		}
		return orders.Message{}, false
	})
}

func (t *talk) wait(ctx context.Context, what string, find func() (orders.Message, bool)) (orders.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		t.mu.Lock()
		m, ok := find()
		err, more := t.err, t.more
		t.mu.Unlock()
		switch {
		case ok && m.Result == orders.ResultError:
			return m, errors.New(m.Error)
		case ok:
			return m, nil
		case err != nil:
			return m, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return m, fmt.Errorf("no %s: %w", what, ctx.Err())
		}
	}
}

// Status is the forwarder's own view.
func (s *Stand) Status(ctx context.Context) (orders.Status, error) {
	m, err := s.Ask(ctx, orders.Request{Status: true})
	if err != nil {
		return orders.Status{}, fmt.Errorf("ask for the status: %w", err)
	}
	return *m.Status, nil
}

package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// conn sends the device's lines. It may be used after its link ended: the
// lines then go nowhere.
type conn struct {
	lines *wire.Writer
	hello chan struct{} // closed when the hello was sent, which is the first line
	left  atomic.Bool   // the link has ended

	mu    sync.Mutex    // guards what follows
	seq   uint64        // of the newest status that was sent
	newer chan struct{} // closed when seq is another one
}

func newConn(w io.Writer) *conn {
	return &conn{lines: wire.NewWriter(w), hello: make(chan struct{}), newer: make(chan struct{})}
}

func (c *conn) send(up wire.Up) error { return c.lines.Write(up) }

// introduce sends the first line.
func (c *conn) introduce(h *wire.Hello) error {
	err := c.send(wire.Up{Hello: h})
	if err == nil {
		close(c.hello)
	}
	return err
}

// sendLater is for lines that could come before the hello.
func (c *conn) sendLater(ctx context.Context, up wire.Up) error {
	select {
	case <-c.hello:
		return c.send(up)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendStatus leaves the evidence of the last update away if the line would be
// too long with it; the panel can ask for the history.
func (c *conn) sendStatus(s control.Status) error {
	err := c.sendStatusWhole(s)
	if errors.Is(err, wire.ErrTooLong) && s.Last != nil {
		last := *s.Last
		last.Evidence, last.Proof = nil, nil
		s.Last = &last
		err = c.sendStatusWhole(s)
	}
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seq = s.Seq
		close(c.newer)
		c.newer = make(chan struct{})
	}
	return err
}

// sent tells whether a status of seq or a newer one was sent; if not, newer is closed with
// the next.
func (c *conn) sent(seq uint64) (is bool, newer <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seq >= seq, c.newer
}

func (c *conn) sendStatusWhole(s control.Status) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("make a report: %w", err)
	}
	return c.send(wire.Up{Status: text})
}

// sendHistory sends as many of the newest records as fit a line.
func (c *conn) sendHistory(id uint64, records []control.Record) error {
	for {
		text, err := json.Marshal(records)
		if err != nil {
			return fmt.Errorf("make a history: %w", err)
		}
		err = c.send(wire.Up{Answer: &wire.Answer{ID: id, History: text}})
		if !errors.Is(err, wire.ErrTooLong) || len(records) == 0 {
			return err
		}
		records = records[:len(records)/2]
	}
}

package hand

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// A sealed network lets the guest call nobody. So the rig lends it connections: each is
// made from outside, waits in the guest for somebody there who calls a port of loopback,
// and is joined on the rig's side to what the guest may reach then.

// What a lent connection says: that it waits still, and that somebody in the guest has it.
const (
	waiting = 0
	taken   = 1
)

const (
	wordEvery = 2 * time.Second // while it waits
	wordLimit = time.Minute     // without one: the guest was started anew, and knows of nothing
)

// Lender is the guest's side.
type Lender struct {
	mu    sync.Mutex // guards what follows
	ports map[uint16]chan net.Conn
}

// Lend waits for a caller at the port that the connection names, and joins the two.
func (l *Lender) Lend(conn net.Conn) error {
	defer conn.Close()
	var port uint16
	if err := binary.Read(conn, binary.BigEndian, &port); err != nil {
		return err
	}
	callers, err := l.callers(port)
	if err != nil {
		return err
	}
	word := time.NewTicker(wordEvery)
	defer word.Stop()
	for {
		select {
		case caller := <-callers:
			defer caller.Close()
			if _, err := conn.Write([]byte{taken}); err != nil {
				return err
			}
			Both(conn, caller)
			return nil
		case <-word.C:
			if _, err := conn.Write([]byte{waiting}); err != nil {
				return err
			}
		}
	}
}

// callers are those who call a port, from now on and for as long as the process lives.
func (l *Lender) callers(port uint16) (<-chan net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if there := l.ports[port]; there != nil {
		return there, nil
	}
	at, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	if l.ports == nil {
		l.ports = map[uint16]chan net.Conn{}
	}
	callers := make(chan net.Conn)
	l.ports[port] = callers
	go func() {
		for {
			caller, err := at.Accept()
			if err != nil {
				return
			}
			callers <- caller
		}
	}()
	return callers, nil
}

// Both carries bytes both ways until both have ended.
func Both(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { carry(a, b) })
	both.Go(func() { carry(b, a) })
	both.Wait()
}

func carry(to, from net.Conn) {
	_, _ = io.Copy(to, from) // whoever broke it off sees it end
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Reach is the rig's side: what the guest calls at a port of its loopback comes out at an
// address of ours.
type Reach struct {
	port   uint16
	what   string        // outside
	to     func() string // the guest's server
	cancel context.CancelFunc
	wg     sync.WaitGroup
	held   Held
}

// lentAtOnce is how many connections wait in the guest.
const lentAtOnce = 2

// NewReach lets the guest reach an address, by a port of its loopback. to is where the
// guest's server is at the time.
func NewReach(port int, what string, to func() string) (*Reach, error) {
	if port < 1 || port > 1<<16-1 {
		return nil, errors.New("a port is 1 to 65535")
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reach{port: uint16(port), what: what, to: to, cancel: cancel}
	for range lentAtOnce {
		r.wg.Go(func() { r.run(ctx) })
	}
	return r, nil
}

// run lends one connection after another, over all the guest's reboots.
func (r *Reach) run(ctx context.Context) {
	for ctx.Err() == nil {
		if r.lend() == nil {
			continue
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
		}
	}
}

// lend returns when somebody in the guest has taken the connection, or none can be lent.
func (r *Reach) lend() error {
	conn, err := net.Dial("tcp4", r.to())
	if err != nil {
		return err
	}
	if !r.held.Hold(conn) {
		return net.ErrClosed
	}
	word := [1]byte{waiting}
	err = binary.Write(conn, binary.BigEndian, r.port)
	for err == nil && word[0] == waiting {
		if err = conn.SetReadDeadline(time.Now().Add(wordLimit)); err == nil {
			_, err = io.ReadFull(conn, word[:])
		}
	}
	if err = errors.Join(err, conn.SetReadDeadline(time.Time{})); err != nil {
		r.held.Drop(conn)
		return err
	}
	r.wg.Go(func() { r.join(conn) })
	return nil
}

func (r *Reach) join(conn net.Conn) {
	defer r.held.Drop(conn)
	to, err := net.Dial("tcp4", r.what)
	if err != nil || !r.held.Hold(to) {
		return // the guest sees it end, as where nobody listens
	}
	defer r.held.Drop(to)
	Both(conn, to)
}

// Close ends all of it.
func (r *Reach) Close() {
	r.cancel()
	r.held.End()
	r.wg.Wait()
}

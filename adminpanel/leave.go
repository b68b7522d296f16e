package adminpanel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// leaveTimeout is how long requests may go on once the panel is to stop.
	leaveTimeout = 3 * time.Second
	// freshTimeout is how long somebody who has just come in may take to say what they want.
	freshTimeout = time.Second
	// comeBack is over how long devices spread their return to a panel that ends: it is
	// most likely starting again.
	comeBack = 2 * time.Second
)

// face is one of the panel's servers.
type face struct {
	server *http.Server
	at     net.Listener
	ended  chan struct{} // closed when nobody comes in any more
	fresh  *fresh        // nil: who calls there calls again by themselves
}

// fresh are the connections that have not said yet what they want. A server of net/http that
// is shut down hangs up on them, even if the request has just come: to who sent it, it is
// lost.
type fresh struct {
	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	none  chan struct{} // closed when nobody is waited for, if somebody asked
}

// watched has a server tell of its connections.
func watched(server *http.Server) *fresh {
	f := &fresh{conns: map[net.Conn]bool{}}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if state == http.StateNew {
			f.conns[c] = true
			return
		}
		delete(f.conns, c)
		if len(f.conns) == 0 && f.none != nil {
			close(f.none)
			f.none = nil
		}
	}
	return f
}

// wait waits until all have said it, or have had the time for it. Nobody may come in any more.
func (f *fresh) wait(most time.Duration) {
	f.mu.Lock()
	if len(f.conns) == 0 {
		f.mu.Unlock()
		return
	}
	none := make(chan struct{})
	f.none = none
	f.mu.Unlock()
	select {
	case <-none:
	case <-time.After(most):
	}
}

// leave ends links, requests and servers. Who calls from now on is for the next panel, if
// somebody keeps the sockets open.
func (p *Panel) leave(faces []face, leave func(), cause error) error {
	var errs []error
	if cause != nil {
		errs = append(errs, fmt.Errorf("serve the panel: %w", cause))
	}
	if p.fleet.Counts().Panels > 1 {
		p.drive.Retire()
	}
	for _, f := range faces {
		if f.fresh != nil {
			errs = append(errs, f.at.Close())
		}
	}
	p.hub.Drain(comeBack)
	p.api.Leave()
	leave()
	var ending sync.WaitGroup
	ended := make(chan error, len(faces))
	for _, f := range faces {
		ending.Go(func() { ended <- f.shutDown(p.freshTime) })
	}
	ending.Wait()
	close(ended)
	for err := range ended {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// shutDown answers who has asked, and ends the server.
func (f face) shutDown(most time.Duration) error {
	if f.fresh != nil {
		f.server.SetKeepAlivesEnabled(false) // who has been answered asks the next panel
		<-f.ended
		f.fresh.wait(most)
	}
	last, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err := f.server.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = f.server.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil // its listener was closed before
	}
	return err
}

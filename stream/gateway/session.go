package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"slipstream/stream/handover"
)

const (
	// connectTime bounds the time between an answer and the end of the handshake.
	connectTime = 30 * time.Second

	// endTime bounds the forwarder's answer to the end of a viewer.
	endTime = 2 * time.Second
)

// session is one WHEP viewer, from the answer to its end.
type session struct {
	g      *Gateway
	id     string
	stream string
	peer   *peer
	end    context.CancelCauseFunc
}

// Why a session ended.
var (
	errDeleted    = errors.New("the viewer ended it")
	errGone       = errors.New("the viewer is gone")
	errNotReached = errors.New("the viewer did not connect in time")
)

// open starts the session of a peer that was just given its answer. The seat that
// the caller took for it is given back at its end.
func (g *Gateway) open(ctx context.Context, stream string, p *peer) *session {
	ctx, end := context.WithCancelCause(ctx)
	s := &session{g: g, id: rand.Text(), stream: stream, peer: p, end: end}
	g.mu.Lock()
	g.sessions[s.id] = s
	g.mu.Unlock()
	g.running.Go(func() {
		defer g.leave()
		g.log.Info("viewer joins", "stream", stream, "by", "whep", "session", s.id)
		err := s.serve(ctx)
		g.mu.Lock()
		delete(g.sessions, s.id)
		g.mu.Unlock()
		g.log.Info("viewer left", "stream", stream, "by", "whep", "session", s.id, "because", err)
	})
	return s
}

// find returns a running session of a stream.
func (g *Gateway) find(stream, id string) (*session, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[id]
	return s, ok && s.stream == stream
}

// serve runs until the viewer leaves or ctx ends; it says why.
func (s *session) serve(ctx context.Context) error {
	defer s.end(nil)
	defer s.peer.close()
	wait := time.NewTimer(connectTime)
	defer wait.Stop()
	select {
	case <-s.peer.connected:
	case <-s.peer.ended:
		return errGone
	case <-wait.C:
		return errNotReached
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	given, err := s.handOver()
	if err != nil {
		return err
	}
	s.peer.release()
	return s.attend(ctx, given)
}

// handOver makes the viewer the forwarder's. When it fails, the peer can still
// tell the viewer.
func (s *session) handOver() (*given, error) {
	v, addr, err := s.peer.viewer(s.id, s.stream)
	if err != nil {
		return nil, err
	}
	link := s.peer.link
	link.muted.Store(true)
	link.at(addr)
	given, err := s.give(v, addr)
	if err != nil {
		link.at(netip.AddrPort{})
		link.muted.Store(false)
		return nil, err
	}
	return given, nil
}

func (s *session) give(v handover.Viewer, addr netip.AddrPort) (*given, error) {
	own, err := s.peer.port.connect(addr)
	if err != nil {
		return nil, err
	}
	defer own.close()
	s.peer.port.drain(own)
	return s.g.forwarder.give(v, own)
}

// attend follows a viewer that the forwarder has. The end of the gateway is not
// the viewer's.
func (s *session) attend(ctx context.Context, given *given) error {
	for {
		select {
		case addr := <-s.peer.link.moved:
			s.move(addr)
		case <-given.ended:
			return given.why
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errDeleted) {
				s.g.forwarder.end(s.id)
				select {
				case <-given.ended:
				case <-time.After(endTime):
				}
			}
			return context.Cause(ctx)
		}
	}
}

// move gives the viewer a socket for its new address. What fails is tried again
// at the viewer's next check.
func (s *session) move(addr netip.AddrPort) {
	own, err := s.peer.port.connect(addr)
	if err == nil {
		s.peer.port.drain(own)
		err = s.g.forwarder.move(s.id, own)
		own.close()
	}
	if err != nil {
		s.g.log.Warn("viewer cannot be followed", "stream", s.stream, "session", s.id, "err", err)
		return
	}
	s.peer.link.at(addr)
	s.g.log.Info("viewer moved", "stream", s.stream, "session", s.id)
}

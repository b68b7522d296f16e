package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"slipstream/stream/handover"
)

const (
	// connectTime bounds the time between an answer and the end of the handshake.
	connectTime = 30 * time.Second

	// endTime bounds the forwarder's answer to the end of a viewer.
	endTime = 2 * time.Second

	// takenTime is how long a restart of ICE waits for a hand-over that is under way.
	takenTime = time.Second
)

// session is one WHEP viewer, from the answer to its end, or from when the forwarder
// told of it, if an earlier gateway had given the answer.
type session struct {
	g      *Gateway
	id     string
	stream string
	seat   *seat
	link   *link
	peer   *peer // nil if an earlier gateway has made the connection
	end    context.CancelCauseFunc

	taken chan struct{} // closed when the forwarder has it
	given *given        // valid once taken is closed

	restarting sync.Mutex // held while ICE is restarted
	mu         sync.Mutex // guards what follows
	remote     string     // the viewer's ufrag
}

// Why a session ended.
var (
	errDeleted    = errors.New("the viewer ended it")
	errGone       = errors.New("the viewer is gone")
	errNotReached = errors.New("the viewer did not connect in time")
	errDropped    = errors.New("the viewer did not connect, and others wanted its place")
)

// Why ICE was not restarted.
var (
	errNotConnected = &refusal{http.StatusServiceUnavailable, "restart", "the session is not connected yet"}
	errNotRestarted = &refusal{http.StatusServiceUnavailable, "restart", "ICE could not be restarted now"}
)

// open starts the session of a peer that was just given its answer. The seat that
// the caller took for it is given back at its end.
func (g *Gateway) open(ctx context.Context, stream string, p *peer, place *seat) *session {
	s := &session{
		g: g, id: rand.Text(), stream: stream, seat: place, link: p.link, peer: p, remote: p.remote,
		taken: make(chan struct{}),
	}
	ctx = g.enter(ctx, s)
	place.mayDrop(func() { s.end(errDropped) })
	g.running.Go(func() {
		g.log.Info("viewer joins", "stream", stream, "by", handover.KindWHEP, "session", s.id, "tracks", len(p.tracks))
		has, err := s.join(ctx)
		g.tidier.later()
		if err != nil {
			s.peer.close()
			g.exit(s, err)
			return
		}
		// The stack that a handshake has needed is many times what waiting takes.
		g.running.Go(func() { g.exit(s, s.stay(ctx, has)) })
	})
	return s
}

// adopt goes on with a viewer that an earlier gateway has given to the forwarder.
func (g *Gateway) adopt(ctx context.Context, k handover.Known, has *given) error {
	addr, err := netip.ParseAddrPort(k.Address)
	if err != nil || k.ICE == nil || g.peers == nil {
		return fmt.Errorf("the forwarder told of viewer %q at %q without what it takes to follow it", k.ID, k.Address)
	}
	l := &link{ours: credentials{k.ICE.LocalUfrag, k.ICE.LocalPwd}, moved: make(chan netip.AddrPort, 1)}
	l.at(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	s := &session{
		g: g, id: k.ID, stream: k.Stream, seat: g.guests.welcome(addr.Addr(), time.Now()), link: l,
		remote: k.ICE.RemoteUfrag, taken: make(chan struct{}), given: has,
	}
	close(s.taken)
	ctx = g.enter(ctx, s)
	g.peers.port.add(l)
	g.running.Go(func() {
		defer g.peers.port.remove(l)
		defer g.metrics.present(handover.KindWHEP, s.stream)()
		g.exit(s, s.attend(ctx, has))
	})
	return nil
}

// enter puts a session into the books, and returns the context that it lives in.
func (g *Gateway) enter(ctx context.Context, s *session) context.Context {
	ctx, s.end = context.WithCancelCause(ctx)
	g.mu.Lock()
	g.sessions[s.id] = s
	g.mu.Unlock()
	return ctx
}

func (g *Gateway) exit(s *session, why error) {
	s.end(nil)
	var ended *endedError
	if errors.As(why, &ended) && ended.detail != "" {
		g.farewells.add(farewell{s.stream, s.id}, ended.detail)
	}
	g.mu.Lock()
	delete(g.sessions, s.id)
	g.mu.Unlock()
	s.seat.leave()
	g.log.Info("viewer left", "stream", s.stream, "by", handover.KindWHEP, "session", s.id, "because", why)
}

// find returns a running session of a stream, or the refusal that says why there is
// none. While the forwarder's list of those that an earlier gateway gave is not
// complete, it waits for it a little.
func (g *Gateway) find(ctx context.Context, stream, id string) (*session, error) {
	look := func() (*session, bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		s, ok := g.sessions[id]
		return s, ok && s.stream == stream
	}
	s, ok := look()
	if !ok && g.forwarder.reach(ctx) == nil {
		s, ok = look()
	}
	if !ok {
		return nil, g.farewells.missing(stream, id)
	}
	return s, nil
}

// join waits for the viewer's handshake, and gives it to the forwarder.
func (s *session) join(ctx context.Context) (*given, error) {
	since := time.Now()
	wait := time.NewTimer(connectTime)
	defer wait.Stop()
	select {
	case <-s.peer.connected:
	case <-s.peer.ended:
		return nil, errGone
	case <-wait.C:
		return nil, errNotReached
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !s.seat.settle() {
		return nil, errDropped
	}
	s.g.metrics.handshake.Observe(time.Since(since).Seconds())
	since = time.Now()
	has, err := s.handOver()
	if err != nil {
		return nil, err
	}
	s.g.metrics.handOver.Observe(time.Since(since).Seconds())
	s.peer.release()
	s.given = has
	close(s.taken)
	return has, nil
}

// stay follows a viewer that has joined until it leaves or ctx ends; it says why.
func (s *session) stay(ctx context.Context, has *given) error {
	defer s.peer.close()
	defer s.g.metrics.joined(handover.KindWHEP, s.stream)()
	return s.attend(ctx, has)
}

// handOver makes the viewer the forwarder's. When it fails, the peer can still
// tell the viewer.
func (s *session) handOver() (*given, error) {
	v, addr, err := s.peer.viewer(s.id)
	if err != nil {
		return nil, err
	}
	s.link.muted.Store(true)
	s.link.at(addr)
	has, err := s.give(v, addr)
	if err != nil {
		s.link.at(netip.AddrPort{})
		s.link.muted.Store(false)
		return nil, err
	}
	return has, nil
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
func (s *session) attend(ctx context.Context, has *given) error {
	for {
		select {
		case addr := <-s.link.moved:
			s.move(has, addr)
		case <-has.ended:
			return has.why
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errDeleted) {
				s.g.forwarder.end(s.id)
				select {
				case <-has.ended:
				case <-time.After(endTime):
				}
			}
			return context.Cause(ctx)
		}
	}
}

// move gives the viewer a socket for its new address. What fails is tried again
// at the viewer's next check.
func (s *session) move(has *given, addr netip.AddrPort) {
	port := s.g.peers.port
	own, err := port.connect(addr)
	if err == nil {
		port.drain(own)
		err = s.g.forwarder.ask(has, handover.Request{Moved: &handover.Moved{ID: s.id}}, own.fd)
		own.close()
	}
	if err != nil {
		s.g.log.Warn("viewer cannot be followed", "stream", s.stream, "session", s.id, "err", err)
		return
	}
	s.link.at(addr)
	s.g.log.Info("viewer moved", "stream", s.stream, "session", s.id)
}

// tag is the entity tag of the ICE session of now.
func (s *session) tag() string { return s.link.own().tag() }

// speaks tells whether a ufrag is the viewer's of now.
func (s *session) speaks(ufrag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remote == ufrag
}

// restart begins a new ICE session with a viewer that the forwarder has, and returns
// our credentials in it. If it fails the one before goes on.
func (s *session) restart(ctx context.Context, remote string) (credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, takenTime)
	defer cancel()
	select {
	case <-s.taken:
	case <-ctx.Done():
		return credentials{}, errNotConnected
	}
	s.restarting.Lock()
	defer s.restarting.Unlock()
	ours := newCredentials()
	ice := ours.ice(remote)
	if err := s.g.forwarder.ask(s.given, handover.Request{Moved: &handover.Moved{ID: s.id, ICE: &ice}}); err != nil {
		s.g.log.Warn("ICE was not restarted", "stream", s.stream, "session", s.id, "err", err)
		return credentials{}, errNotRestarted
	}
	s.g.peers.port.renew(s.link, ours)
	s.mu.Lock()
	s.remote = remote
	s.mu.Unlock()
	s.g.metrics.restarts.Inc()
	s.g.log.Info("ICE restarted", "stream", s.stream, "session", s.id)
	return ours, nil
}

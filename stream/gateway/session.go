package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"slipstream/stream/subscribe"
)

const (
	// connectTime bounds the time between an answer and the first packet.
	connectTime = 30 * time.Second

	// replayPause is the shortest time between two answers to a viewer's lost
	// picture, so that one viewer cannot multiply what it is sent.
	replayPause = 200 * time.Millisecond
)

// session is one WHEP viewer, from the answer to its end.
type session struct {
	id     string
	stream string
	peer   *peer
	feed   feed
	report reporter
	end    context.CancelCauseFunc

	lastReplay atomic.Int64 // Unix nanoseconds
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
	s := &session{id: rand.Text(), stream: stream, peer: p, end: end}
	s.feed.socket, s.feed.stream = g.viewersSocket(), stream
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

// serve runs until the viewer leaves, the feed ends, or ctx ends; it says why.
func (s *session) serve(ctx context.Context) error {
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer s.peer.close()
	defer s.end(nil)
	watcher.Go(func() {
		select {
		case <-s.peer.ended:
			s.end(errGone)
		case <-ctx.Done():
		}
	})
	s.peer.listen(s.lost)
	return s.watch(ctx)
}

// watch holds the session until the viewer is connected, then feeds it.
func (s *session) watch(ctx context.Context) error {
	wait := time.NewTimer(connectTime)
	defer wait.Stop()
	select {
	case <-s.peer.connected:
	case <-wait.C:
		return errNotReached
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Only now: the subscription begins with a key frame, which would have been
	// lost before the connection stood.
	err := s.feed.run(ctx, s.send)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (s *session) send(c *subscribe.Conn, pkt []byte) error {
	if err := s.peer.write(pkt); err != nil {
		return errGone
	}
	if r := s.report.sent(s.peer.ssrc, c.TimeBase(), pkt); r != nil {
		s.peer.report(r)
	}
	return nil
}

// lost answers a viewer that cannot go on decoding.
func (s *session) lost() {
	now := time.Now().UnixNano()
	if last := s.lastReplay.Load(); now-last >= int64(replayPause) && s.lastReplay.CompareAndSwap(last, now) {
		s.feed.replay()
	}
}

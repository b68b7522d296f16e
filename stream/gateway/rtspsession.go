package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"

	"slipstream/stream/handover"
)

// rtspTimeout is how long a viewer over UDP may be silent. Over TCP the
// connection tells.
const rtspTimeout = time.Minute

// rtspSession is what a viewer has set up. It has one of the viewers' places.
type rtspSession struct {
	conn   *rtspConn
	id     string
	stream string
	seat   *seat
	gone   func()          // counts the viewer out; nil before it has joined
	tracks []rtspTrack     // all of the stream
	ways   map[int]rtspWay // by track, of those that are set up
	feeds  *rtspFeeds      // of a viewer who watches through the gateway; else nil
}

// rtspWay is how a track gets to the viewer.
type rtspWay struct {
	transport
	ssrc uint32
	seq  uint16 // of the first packet
}

func random() uint32 {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:])
}

func (s *rtspSession) playing() bool { return s.feeds != nil }

// setup answers SETUP. The first one of a connection opens its session.
func (c *rtspConn) setup(ctx context.Context, r *rtspRequest) *base.Response {
	if c.session != nil && c.session.playing() {
		return response(base.StatusMethodNotValidInThisState)
	}
	stream, track, refused := c.look(r)
	if refused != nil {
		return refused
	}
	tracks, err := c.server.g.rtspTracks(ctx, stream)
	if err != nil {
		return c.refusal(err)
	}
	switch {
	case c.session != nil && c.session.stream != stream, track == noTrack && len(tracks) > 1:
		return response(base.StatusAggregateOperationNotAllowed)
	case track == noTrack:
		track = 0
	case track >= len(tracks):
		return response(base.StatusNotFound)
	}
	s := c.session
	if s == nil {
		s = &rtspSession{conn: c, id: rand.Text(), stream: stream, ways: map[int]rtspWay{}}
	}
	way, err := s.way(track, r.Header["Transport"])
	if err != nil {
		return c.refusal(err)
	}
	if c.session == nil {
		if s.seat, err = c.server.g.guests.admit(c.from, time.Now()); err != nil {
			way.close()
			return c.refusal(refuse(base.StatusNotEnoughBandwidth, err.Error()))
		}
		s.seat.mayDrop(func() { c.tcp.Close() })
		c.session = s
	}
	s.set(track, way, tracks)
	res := named(response(base.StatusOK), s.id)
	res.Header["Transport"] = way.header(way.ssrc)
	return res
}

// way chooses and opens the way of a track.
func (s *rtspSession) way(track int, wished base.HeaderValue) (rtspWay, error) {
	var others []transport
	for n, w := range s.ways {
		if n != track {
			others = append(others, w.transport)
		}
	}
	t, ok := chooseTransport(wished, track, others, s.conn.server.tls != nil)
	if !ok {
		return rtspWay{}, errNoTransport
	}
	if t.udp {
		if err := t.open(addrOf(s.conn.tcp.LocalAddr()), s.conn.from); err != nil {
			return rtspWay{}, refuse(base.StatusUnsupportedTransport, err.Error())
		}
	}
	return rtspWay{t, random(), uint16(random())}, nil
}

// set takes a way for a track, in place of the one that it had.
func (s *rtspSession) set(track int, way rtspWay, tracks []rtspTrack) {
	if old, ok := s.ways[track]; ok {
		old.close()
	}
	s.ways[track] = way
	s.tracks = tracks
}

// play answers PLAY: the viewer is the forwarder's from then on, or, over TLS, is
// fed through the gateway.
func (c *rtspConn) play(r *rtspRequest) (*base.Response, error) {
	s := c.session
	if s == nil {
		return response(base.StatusMethodNotValidInThisState), nil
	}
	stream, track, refused := c.look(r)
	if refused != nil {
		return refused, nil
	}
	if _, isSet := s.ways[track]; stream != s.stream || track != noTrack && !isSet {
		return response(base.StatusNotFound), nil
	}
	res := named(response(base.StatusOK), s.id)
	if s.playing() { // again
		return res, nil
	}
	if !s.seat.settle() {
		return nil, errDropped
	}
	res.Header["RTP-Info"] = s.info(rtspBase(r.URL, s.stream))
	if !c.server.feeds {
		return s.handOver(answerBytes(res, r.cseq))
	}
	c.leaveDoor()
	s.joins()
	s.feeds = &rtspFeeds{}
	return res, nil
}

func (s *rtspSession) joins() {
	s.gone = s.conn.server.g.metrics.joined(s.by(), s.stream)
	s.conn.server.log.Info("viewer joins", "stream", s.stream, "by", s.by(), "session", s.id, "viewer", s.conn.auth.name)
}

func (s *rtspSession) left(why error) {
	s.gone()
	s.seat.leave()
	s.conn.server.log.Info("viewer left", "stream", s.stream, "by", s.by(), "session", s.id, "because", why)
}

func (s *rtspSession) by() string {
	if s.conn.server.tls != nil {
		return "rtsps"
	}
	return handover.KindRTSP
}

// info says which packets are the first ones (RFC 2326 §12.33).
func (s *rtspSession) info(base string) base.HeaderValue {
	var info headers.RTPInfo
	for track := range s.tracks {
		if way, ok := s.ways[track]; ok {
			info = append(info, &headers.RTPInfoEntry{URL: base + s.tracks[track].media.Control, SequenceNumber: &way.seq})
		}
	}
	return info.Marshal()
}

// handOver gives the viewer to the forwarder, which answers PLAY.
func (s *rtspSession) handOver(reply []byte) (*base.Response, error) {
	unread, _ := s.conn.br.Peek(s.conn.br.Buffered())
	p := handover.Player{
		ID: s.id, Session: s.id, TimeoutMS: rtspTimeout.Milliseconds(), Reply: reply, Unread: unread,
	}
	fds, err := s.descriptors(&p)
	if err != nil {
		return s.conn.refusal(err), nil
	}
	given, err := s.conn.server.g.forwarder.hand(s.id, handover.Request{Player: &p}, fds...)
	socket{fds[0]}.close()
	switch {
	case errors.Is(err, errNoAnswer), errors.Is(err, errAway):
		return nil, err // it may be there, and only one may write
	case err != nil:
		s.conn.server.log.Warn("the forwarder took no RTSP viewer", "stream", s.stream, "err", err)
		return s.conn.refusal(err), nil
	}
	s.close()
	s.joins()
	s.conn.server.g.running.Go(func() { s.attend(given) })
	return nil, errHandedOver
}

// attend keeps the place of a viewer that the forwarder has. The end of the
// gateway is not the viewer's.
func (s *rtspSession) attend(given *given) {
	select {
	case <-given.ended:
		s.left(given.why)
	case <-s.conn.lives.Done():
		s.left(context.Cause(s.conn.lives))
	}
}

// descriptors lists the tracks and what goes with them. The first descriptor is a
// new one of the connection; the others are the session's.
func (s *rtspSession) descriptors(p *handover.Player) ([]int, error) {
	conn, err := duplicate(s.conn.tcp)
	if err != nil {
		return nil, err
	}
	fds := []int{conn.fd}
	for track, t := range s.tracks {
		way, ok := s.ways[track]
		if !ok {
			continue
		}
		p.UDP = way.udp
		p.Tracks = append(p.Tracks, handover.Track{
			Stream: t.stream, SSRC: way.ssrc, PayloadType: t.payloadType, Channel: way.channel, Seq: way.seq,
			Codec: t.codec, Profile: t.profile,
		})
		if way.udp {
			fds = append(fds, way.own[0].fd, way.own[1].fd)
		}
	}
	return fds, nil
}

// close gives back what the session holds but its place.
func (s *rtspSession) close() {
	for _, way := range s.ways {
		way.close()
	}
}

// end is that of a session that was not handed over.
func (s *rtspSession) end(why error) {
	s.close()
	if !s.playing() {
		s.seat.leave()
		return
	}
	s.feeds.running.Wait()
	s.left(why)
}

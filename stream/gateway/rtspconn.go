package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
)

// rtspMethods is what the gateway and the forwarder together answer.
const rtspMethods = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"

// rtspConn is one viewer's connection, which holds one session at most.
type rtspConn struct {
	server *rtspServer
	tcp    *net.TCPConn
	from   netip.Addr
	lives  context.Context         // as long as the gateway
	hangUp context.CancelCauseFunc // ends the conversation

	br       *bufio.Reader
	auth     asker
	joinedBy time.Time
	atDoor   bool
	session  *rtspSession // nil before SETUP
	asked    int          // requests before PLAY

	writing sync.Mutex // of whole answers and packets
	conn    net.Conn   // over TLS or not
}

func newRTSPConn(ctx context.Context, s *rtspServer, tcp *net.TCPConn, from netip.Addr) *rtspConn {
	return &rtspConn{
		server: s, tcp: tcp, from: from, lives: ctx, joinedBy: time.Now().Add(s.g.cfg.JoinTime), atDoor: true,
		auth: asker{guard: s.g.guard, from: from, secure: s.tls != nil},
		conn: tcp, br: bufio.NewReaderSize(tcp, maxRTSPHead),
	}
}

// over says that all goes through TLS.
func (c *rtspConn) over(conn net.Conn) {
	c.conn = conn
	c.br = bufio.NewReaderSize(conn, maxRTSPHead)
}

// leaveDoor makes room for another one who wants to watch.
func (c *rtspConn) leaveDoor() {
	if c.atDoor {
		c.atDoor = false
		c.server.g.door.leave(c.from)
	}
}

// Why a conversation ends here.
var (
	errTornDown   = errors.New("the viewer ended it")
	errHandedOver = errors.New("it is the forwarder's")
)

// converse answers requests until the viewer has been handed over, or is gone.
func (c *rtspConn) converse() {
	ctx, hangUp := context.WithCancelCause(c.lives)
	c.hangUp = hangUp
	err := c.requests(ctx)
	hangUp(err)
	if c.session != nil && !errors.Is(err, errHandedOver) {
		c.session.end(context.Cause(ctx))
	}
}

func (c *rtspConn) requests(ctx context.Context) error {
	for {
		if err := c.conn.SetReadDeadline(c.deadline()); err != nil {
			return err
		}
		r, err := c.next()
		if bad := (*rtspError)(nil); errors.As(err, &bad) {
			_ = c.write(c.refusal(bad), "") // the connection ends either way
			return bad
		}
		if err != nil {
			return err
		}
		res, err := c.answer(ctx, r)
		if res != nil {
			if failed := c.write(res, r.cseq); failed != nil {
				return failed
			}
		}
		if err != nil {
			return err
		}
		if c.session != nil && c.session.playing() {
			c.session.feed(ctx)
		}
	}
}

// next waits for a request.
func (c *rtspConn) next() (*rtspRequest, error) {
	r, err := readRequest(c.br)
	if err != nil || c.session != nil && c.session.playing() {
		return r, err
	}
	if c.asked++; c.asked > maxJoinRequests {
		return nil, refuse(base.StatusForbidden, fmt.Sprintf("a viewer has %d requests until it plays", maxJoinRequests))
	}
	return r, nil
}

// deadline is for the next request. A viewer who watches need not send any: when
// it is gone, writing will tell.
func (c *rtspConn) deadline() time.Time {
	if c.session != nil && c.session.playing() {
		return time.Time{}
	}
	next := time.Now().Add(c.server.g.cfg.JoinTime / 2)
	if c.joinedBy.Before(next) {
		return c.joinedBy
	}
	return next
}

// answer returns the answer to a request, and an error if the conversation is over
// after it. There is no answer to a PLAY that was handed over.
func (c *rtspConn) answer(ctx context.Context, r *rtspRequest) (*base.Response, error) {
	if _, ok := r.Header["Require"]; ok {
		return &base.Response{StatusCode: base.StatusOptionNotSupported, Header: base.Header{"Unsupported": r.Header["Require"]}}, nil
	}
	if r.session != "" && (c.session == nil || r.session != c.session.id) {
		return response(base.StatusSessionNotFound), nil
	}
	switch r.Method {
	case base.Describe:
		return c.describe(ctx, r), nil
	case base.Setup:
		return c.setup(ctx, r), nil
	case base.Play:
		return c.play(r)
	case base.Teardown:
		if c.session == nil {
			return response(base.StatusSessionNotFound), nil
		}
		return response(base.StatusOK), errTornDown
	}
	return always(r, c.sessionID()), nil
}

func (c *rtspConn) sessionID() string {
	if c.session == nil {
		return ""
	}
	return c.session.id
}

func response(status base.StatusCode) *base.Response {
	return &base.Response{StatusCode: status, Header: base.Header{}}
}

// refused turns an error into an answer. Nobody is told more than its status and
// when to come again.
func refused(err error) *base.Response {
	res := response(base.StatusServiceUnavailable)
	if bad := (*rtspError)(nil); errors.As(err, &bad) {
		res.StatusCode = bad.status
	}
	if res.StatusCode == base.StatusServiceUnavailable {
		res.Header["Retry-After"] = base.HeaderValue{retryAfter}
	}
	return res
}

// refusal also says in the log why.
func (c *rtspConn) refusal(err error) *base.Response {
	res := refused(err)
	c.server.log.Debug("RTSP request refused", "from", c.from, "status", int(res.StatusCode), "because", err)
	return res
}

// named adds the session, if there is one, to an answer.
func named(res *base.Response, session string) *base.Response {
	if session != "" {
		seconds := uint(rtspTimeout / time.Second)
		res.Header["Session"] = headers.Session{Session: session, Timeout: &seconds}.Marshal()
	}
	return res
}

// answerBytes are an answer as it is written.
func answerBytes(res *base.Response, cseq string) []byte {
	if cseq != "" {
		res.Header["CSeq"] = base.HeaderValue{cseq}
	}
	text, _ := res.Marshal() // has no error to return
	return text
}

func (c *rtspConn) write(res *base.Response, cseq string) error {
	if res.StatusCode >= base.StatusBadRequest {
		c.server.g.metrics.refusals.WithLabelValues(fmt.Sprint("rtsp-", int(res.StatusCode))).Inc()
	}
	return c.writeBytes(answerBytes(res, cseq))
}

// writeBytes writes one answer or packet as a whole.
func (c *rtspConn) writeBytes(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(rtspWrite))
	_, err := c.conn.Write(b)
	return err
}

// describe answers DESCRIBE.
func (c *rtspConn) describe(ctx context.Context, r *rtspRequest) *base.Response {
	stream, _, refused := c.look(r)
	if refused != nil {
		return refused
	}
	return c.server.g.describe(ctx, r, stream)
}

func (g *Gateway) describe(ctx context.Context, r *rtspRequest, stream string) *base.Response {
	tracks, err := g.rtspTracks(ctx, stream)
	if err != nil {
		return refused(err)
	}
	text, err := rtspSDP(stream, tracks)
	if err != nil {
		return refused(err)
	}
	return &base.Response{StatusCode: base.StatusOK, Body: text, Header: base.Header{
		"Content-Type": base.HeaderValue{sdpType},
		"Content-Base": base.HeaderValue{rtspBase(r.URL, stream)},
	}}
}

// look finds what a request is about, for a viewer who may watch it.
func (c *rtspConn) look(r *rtspRequest) (stream string, track int, refused *base.Response) {
	if r.URL == nil {
		return "", noTrack, response(base.StatusBadRequest)
	}
	if refused := c.auth.check(&r.Request, time.Now()); refused != nil {
		return "", noTrack, refused
	}
	stream, track, ok := rtspPath(r.URL)
	if !ok {
		return "", noTrack, response(base.StatusNotFound)
	}
	return stream, track, nil
}

// rtspBase is a stream's URL as the viewer knows it, with a slash behind it.
func rtspBase(u *base.URL, stream string) string {
	return (&base.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + stream + "/"}).String()
}

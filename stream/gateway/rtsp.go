package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"golang.org/x/net/netutil"
)

const (
	// rtspQueue is how many packets a reader may be behind before it is
	// disconnected; a power of two. It holds the first picture and what has come
	// since, which are written before the reader has its answer.
	rtspQueue = 2048

	// rtspWriteTime is how long one write to a reader may take.
	rtspWriteTime = 5 * time.Second

	// pairTries bounds the search for an even UDP port whose neighbour is free.
	pairTries = 100

	rtspPayloadType = 96
	rtspControl     = "trackID=0"
)

var errBadPath = errors.New("the path names no stream")

// rtspServer plays streams over RTSP. gortsplib speaks the protocol; packets
// bypass its ServerStream, which begins only after PLAY was answered and would
// lose the first picture.
type rtspServer struct {
	g         *Gateway
	listener  net.Listener
	rtp, rtcp *net.UDPConn
	server    *gortsplib.Server
	started   bool
	closing   sync.Once

	ctx context.Context // of the readers; set by start, before there are any
}

func newRTSPServer(g *Gateway, addr string) (*rtspServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp := ln.Addr().(*net.TCPAddr)
	s := &rtspServer{g: g, listener: netutil.LimitListener(ln, maxConns)}
	if s.rtp, s.rtcp, err = listenPair(tcp.IP); err != nil {
		ln.Close()
		return nil, err
	}
	s.server = &gortsplib.Server{
		Handler:                  s,
		RTSPAddress:              tcp.String(),
		UDPRTPAddress:            s.rtp.LocalAddr().String(),
		UDPRTCPAddress:           s.rtcp.LocalAddr().String(),
		WriteTimeout:             rtspWriteTime,
		WriteQueueSize:           rtspQueue,
		DisableRTCPSenderReports: true, // ours come from the capture clock
		Listen:                   func(_, _ string) (net.Listener, error) { return s.listener, nil },
		ListenPacket:             s.udp,
	}
	return s, nil
}

// listenPair takes two neighbouring UDP ports, the first one even (RFC 3550 §11).
func listenPair(ip net.IP) (rtp, rtcp *net.UDPConn, err error) {
	for range pairTries {
		var a, b *net.UDPConn
		if a, err = net.ListenUDP("udp", &net.UDPAddr{IP: ip}); err != nil {
			return nil, nil, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		if b, err = net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port ^ 1}); err != nil {
			a.Close()
			continue
		}
		if port%2 == 1 {
			a, b = b, a
		}
		return a, b, nil
	}
	return nil, nil, fmt.Errorf("no two neighbouring UDP ports are free: %w", err)
}

// udp hands out the two sockets that are bound already.
func (s *rtspServer) udp(_, addr string) (net.PacketConn, error) {
	if addr == s.rtp.LocalAddr().String() {
		return s.rtp, nil
	}
	return s.rtcp, nil
}

func (s *rtspServer) start(ctx context.Context) error {
	s.ctx = ctx
	if err := s.server.Start(); err != nil {
		return err
	}
	s.started = true
	return nil
}

func (s *rtspServer) wait() error { return s.server.Wait() }

// close ends the server and every reader, or the sockets of one never started.
func (s *rtspServer) close() {
	s.closing.Do(func() {
		if s.started {
			s.server.Close()
			return
		}
		s.listener.Close()
		s.rtp.Close()
		s.rtcp.Close()
	})
}

// media is how RTSP describes a line. The payload type is ours to set.
func (l line) media() *description.Media {
	return &description.Media{
		Type:    description.MediaTypeVideo,
		Control: rtspControl,
		Formats: []format.Format{&format.H264{
			PayloadTyp: rtspPayloadType, SPS: l.sps, PPS: l.pps, PacketizationMode: 1,
		}},
	}
}

// look finds the stream that a path names, or the response that refuses it.
func (s *rtspServer) look(path string) (name string, m *description.Media, refused *base.Response, err error) {
	name, ok := streamOfPath(path)
	if !ok {
		return "", nil, &base.Response{StatusCode: base.StatusNotFound}, errBadPath
	}
	l, err := describe(s.g.viewersSocket(), name)
	if err != nil {
		return "", nil, &base.Response{
			StatusCode: base.StatusServiceUnavailable,
			Header:     base.Header{"Retry-After": base.HeaderValue{retryAfter}},
		}, err
	}
	return name, l.media(), nil, nil
}

// OnDescribe answers DESCRIBE.
func (s *rtspServer) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	name, m, refused, err := s.look(ctx.Path)
	if err != nil {
		return refused, nil, err
	}
	text, err := description.Session{Title: name, Medias: []*description.Media{m}}.Marshal()
	if err != nil {
		return &base.Response{StatusCode: base.StatusInternalServerError}, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK, Body: text}, nil, nil
}

// OnSetup answers SETUP: the session becomes a viewer of its own.
func (s *rtspServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if r, ok := ctx.Session.UserData().(*reader); ok { // again, after one that failed later on
		return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
	}
	name, m, refused, err := s.look(ctx.Path)
	if err != nil {
		return refused, nil, err
	}
	if !s.g.sit() {
		return &base.Response{StatusCode: base.StatusNotEnoughBandwidth}, nil, errors.New("all places for viewers are taken")
	}
	r := newReader(ctx.Session, m, s.g.viewersSocket(), name)
	r.stream = &gortsplib.ServerStream{Server: s.server, Desc: &description.Session{Medias: []*description.Media{m}}}
	if err := r.stream.Initialize(); err != nil {
		s.g.leave()
		return &base.Response{StatusCode: base.StatusInternalServerError}, nil, err
	}
	ctx.Session.SetUserData(r)
	return &base.Response{StatusCode: base.StatusOK}, r.stream, nil
}

// OnPlay answers PLAY, which may come twice.
func (s *rtspServer) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	r := ctx.Session.UserData().(*reader)
	if r.cancel == nil {
		s.g.log.Info("viewer joins", "stream", r.feed.stream, "by", "rtsp", "transport", ctx.Session.Transport().Protocol)
		r.play(s.ctx)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose ends the viewer.
func (s *rtspServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	r, ok := ctx.Session.UserData().(*reader)
	if !ok {
		return
	}
	why := r.stop(ctx.Error)
	r.stream.Close()
	s.g.leave()
	s.g.log.Info("viewer left", "stream", r.feed.stream, "by", "rtsp", "because", why)
}

// OnDecodeError hears of what a reader sends and we do not need.
func (s *rtspServer) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	s.g.log.Debug("RTSP reader sent nonsense", "err", ctx.Error)
}

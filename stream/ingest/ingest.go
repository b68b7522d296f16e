package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"golang.org/x/net/netutil"
)

// maxConns bounds open connections: an app publishes a few streams.
const maxConns = 32

// frozenTime is how long a publisher may send nothing. During a trial the version
// before may be frozen, and this process with it, for as long as the trial takes; and
// whether one that runs is too silent, the forwarder decides. The end of its process
// is the end of its connection.
const frozenTime = 30 * 24 * time.Hour

// Config says who may publish what, and where to.
type Config struct {
	Publish string   // the forwarder's publish socket for this app
	Streams []Stream // as declared; the first one is also known by the secret alone
	Secret  string   // first segment of the path
	// Cgroup is the directory of the cgroup (v2) whose processes may publish; "":
	// only the user is looked at.
	Cgroup string
}

// Stream is one stream that the app declares.
type Stream struct {
	Name  string
	Audio string // the stream that takes the sound which is announced beside this picture; "": none
}

// Server takes publishers until Run ends.
type Server struct {
	cfg  Config
	log  *slog.Logger
	rtsp *gortsplib.Server

	ending chan struct{} // closed when Run ends

	mu    sync.Mutex // guards taken
	taken map[string]bool
}

// New prepares a server for publishers that connect to ln, which it then owns.
func New(ln net.Listener, cfg Config, log *slog.Logger) (*Server, error) {
	if cfg.Publish == "" || cfg.Secret == "" || len(cfg.Streams) == 0 {
		return nil, errors.New("ingest: publish socket, secret and at least one stream are needed")
	}
	s := &Server{cfg: cfg, log: log, ending: make(chan struct{}), taken: map[string]bool{}}
	s.rtsp = &gortsplib.Server{
		Handler:     s,
		RTSPAddress: ln.Addr().String(),
		ReadTimeout: frozenTime, // of those who record
		Listen: func(_, _ string) (net.Listener, error) {
			return netutil.LimitListener(ln, maxConns), nil
		},
	}
	return s, nil
}

// Run serves, once, until ctx ends, which is no error, or the socket fails.
func (s *Server) Run(ctx context.Context) error {
	if err := s.rtsp.Start(); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- s.rtsp.Wait() }()
	defer s.rtsp.Close()
	defer close(s.ending)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("ingest: serve: %w", err)
	}
}

// take reserves streams for one publisher, all or none; it returns one that has a
// publisher already.
func (s *Server) take(streams []string) (busy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range streams {
		if s.taken[name] {
			return name
		}
	}
	for _, name := range streams {
		s.taken[name] = true
	}
	return ""
}

func (s *Server) free(streams []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range streams {
		delete(s.taken, name)
	}
}

// refuse logs why a publisher cannot go on, for the app's technician, and makes
// the library end the session.
func (s *Server) refuse(status base.StatusCode, err error) (*base.Response, error) {
	s.log.Error("publisher is refused", "because", err)
	return &base.Response{StatusCode: status}, err
}

// OnAnnounce answers ANNOUNCE: what a publisher wants to send.
func (s *Server) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	stream, ok := s.cfg.route(ctx.Path)
	if !ok {
		return s.refuse(base.StatusNotFound, errors.New("the path has a wrong secret or names no declared stream"))
	}
	if err := s.cfg.mayPublish(ctx.Conn.NetConn()); err != nil {
		return s.refuse(base.StatusForbidden, err)
	}
	media, err := s.cfg.assign(stream, ctx.Description)
	if err != nil {
		return s.refuse(base.StatusUnsupportedMediaType, fmt.Errorf("stream %q: %w", stream, err))
	}
	p, err := newPublisher(s, ctx.Session, stream, media)
	if err != nil {
		return s.refuse(base.StatusBadRequest, fmt.Errorf("stream %q: %w", stream, err))
	}
	if busy := s.take(p.streams()); busy != "" {
		return s.refuse(base.StatusMethodNotValidInThisState, fmt.Errorf("stream %q has a publisher already", busy))
	}
	ctx.Session.SetUserData(p)
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSetup answers SETUP of an announced medium; nothing can be played here.
func (s *Server) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() != gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, nil, nil
}

// OnRecord answers RECORD: packets come now.
func (s *Server) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	p := ctx.Session.UserData().(*publisher)
	if err := p.start(); err != nil {
		return s.refuse(base.StatusServiceUnavailable, err)
	}
	s.log.Info("publisher sends", "streams", p.streams())
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// OnSessionClose ends a publisher, however it left.
func (s *Server) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	p, ok := ctx.Session.UserData().(*publisher)
	if !ok {
		return
	}
	p.stop()
	s.free(p.streams())
	s.log.Info("publisher left", "streams", p.streams(), "because", ctx.Error)
}

// OnDecodeError hears of a packet that is not what was announced.
func (s *Server) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	s.log.Warn("publisher sent a packet that cannot be read", "err", ctx.Error)
}

// OnPacketsLost hears of a hole in a publisher's sequence numbers.
func (s *Server) OnPacketsLost(ctx *gortsplib.ServerHandlerOnPacketsLostCtx) {
	s.log.Warn("publisher left out packets", "count", ctx.Lost)
}

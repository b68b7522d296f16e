package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of the server. A client that exceeds one is refused or cut off; the
// agent behind it notices nothing.
const (
	MaxBody    = 64 << 10         // bytes of a request's body
	MaxHeader  = 16 << 10         // bytes of a request's header
	MaxClients = 64               // connections at a time; more wait in the backlog
	MaxHistory = 1000             // records in one answer
	MaxPoll    = 30 * time.Second // longest wait for a change of the status

	headerTimeout = 5 * time.Second  // a request's header must be there by then
	bodyTimeout   = 10 * time.Second // and its body
	writeTimeout  = 10 * time.Second // and the answer must be taken in this time
	idleTimeout   = time.Minute
	leaveTimeout  = 2 * time.Second // answers under way at the end may take so long
)

// Server answers on a unix socket for a [Backend].
type Server struct {
	backend Backend
	log     *slog.Logger
	body    time.Duration // bodyTimeout, shorter in tests
}

// NewServer makes a server; a nil log discards.
func NewServer(b Backend, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, log: log, body: bodyTimeout}
}

// Serve listens on path until ctx ends, then returns ctx's error. The socket is
// gone when it returns. [ErrInUse] means that another agent has the socket.
func (s *Server) Serve(ctx context.Context, path string) error {
	l, lock, err := listen(ctx, path)
	if err != nil {
		return err
	}
	defer lock.Close()
	return s.serve(ctx, l)
}

// errLeaving is the cause by which requests end with their server.
var errLeaving = errors.New("the agent is stopping")

// serve ends every request's context with ctx, so that waiting answers end too.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	base, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	defer leave(errLeaving)
	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(netutil.LimitListener(l, MaxClients)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	leave(errLeaving)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := srv.Shutdown(end); errors.Is(err, context.DeadlineExceeded) {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return ctx.Err()
}

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
)

// defaultHistory is how many records an answer holds if nobody says how many.
const defaultHistory = 20

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/history", s.history)
	mux.HandleFunc("POST /v1/stage", act(s, func(ctx context.Context, r StageRequest) Result {
		return s.backend.Stage(ctx, r)
	}))
	mux.HandleFunc("POST /v1/activate", act(s, func(ctx context.Context, r ActivateRequest) Result {
		return s.backend.Activate(ctx, r)
	}))
	mux.HandleFunc("POST /v1/install", act(s, func(ctx context.Context, r InstallRequest) Result {
		return Install(ctx, s.backend, r.StageRequest, r.Wait)
	}))
	mux.HandleFunc("POST /v1/greenlight", act(s, func(ctx context.Context, _ struct{}) Result {
		return s.backend.Greenlight(ctx)
	}))
	mux.HandleFunc("POST /v1/revert", act(s, func(ctx context.Context, _ struct{}) Result {
		return s.backend.Revert(ctx)
	}))
	mux.HandleFunc("POST /v1/forwarder/replace", act(s, func(ctx context.Context, _ struct{}) Result {
		return s.backend.ReplaceForwarder(ctx)
	}))
	if k, ok := s.backend.(Keeper); ok {
		s.keep(mux, k)
	}
	if t, ok := s.backend.(Technician); ok {
		s.technician(mux, t)
	}
	mux.HandleFunc("/", s.unknown)
	return mux
}

func (s *Server) keep(mux *http.ServeMux, k Keeper) {
	mux.HandleFunc("POST /v1/trust", act(s, k.TakeTrust))
	mux.HandleFunc("POST /v1/enroll", act(s, k.Enroll))
	mux.HandleFunc("POST /v1/leave", act(s, k.Leave))
}

// act decodes a request of type T and answers with what do makes of it.
func act[T any](s *Server, do func(context.Context, T) Result) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request T
		if err := s.decode(w, r, &request); err != nil {
			s.refuse(w, err)
			return
		}
		if c, ok := any(&request).(checker); ok {
			if err := c.check(); err != nil {
				s.refuse(w, err)
				return
			}
		}
		result := do(r.Context(), request)
		if result.Exit == ExitError && errors.Is(context.Cause(r.Context()), errLeaving) {
			result = Result{Exit: ExitError, Code: CodeLost, Message: errLeaving.Error()}
		}
		s.write(w, statusOf(result), result)
	}
}

// checker is a request that can be wrong although each of its fields decodes.
type checker interface{ check() error }

// check wants exactly one source. A relative path would mean another file to
// the agent than to its caller.
func (r *StageRequest) check() error {
	if (r.Path == "") == (r.URL == "") {
		return errors.New("give either path or url")
	}
	if r.Path != "" && !filepath.IsAbs(r.Path) {
		return fmt.Errorf("path %q must be absolute", r.Path)
	}
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	seq, waits, err := number(r, "after", 64)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if waits {
		poll, cancel := context.WithTimeout(r.Context(), MaxPoll)
		defer cancel()
		_, err := s.backend.WaitStatus(poll, seq)
		if err != nil && poll.Err() == nil {
			s.fail(w, err)
			return
		}
	}
	// Asked anew after the wait: an unchanged status must still be answered.
	status, err := s.backend.Status(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	s.write(w, http.StatusOK, status)
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	n, given, err := number(r, "max", 31)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if !given {
		n = defaultHistory
	}
	records, err := s.backend.History(r.Context(), int(min(n, MaxHistory)))
	if err != nil {
		s.fail(w, err)
		return
	}
	if records == nil {
		records = []Record{} // a list, never null
	}
	s.write(w, http.StatusOK, records)
}

// unknown answers whatever no route took, in the shape of all answers.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	s.write(w, http.StatusNotFound, Result{
		Exit:    ExitRefused,
		Code:    "no-such-route",
		Message: fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path),
	})
}

// number reads one query parameter and refuses any other.
func number(r *http.Request, key string, bits int) (n uint64, given bool, err error) {
	for k := range r.URL.Query() {
		if k != key {
			return 0, false, fmt.Errorf("unknown parameter %q", k)
		}
	}
	text := r.URL.Query().Get(key)
	if text == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, false, fmt.Errorf("%s=%q is not a number in range", key, text)
	}
	return n, true, nil
}

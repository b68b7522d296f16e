package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// decode reads one JSON object into v and nothing after it. An empty body
// stands for an empty object. The deadline holds for the body only: the answer
// to a stage may take minutes.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, v any) error {
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(s.body)); err != nil {
		return err
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && err != io.EOF {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		if err == nil {
			return errors.New("there is more after the JSON object")
		}
		return err
	}
	return conn.SetReadDeadline(time.Time{})
}

// refuse answers a request that never reached the agent.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	code, result := http.StatusBadRequest, Result{Exit: ExitRefused, Code: "bad-request"}
	switch {
	case isTooLarge(err):
		code, result.Code = http.StatusRequestEntityTooLarge, "too-large"
		result.Message = fmt.Sprintf("the request is larger than %d bytes", MaxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		code, result.Code = http.StatusRequestTimeout, "too-slow"
		result.Message = fmt.Sprintf("the request did not arrive within %s", s.body)
	default:
		result.Message = fmt.Sprintf("the request is not understood: %v", err)
	}
	w.Header().Set("Connection", "close") // what is left of the body is not waited for
	s.write(w, code, result)
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}

// fail answers when the agent itself could not.
func (s *Server) fail(w http.ResponseWriter, err error) {
	s.write(w, http.StatusInternalServerError, Result{Exit: ExitError, Message: err.Error()})
}

// statusOf gives tools that look at the HTTP status only the right idea.
func statusOf(r Result) int {
	switch r.Exit {
	case ExitDone, ExitNothing, ExitReboot:
		return http.StatusOK
	case ExitRefused:
		return http.StatusUnprocessableEntity
	case ExitReverted:
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// write sends v; a client that does not take it in time loses its connection.
func (s *Server) write(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		s.log.Error("answer cannot be encoded", "error", err)
		code, text = http.StatusInternalServerError, []byte(`{"exit":1,"message":"the answer cannot be encoded"}`)
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		s.log.Debug("no deadline for the answer", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if _, err := w.Write(append(text, '\n')); err != nil {
		s.log.Debug("answer not taken", "error", err)
	}
}

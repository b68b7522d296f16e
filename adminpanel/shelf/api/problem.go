package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
)

// maxBody bounds a JSON body in bytes.
const maxBody = 64 << 10

// problem is an error as RFC 9457 writes it. Code is ours and stable.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p problem) Error() string { return p.Detail }

// fail answers with err. One that is not a problem is the panel's own fault.
func fail(w http.ResponseWriter, err error) {
	p, ok := errors.AsType[problem](err)
	if !ok {
		p = problem{http.StatusInternalServerError, "internal", err.Error()}
	}
	send(w, p.Status, "application/problem+json", struct {
		Title string `json:"title"`
		problem
	}{http.StatusText(p.Status), p})
}

// reply answers with v as JSON.
func reply(w http.ResponseWriter, status int, v any) { send(w, status, "application/json", v) }

func send(w http.ResponseWriter, status int, kind string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

// decode reads a JSON body into v. No body at all leaves v as it is.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return problem{http.StatusRequestEntityTooLarge, "too-large", "the body could not be read or is too long: " + err.Error()}
	}
	if len(body) == 0 {
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return problem{http.StatusUnsupportedMediaType, "not-json", "the body must be application/json"}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return problem{http.StatusBadRequest, "bad-json", "the body is not what this route takes: " + err.Error()}
	}
	return nil
}

package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
)

const (
	maxJSON    = 1 << 20  // bytes of a body of JSON: the settings of a large fleet
	maxSignIn  = 16 << 10 // of one whose sender is not known yet
	bodyTime   = 20 * time.Second
	stallLimit = 30 * time.Second // how long a body that streams, or a reader, may make no progress
	// unwantedTime is for the rest of a body whose request was refused.
	unwantedTime = time.Second
)

// ServeHTTP serves /api/v1/ and /openapi.json.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := &impatient{w, http.NewResponseController(w)}
	if r.Body != nil && r.Body != http.NoBody {
		// Until somebody takes the body; who refuses it unread does not wait for it either.
		out.rc.SetReadDeadline(time.Now().Add(a.bodyTime))
		r.Body = &patient{r.Body, out.rc}
	}
	defer out.rc.SetWriteDeadline(time.Time{}) // the connection serves other requests after this one
	a.handler.ServeHTTP(out, r)
}

// request is what a handler can know of who calls and how.
type request struct {
	caller auth.Caller
	http   *http.Request
}

type requestKey struct{}

func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// callerOf is who makes the request that a context belongs to.
func callerOf(ctx context.Context) auth.Caller { return requestOf(ctx).caller }

// httpOf is that request, for what looks at cookies and addresses.
func httpOf(ctx context.Context) *http.Request { return requestOf(ctx).http }

// whoOf is the caller in the words of the audit.
func whoOf(ctx context.Context) audit.Who {
	c := callerOf(ctx)
	return audit.Who{Actor: c.Actor(), From: c.From}
}

// admit lets a request through to its handler that its rule allows.
func (a *API) admit(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/openapi.json" && r.Method == http.MethodGet {
		a.serveDocument(w)
		return
	}
	rule, ok := a.cfg.Auth.RuleOf(r)
	if !ok {
		a.fail(w, newProblem(http.StatusNotFound, "no-route", "nothing here answers "+r.Method+" "+r.URL.Path))
		return
	}
	caller, err := a.cfg.Auth.Authorize(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, request{caller, r}))
	if rule.Body != "" {
		a.mux.ServeHTTP(w, r)
		return
	}
	_, reach := auth.ReachOf(rule.Action)
	most := int64(maxJSON)
	if reach == auth.Open {
		most = maxSignIn
	}
	body, err := takeBody(w, r, most)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	// Who is not known has no keys of their own.
	if key := r.Header.Get("Idempotency-Key"); key != "" && r.Method == http.MethodPost && reach != auth.Open {
		a.once(w, r, key, body)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// takeBody reads the whole body into memory, and puts it back.
func takeBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	p, ok := r.Body.(*patient)
	if !ok {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, p.ReadCloser, most))
	if err != nil {
		return nil, bodyError(err)
	}
	p.rc.SetReadDeadline(time.Time{}) // else the end of the time for the body would be that of the request
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// bodyError tells the sender's faults from others.
func bodyError(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return newProblem(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than this route takes")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(http.StatusRequestTimeout, "too-slow", "the body did not come in time")
	}
	return newProblem(http.StatusBadRequest, "broken-body", "the body broke off")
}

// refuse does not wait long for a body that nobody wants any more: HTTP/1 reads the rest
// of it before the answer goes out.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if p, unread := r.Body.(*patient); unread {
		p.rc.SetReadDeadline(time.Now().Add(unwantedTime))
	}
	a.fail(w, a.problem(err))
}

// patient is a body that may take long as long as it makes progress.
type patient struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (p *patient) Read(buf []byte) (int, error) {
	p.rc.SetReadDeadline(time.Now().Add(stallLimit))
	n, err := p.ReadCloser.Read(buf)
	if err == io.EOF {
		p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// impatient gives up a reader that does not read.
type impatient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (i *impatient) Write(buf []byte) (int, error) {
	i.rc.SetWriteDeadline(time.Now().Add(stallLimit))
	return i.ResponseWriter.Write(buf)
}

// Unwrap lets controllers reach what they control.
func (i *impatient) Unwrap() http.ResponseWriter { return i.ResponseWriter }

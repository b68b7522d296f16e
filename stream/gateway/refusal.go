package gateway

import (
	"errors"
	"net/http"
)

// retryAfter is, in seconds, when a viewer may find what is missing now.
const retryAfter = "1"

// refusal is why a request is not granted: a status, what it is counted as, and one
// sentence for whoever reads it.
type refusal struct {
	status   int
	reason   string
	sentence string
}

// Error implements [error].
func (r *refusal) Error() string { return r.sentence }

// refuse makes a refusal out of an error.
func refuseWith(status int, reason string, err error) *refusal {
	return &refusal{status, reason, err.Error()}
}

// temporary tells whether it may be granted soon.
func (r *refusal) temporary() bool {
	return r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests
}

// errInternal is for what the viewer can do nothing about.
var errInternal = &refusal{http.StatusInternalServerError, "internal", "the gateway could not do it"}

// refuse answers a request that is not granted, and counts it.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	why := errInternal
	if !errors.As(err, &why) {
		g.log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	g.metrics.refusals.WithLabelValues(why.reason).Inc()
	g.log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "reason", why.reason, "because", why.sentence)
	if why.temporary() {
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, why.sentence, why.status)
}

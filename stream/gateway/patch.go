package gateway

import (
	"io"
	"net/http"
	"slices"
	"strings"
)

var (
	errNoMatch  = &refusal{http.StatusPreconditionRequired, "precondition", "If-Match is missing: it says which ICE session is meant"}
	errMismatch = &refusal{http.StatusPreconditionFailed, "precondition", "this ICE session is over; another one was begun"}
)

// patchSession takes what a viewer says of its ICE session: more of its candidates,
// which a lite side has no use for, or that it begins a new one.
func (g *Gateway) patchSession(w http.ResponseWriter, r *http.Request) error {
	s, err := g.find(r.Context(), r.PathValue("stream"), r.PathValue("session"))
	if err != nil {
		return err
	}
	body, err := readBody(w, r, fragmentType, maxFragment)
	if err != nil {
		return err
	}
	f, err := parseFragment(body)
	if err != nil {
		return refuseWith(http.StatusBadRequest, "fragment", err)
	}
	if err := matches(r.Header.Values("If-Match"), s.tag()); err != nil {
		return err
	}
	if s.speaks(f.ufrag) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	ours, err := s.restart(r.Context(), f.ufrag)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", fragmentType)
	w.Header().Set("ETag", ours.tag())
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, f.answer(ours, g.peers.candidates())) // a viewer that did not get it asks again
	return nil
}

// matches judges If-Match (RFC 9110 §13.1.1). The draft's own example has its
// asterisk in quotes.
func matches(header []string, tag string) error {
	if len(header) == 0 {
		return errNoMatch
	}
	tags := strings.Split(strings.Join(header, ","), ",")
	if slices.ContainsFunc(tags, func(t string) bool {
		t = strings.TrimSpace(t)
		return t == "*" || t == `"*"` || t == tag
	}) {
		return nil
	}
	return errMismatch
}

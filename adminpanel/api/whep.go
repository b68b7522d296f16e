package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/live"
	"slipstream/agent/wire"
)

const fragmentType = "application/trickle-ice-sdpfrag"

// streamForm and sessionForm are what may be part of a path, tagForm what names an ICE session.
var (
	streamForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	sessionForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,256}$`)
	tagForm     = regexp.MustCompile(`^"[!#-~]{1,128}"$`)
)

func (a *API) registerWHEP() {
	const session = "/devices/{id}/whep/{stream}/{session}"
	raw(a, "POST /devices/{id}/whep/{stream}", "Watch a stream (WHEP, RFC 9725): an SDP offer for an SDP answer", a.postWHEP,
		query("via", "panel: the pictures go through the panel, for browsers that cannot reach the device"),
		func(op *huma.Operation) {
			sdp := map[string]*huma.MediaType{"application/sdp": {Schema: &huma.Schema{Type: huma.TypeString}}}
			op.RequestBody = &huma.RequestBody{Required: true, Content: sdp}
			op.Responses = map[string]*huma.Response{"201": {Description: "Created; the session is at Location", Content: sdp}}
		})
	raw(a, "OPTIONS /devices/{id}/whep/{stream}", "What a browser needs before its offer: servers for ICE, as Link headers (RFC 9725 §4.6)", a.optionsWHEP,
		query("via", "panel: on the way through the panel"),
		func(op *huma.Operation) { op.Responses = map[string]*huma.Response{"204": {Description: "No Content"}} })
	raw(a, "PATCH "+session, "Tell of candidates (204), or begin another ICE session (200); If-Match names the one before", a.patchWHEP,
		func(op *huma.Operation) {
			fragment := map[string]*huma.MediaType{fragmentType: {Schema: &huma.Schema{Type: huma.TypeString}}}
			op.RequestBody = &huma.RequestBody{Required: true, Content: fragment}
			op.Responses = map[string]*huma.Response{
				"200": {Description: "Another ICE session has begun", Content: fragment}, "204": {Description: "No Content"},
				"405": {Description: "The device is too old for it"}, "412": {Description: "Another ICE session has begun meanwhile"},
			}
		})
	raw(a, "DELETE "+session, "Stop watching", a.deleteWHEP,
		func(op *huma.Operation) { op.Responses = map[string]*huma.Response{"204": {Description: "No Content"}} })
}

// postWHEP carries a browser's offer to the device. The pictures go from the device to the
// browser, or through the panel.
func (a *API) postWHEP(w http.ResponseWriter, r *http.Request) error {
	id, stream := r.PathValue("id"), r.PathValue("stream")
	if _, err := a.device(callerOf(r.Context()), id, auth.Watch); err != nil {
		return err
	}
	if !streamForm.MatchString(stream) {
		return badInput("path.stream", "streams have names of letters, digits, _ and -")
	}
	way, err := a.wayOf(r)
	if err != nil {
		return err
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxOffer))
	if err != nil {
		return bodyError(err)
	}
	s, err := a.watch(r.Context(), id, stream, offer, way)
	if err != nil {
		return err
	}
	if !sessionForm.MatchString(s.Name) || s.Tag != "" && !tagForm.MatchString(s.Tag) {
		return errBadAnswer
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", base+"/devices/"+id+"/whep/"+s.Name)
	if s.Tag != "" {
		w.Header().Set("ETag", s.Tag)
		w.Header().Set("Accept-Patch", fragmentType)
	}
	a.linkServers(w, r, way)
	w.WriteHeader(http.StatusCreated)
	w.Write(s.Answer)
	return nil
}

// optionsWHEP tells of servers for ICE before there is an offer: browsers use in a connection
// only those that they knew when it began.
func (a *API) optionsWHEP(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.device(callerOf(r.Context()), r.PathValue("id"), auth.Watch); err != nil {
		return err
	}
	way, err := a.wayOf(r)
	if err != nil {
		return err
	}
	w.Header().Set("Allow", "OPTIONS, POST")
	w.Header().Set("Accept-Post", "application/sdp")
	a.linkServers(w, r, way)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// linkServers adds the servers by which a browser reaches the panel's relay. To devices they
// lead nowhere.
func (a *API) linkServers(w http.ResponseWriter, r *http.Request, way live.Way) {
	if way != live.Relayed {
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	if s, ok := a.cfg.Live.ICEServer(host); ok {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="ice-server"; username="%s"; credential="%s"; credential-type="password"`, s.URL, s.Username, s.Password))
	}
}

func (a *API) wayOf(r *http.Request) (live.Way, error) {
	q := r.URL.Query()
	switch via := q.Get("via"); {
	case via == "":
		return live.Direct, nil
	case via != "panel":
		return 0, badInput("query.via", "it is panel, or absent")
	case a.cfg.Live == nil:
		return 0, unavailable("this panel brings no pictures to viewers itself: its configuration names no address for that")
	}
	return live.Relayed, nil
}

func (a *API) watch(ctx context.Context, id, stream string, offer []byte, way live.Way) (live.Session, error) {
	if a.cfg.Live != nil {
		return a.cfg.Live.Watch(ctx, id, stream, offer, way)
	}
	return live.Offer(ctx, a.cfg.Panels, id, stream, offer)
}

// patchWHEP carries what a browser says of its session's ICE to whoever answered its offer.
// Who answers has all its candidates in the answer and none to add; a browser whose network
// has changed begins another ICE session, and keeps its keys and its picture.
func (a *API) patchWHEP(w http.ResponseWriter, r *http.Request) error {
	id, session := r.PathValue("id"), r.PathValue("stream")+"/"+r.PathValue("session")
	if _, err := a.device(callerOf(r.Context()), id, auth.Watch); err != nil {
		return err
	}
	match := strings.Join(r.Header.Values("If-Match"), ", ")
	if !sessionForm.MatchString(session) {
		return live.ErrNoSession
	}
	if len(match) > wire.MaxTag {
		return badInput("header.If-Match", "it names one ICE session")
	}
	fragment, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxFragment))
	if err != nil {
		return bodyError(err)
	}
	told, err := a.tell(r.Context(), id, wire.TellWHEP{Session: session, Match: match, Fragment: string(fragment)})
	if said := (*wire.Error)(nil); errors.As(err, &said) && said.Code == wire.CodeUnknownAsk {
		w.Header().Set("Allow", "DELETE")
		return newProblem(http.StatusMethodNotAllowed, "no-trickle", "the device is too old for this: put all candidates into the offer; to restart, make a new session")
	}
	if err != nil {
		return err
	}
	switch {
	case told.Status == http.StatusNoContent:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case told.Status == http.StatusOK && tagForm.MatchString(told.Tag):
		w.Header().Set("Content-Type", fragmentType)
		w.Header().Set("ETag", told.Tag)
		io.WriteString(w, told.Body) // one that did not get it asks again
		return nil
	}
	return refusedWHEP(told.Status, told.Body)
}

func (a *API) tell(ctx context.Context, id string, what wire.TellWHEP) (wire.WHEPTold, error) {
	if a.cfg.Live != nil {
		return a.cfg.Live.Tell(ctx, id, what)
	}
	return live.Tell(ctx, a.cfg.Panels, id, what)
}

// refusedWHEP is what a gateway's refusal is here.
func refusedWHEP(status int, sentence string) *problem {
	switch status {
	case http.StatusBadRequest, http.StatusNotAcceptable:
		return newProblem(status, "invalid", sentence)
	case http.StatusNotFound:
		return newProblem(status, "no-session", sentence)
	case http.StatusGone:
		return newProblem(status, "session-over", sentence)
	case http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		return newProblem(status, "changed", sentence)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return newProblem(http.StatusServiceUnavailable, "not-now", sentence).again(time.Second)
	}
	return errBadAnswer
}

func (a *API) deleteWHEP(w http.ResponseWriter, r *http.Request) error {
	id, session := r.PathValue("id"), r.PathValue("stream")+"/"+r.PathValue("session")
	if _, err := a.device(callerOf(r.Context()), id, auth.Watch); err != nil {
		return err
	}
	if !sessionForm.MatchString(session) {
		return live.ErrNoSession
	}
	end := func(ctx context.Context, id, session string) error { return live.End(ctx, a.cfg.Panels, id, session) }
	if a.cfg.Live != nil {
		end = a.cfg.Live.End
	}
	if err := end(r.Context(), id, session); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

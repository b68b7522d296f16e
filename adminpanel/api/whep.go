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
	way, err := a.wayOf(r, id)
	if err != nil {
		return err
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxOffer))
	if err != nil {
		return bodyError(err)
	}
	s, err := a.watcher(id, way == live.Relayed).Watch(r.Context(), id, stream, offer, way)
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
	a.linkServers(w, r, id, way)
	w.WriteHeader(http.StatusCreated)
	w.Write(s.Answer)
	return nil
}

// optionsWHEP tells of servers for ICE before there is an offer: browsers use in a connection
// only those that they knew when it began.
func (a *API) optionsWHEP(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := a.device(callerOf(r.Context()), id, auth.Watch); err != nil {
		return err
	}
	way, err := a.wayOf(r, id)
	if err != nil {
		return err
	}
	w.Header().Set("Allow", "OPTIONS, POST")
	w.Header().Set("Accept-Post", "application/sdp")
	a.linkServers(w, r, id, way)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// linkServers adds the servers by which a browser reaches the relay. To devices they lead
// nowhere.
func (a *API) linkServers(w http.ResponseWriter, r *http.Request, id string, way live.Way) {
	if way != live.Relayed {
		return
	}
	if s, ok := a.iceServer(r, id); ok {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Link", fmt.Sprintf(`<%s>; rel="ice-server"; username="%s"; credential="%s"; credential-type="password"`, s.URL, s.Username, s.Password))
	}
}

func (a *API) iceServer(r *http.Request, id string) (live.ICEServer, bool) {
	if far, ok := a.cfg.Panels.Relay(id); ok {
		return far.ICEServer(r.Context(), id)
	}
	if a.cfg.Live == nil { // the device has just come here from a panel that has a relay
		return live.ICEServer{}, false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	return a.cfg.Live.ICEServer(host)
}

// farOff tells whether another panel has the device's link.
func (a *API) farOff(id string) bool {
	_, ok := a.cfg.Panels.Relay(id)
	return ok
}

func (a *API) wayOf(r *http.Request, id string) (live.Way, error) {
	q := r.URL.Query()
	switch via := q.Get("via"); {
	case via == "":
		return live.Direct, nil
	case via != "panel":
		return 0, badInput("query.via", "it is panel, or absent")
	case a.cfg.Live == nil && !a.farOff(id):
		return 0, unavailable("this panel brings no pictures to viewers itself: its configuration names no address for that")
	}
	return live.Relayed, nil
}

// watcher brings a device's pictures to viewers.
type watcher interface {
	Watch(ctx context.Context, device, stream string, offer []byte, way live.Way) (live.Session, error)
	Tell(ctx context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error)
	End(ctx context.Context, device, session string) error
}

// watcher is who answers for a device's pictures: for those that go through a panel that is the
// one which the device is linked to.
func (a *API) watcher(id string, relayed bool) watcher {
	if relayed {
		if far, ok := a.cfg.Panels.Relay(id); ok {
			return far
		}
	}
	if a.cfg.Live != nil {
		return a.cfg.Live
	}
	return direct{a.cfg.Panels}
}

// direct is the watcher of a panel that brings no pictures itself.
type direct struct{ asker live.Asker }

func (d direct) Watch(ctx context.Context, device, stream string, offer []byte, _ live.Way) (live.Session, error) {
	return live.Offer(ctx, d.asker, device, stream, offer)
}

func (d direct) Tell(ctx context.Context, device string, what wire.TellWHEP) (wire.WHEPTold, error) {
	return live.Tell(ctx, d.asker, device, what)
}

func (d direct) End(ctx context.Context, device, session string) error {
	return live.End(ctx, d.asker, device, session)
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
	told, err := a.watcher(id, live.IsRelayed(session)).Tell(r.Context(), id, wire.TellWHEP{Session: session, Match: match, Fragment: string(fragment)})
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
	if err := a.watcher(id, live.IsRelayed(session)).End(r.Context(), id, session); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

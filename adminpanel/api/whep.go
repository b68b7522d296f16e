package api

import (
	"context"
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

// whepTime is a little longer than the device's own.
const whepTime = 12 * time.Second

// streamForm and sessionForm are what may be part of a path.
var (
	streamForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	sessionForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,256}$`)
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
	raw(a, "PATCH "+session, "Not for these sessions: candidates belong into the offer", a.patchWHEP,
		func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"405": {Description: "Method Not Allowed"}}
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
	sdp, session, err := a.watch(r.Context(), id, stream, offer, way)
	if err != nil {
		return err
	}
	if !sessionForm.MatchString(session) {
		return errBadAnswer
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", base+"/devices/"+id+"/whep/"+session)
	a.linkServers(w, r, way)
	w.WriteHeader(http.StatusCreated)
	w.Write(sdp)
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

func (a *API) watch(ctx context.Context, id, stream string, offer []byte, way live.Way) (sdp []byte, session string, err error) {
	if a.cfg.Live != nil {
		return a.cfg.Live.Watch(ctx, id, stream, offer, way)
	}
	ctx, cancel := context.WithTimeout(ctx, whepTime)
	defer cancel()
	said, err := a.cfg.Hub.Ask(ctx, id, wire.Ask{WHEP: &wire.WHEP{Stream: stream, Offer: string(offer)}})
	if err == nil && said.WHEP == nil {
		err = errBadAnswer
	}
	if err != nil {
		return nil, "", err
	}
	return []byte(said.WHEP.SDP), said.WHEP.Session, nil
}

// patchWHEP refuses as RFC 9725 §4.3 has it for servers without trickle ICE and restarts.
func (a *API) patchWHEP(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.device(callerOf(r.Context()), r.PathValue("id"), auth.Watch); err != nil {
		return err
	}
	w.Header().Set("Allow", "DELETE")
	return newProblem(http.StatusMethodNotAllowed, "no-trickle", "put all candidates into the offer; to restart, make a new session")
}

func (a *API) deleteWHEP(w http.ResponseWriter, r *http.Request) error {
	id, session := r.PathValue("id"), r.PathValue("stream")+"/"+r.PathValue("session")
	if _, err := a.device(callerOf(r.Context()), id, auth.Watch); err != nil {
		return err
	}
	if !sessionForm.MatchString(session) {
		return live.ErrNoSession
	}
	ctx, cancel := context.WithTimeout(r.Context(), whepTime)
	defer cancel()
	var err error
	if a.cfg.Live != nil {
		err = a.cfg.Live.End(ctx, id, session)
	} else {
		_, err = a.cfg.Hub.Ask(ctx, id, wire.Ask{EndWHEP: &wire.EndWHEP{Session: session}})
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

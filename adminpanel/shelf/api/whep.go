package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"slipstream/adminpanel/live"
	"slipstream/agent/wire"
)

// whepTimeout is a little longer than the device's own.
const whepTimeout = 12 * time.Second

// postWHEP carries a browser's offer to the device (RFC 9725). The pictures go from the
// device to the browser, or, with ?via=panel, through the panel.
func (a *API) postWHEP(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/sdp" {
		fail(w, problem{http.StatusUnsupportedMediaType, "not-sdp", "an offer is application/sdp"})
		return
	}
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxOffer))
	if err != nil {
		fail(w, problem{http.StatusRequestEntityTooLarge, "too-large", "the offer is too long"})
		return
	}
	if r.URL.Query().Get("via") == "panel" {
		a.relayWHEP(w, r, offer)
		return
	}
	id := r.PathValue("id")
	answer, err := a.ask(r.Context(), id,
		wire.Ask{WHEP: &wire.WHEP{Stream: r.PathValue("stream"), Offer: string(offer)}}, whepTimeout)
	if err == nil && answer.WHEP == nil {
		err = errBadAnswer
	}
	if err != nil {
		fail(w, err)
		return
	}
	answerWHEP(w, id, answer.WHEP.Session, answer.WHEP.SDP)
}

// relayWHEP is for browsers that cannot reach the device: the pictures pass the panel.
func (a *API) relayWHEP(w http.ResponseWriter, r *http.Request, offer []byte) {
	if a.live == nil {
		fail(w, problem{http.StatusNotFound, "no-relay", "this panel brings no pictures to viewers itself; start it with --media"})
		return
	}
	id := r.PathValue("id")
	answer, session, err := a.live.Watch(r.Context(), id, r.PathValue("stream"), offer, live.Relayed)
	if err != nil {
		fail(w, liveProblem(err))
		return
	}
	answerWHEP(w, id, session, string(answer))
}

func liveProblem(err error) error {
	switch {
	case errors.Is(err, live.ErrFull):
		return problem{http.StatusServiceUnavailable, "relay-full", err.Error()}
	case errors.Is(err, live.ErrNoSession):
		return problem{http.StatusNotFound, "no-such-session", err.Error()}
	case err != nil:
		return linkProblem(err)
	}
	return nil
}

func answerWHEP(w http.ResponseWriter, device, session, sdp string) {
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "/api/devices/"+device+"/whep/"+session)
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, sdp)
}

func (a *API) deleteWHEP(w http.ResponseWriter, r *http.Request) {
	session := r.PathValue("stream") + "/" + r.PathValue("session")
	var err error
	if a.live != nil {
		err = liveProblem(a.live.End(r.Context(), r.PathValue("id"), session))
	} else {
		_, err = a.ask(r.Context(), r.PathValue("id"), wire.Ask{EndWHEP: &wire.EndWHEP{Session: session}}, whepTimeout)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

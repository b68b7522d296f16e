package api

import (
	"io"
	"mime"
	"net/http"
	"time"

	"slipstream/agent/wire"
)

// whepTimeout is a little longer than the device's own.
const whepTimeout = 12 * time.Second

// postWHEP carries a browser's offer to the device (RFC 9725). The pictures do
// not pass the panel: they go from the device to the browser.
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
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "/api/devices/"+id+"/whep/"+answer.WHEP.Session)
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer.WHEP.SDP)
}

func (a *API) deleteWHEP(w http.ResponseWriter, r *http.Request) {
	session := r.PathValue("stream") + "/" + r.PathValue("session")
	_, err := a.ask(r.Context(), r.PathValue("id"), wire.Ask{EndWHEP: &wire.EndWHEP{Session: session}}, whepTimeout)
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

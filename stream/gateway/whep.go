package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"time"
)

// Limits of a signalling request, which is one offer.
const (
	headerTime  = 5 * time.Second
	requestTime = 15 * time.Second
	idleTime    = time.Minute
	maxHeaders  = 16 << 10
)

// retryAfter is, in seconds, when a viewer may find what is missing now.
const retryAfter = "1"

const sdpType = "application/sdp"

// webServer serves WHEP (draft-ietf-wish-whep) and the health check. Sessions
// live until ctx ends, requests until they are answered.
func (g *Gateway) webServer(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whep/{stream}", func(w http.ResponseWriter, r *http.Request) { g.postOffer(ctx, w, r) })
	mux.HandleFunc("DELETE /whep/{stream}/{session}", g.deleteSession)
	mux.HandleFunc("OPTIONS /whep/", preflight)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	return &http.Server{
		Handler:           anyOrigin(mux),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaders,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// anyOrigin lets a page from anywhere play, as the package comment says.
func anyOrigin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "Location, Retry-After")
		h.ServeHTTP(w, r)
	})
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "POST, DELETE, OPTIONS")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.Header().Set("Accept-Post", sdpType)
	w.WriteHeader(http.StatusNoContent)
}

// postOffer answers a viewer's offer with a session of its own. sessions is the
// context that the session lives in.
func (g *Gateway) postOffer(sessions context.Context, w http.ResponseWriter, r *http.Request) {
	stream := r.PathValue("stream")
	o, status, err := readOffer(w, r, stream)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	if !g.sit() {
		unavailable(w, "all places for viewers are taken")
		return
	}
	p, answer, status, err := g.negotiate(r.Context(), stream, o)
	if err != nil {
		g.leave()
		if status == http.StatusServiceUnavailable {
			unavailable(w, err.Error())
			return
		}
		http.Error(w, err.Error(), status)
		return
	}
	s := g.open(sessions, stream, p)
	w.Header().Set("Content-Type", sdpType)
	w.Header().Set("Location", "/whep/"+stream+"/"+s.id)
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer) // a viewer that did not get it never connects
}

// readOffer returns the request's offer, or the status and sentence of its refusal.
func readOffer(w http.ResponseWriter, r *http.Request, stream string) (offer, int, error) {
	if !validName(stream) {
		return offer{}, http.StatusNotFound, errors.New("no stream can have this name")
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != sdpType {
		return offer{}, http.StatusUnsupportedMediaType, errors.New("the body must be of type " + sdpType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOffer))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return offer{}, http.StatusRequestEntityTooLarge, errors.New("the offer is larger than 64 KiB")
	}
	if err != nil {
		return offer{}, http.StatusBadRequest, errors.New("the offer did not arrive whole")
	}
	o, err := parseOffer(body)
	return o, http.StatusBadRequest, err
}

// negotiate makes the peer for an offer, or says with which status not.
func (g *Gateway) negotiate(ctx context.Context, stream string, o offer) (*peer, string, int, error) {
	l, err := describe(g.viewersSocket(), stream)
	if err != nil {
		g.log.Info("viewer has to wait", "stream", stream, "because", err)
		return nil, "", http.StatusServiceUnavailable, errors.New("the stream has no picture yet")
	}
	f, ok := choose(o.formats, l.profile)
	if !ok {
		return nil, "", http.StatusBadRequest, errors.New("the offer has no H.264 with packetization-mode=1")
	}
	p, answer, err := g.peers.answer(ctx, o, f)
	if bad := (*offerError)(nil); errors.As(err, &bad) {
		return nil, "", http.StatusBadRequest, err
	}
	if err != nil {
		g.log.Error("no answer to an offer", "stream", stream, "err", err)
		return nil, "", http.StatusInternalServerError, errors.New("the gateway could not make a session")
	}
	return p, answer, http.StatusCreated, nil
}

func unavailable(w http.ResponseWriter, sentence string) {
	w.Header().Set("Retry-After", retryAfter)
	http.Error(w, sentence, http.StatusServiceUnavailable)
}

func (g *Gateway) deleteSession(w http.ResponseWriter, r *http.Request) {
	s, ok := g.find(r.PathValue("stream"), r.PathValue("session"))
	if !ok {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	s.end(errDeleted)
	w.WriteHeader(http.StatusOK)
}

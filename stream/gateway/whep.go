package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"slipstream/stream/handover"
)

// Limits of a signalling request, which is one offer.
const (
	headerTime  = 5 * time.Second
	requestTime = 15 * time.Second
	idleTime    = time.Minute
	maxHeaders  = 16 << 10
)

// Media types of WHEP's bodies.
const (
	sdpType      = "application/sdp"
	fragmentType = "application/trickle-ice-sdpfrag"
)

// webServer serves WHEP (draft-ietf-wish-whep) and the health check. Sessions
// live until ctx ends, requests until they are answered.
func (g *Gateway) webServer(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			err := g.mayAsk(w, r)
			if err == nil {
				err = h(w, r)
			}
			if err != nil {
				g.refuse(w, r, err)
			}
		})
	}
	handle("POST /whep/{stream}", func(w http.ResponseWriter, r *http.Request) error { return g.postOffer(ctx, w, r) })
	handle("GET /whep/{stream}", nothing)
	handle("GET /whep/{stream}/{session}", g.getSession)
	handle("PATCH /whep/{stream}/{session}", g.patchSession)
	handle("DELETE /whep/{stream}/{session}", g.deleteSession)
	mux.HandleFunc("OPTIONS /whep/", options)
	mux.HandleFunc("GET /healthz", g.health)
	s := g.server(g.sameOrigin(mux))
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	return s
}

func (g *Gateway) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// mayAsk refuses viewers who are not known, and those who ask too often.
func (g *Gateway) mayAsk(w http.ResponseWriter, r *http.Request) error {
	from, now := addressOf(r), time.Now()
	if !g.guests.request(from, now) {
		return errTooFast
	}
	if g.guard.public {
		return nil
	}
	if !ownAddress(from) && g.guard.locked(from, now) {
		return errLocked
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="slipstream"`)
		return errNoToken
	}
	if _, ok := g.guard.Allow(strings.TrimSpace(token)); !ok {
		g.missed(from, now)
		w.Header().Set("WWW-Authenticate", `Bearer realm="slipstream", error="invalid_token"`)
		return errBadToken
	}
	return nil
}

// missed counts a wrong token. The device itself, whose proxies pass strangers' guesses
// on, does not have to wait for them, nor do its own RTSP viewers.
func (g *Gateway) missed(from netip.Addr, now time.Time) {
	if ownAddress(from) {
		g.guard.refused.Add(1)
		return
	}
	g.guard.miss(from, now)
}

var (
	errNoToken  = &refusal{http.StatusUnauthorized, "no-token", "viewers show a bearer token here"}
	errBadToken = &refusal{http.StatusUnauthorized, "bad-token", "this bearer token is not known"}
	errLocked   = &refusal{http.StatusTooManyRequests, "locked", "too many wrong tokens came from your address; wait a minute"}
)

// addressOf is whose request it is.
func addressOf(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return unlessOwn(addr.Addr(), local)
}

// options answers OPTIONS, apart from what is for the browser alone (see
// [Gateway.sameOrigin]).
func options(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", methods)
	w.Header().Set("Accept-Post", sdpType)
	w.Header().Set("Accept-Patch", fragmentType)
	w.WriteHeader(http.StatusOK)
}

// nothing answers GET: the resources have no representation.
func nothing(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var (
	errNoName    = &refusal{http.StatusNotFound, "unknown-stream", "no stream can have this name"}
	errNoStream  = &refusal{http.StatusNotFound, "unknown-stream", "there is no such stream"}
	errNoPicture = &refusal{http.StatusServiceUnavailable, "no-source", "the stream has no picture yet"}
	errNoAgent   = &refusal{http.StatusServiceUnavailable, "forwarder-away", "the forwarder is away; try again in a moment"}
	errNoSession = &refusal{http.StatusNotFound, "unknown-session", "no such session"}
)

// postOffer answers a viewer's offer with a session of its own. sessions is the
// context that the session lives in.
func (g *Gateway) postOffer(sessions context.Context, w http.ResponseWriter, r *http.Request) error {
	stream := r.PathValue("stream")
	if !validName(stream) {
		return errNoName
	}
	body, err := readBody(w, r, sdpType, maxOffer)
	if err != nil {
		return err
	}
	o, err := parseOffer(body)
	if err != nil {
		return refuseWith(http.StatusBadRequest, "offer", err)
	}
	place, err := g.guests.admit(addressOf(r), time.Now()) // before the forwarder has any work
	if err != nil {
		return err
	}
	p, answer, err := g.negotiate(r.Context(), stream, o)
	if err != nil {
		place.leave()
		return err
	}
	s := g.open(sessions, stream, p, place)
	w.Header().Set("Content-Type", sdpType)
	w.Header().Set("Location", "/whep/"+stream+"/"+s.id)
	w.Header().Set("ETag", s.tag())
	w.Header().Set("Accept-Patch", fragmentType)
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer) // a viewer that did not get it never connects
	return nil
}

// readBody returns a request's body, which must be of a type and not too long.
func readBody(w http.ResponseWriter, r *http.Request, kind string, limit int64) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != kind {
		return nil, &refusal{http.StatusUnsupportedMediaType, "media-type", "the body must be of type " + kind}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is larger than %d KiB", limit>>10)}
	}
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "torn", "the body did not arrive whole"}
	}
	return body, nil
}

// negotiate makes the peer for an offer.
func (g *Gateway) negotiate(ctx context.Context, stream string, o offer) (*peer, string, error) {
	picks, err := g.picks(ctx, stream, o)
	if err != nil {
		return nil, "", err
	}
	p, answer, err := g.peers.answer(ctx, o, picks)
	if bad := (*offerError)(nil); errors.As(err, &bad) {
		return nil, "", refuseWith(http.StatusBadRequest, "offer", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("make a session: %w", err)
	}
	return p, answer, nil
}

// picks chooses what a viewer is given: the stream, in a format of the offer in which
// the viewer can decode whatever the stream declares, and its sound, if the viewer
// wants it and has its format.
func (g *Gateway) picks(ctx context.Context, stream string, o offer) ([]pick, error) {
	streams, err := g.forwarder.describe(ctx, stream)
	switch {
	case errors.Is(err, errUnknownStream):
		return nil, errNoStream
	case errors.Is(err, errNoSource):
		return nil, errNoPicture
	case err != nil:
		return nil, errNoAgent
	}
	main, err := choose(o, streams[0])
	if err != nil {
		return nil, refuseWith(http.StatusNotAcceptable, "codec", err)
	}
	picks := []pick{main}
	if len(streams) > 1 && main.channels == 0 && o.audio.media != nil {
		sound, err := choose(o, streams[1])
		if err != nil {
			g.log.Info("viewer gets no sound", "stream", stream, "because", err)
			return picks, nil
		}
		if sound.channels > 0 && sound.payloadType != main.payloadType {
			picks = append(picks, sound)
		}
	}
	return picks, nil
}

// choose finds the format in which a viewer is given a stream.
func choose(o offer, s handover.Stream) (pick, error) {
	e, err := envelopeOf(s)
	if err != nil {
		return pick{}, err
	}
	offered := o.video.payloads
	if e.sound() {
		offered = o.audio.payloads
	}
	f, err := e.pick(offered)
	return pick{payload: f, stream: s.Name, stereo: e.stereo, profile: s.Profile}, err
}

func (g *Gateway) getSession(w http.ResponseWriter, r *http.Request) error {
	if _, err := g.find(r.Context(), r.PathValue("stream"), r.PathValue("session")); err != nil {
		return err
	}
	return nothing(w, r)
}

func (g *Gateway) deleteSession(w http.ResponseWriter, r *http.Request) error {
	s, err := g.find(r.Context(), r.PathValue("stream"), r.PathValue("session"))
	if err != nil {
		return err
	}
	s.end(errDeleted)
	w.WriteHeader(http.StatusOK)
	return nil
}

// methods are those of an endpoint and of a session.
const methods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST"

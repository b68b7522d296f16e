package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/shelf"
	"slipstream/verify"
)

// API serves the panel's routes. Close ends what it began.
type API struct {
	store *shelf.Store
	hub   *hub.Hub
	trust *verify.Trust // nil: packages are listed unverified
	live  *live.Live    // nil: nobody watches through the panel
	log   *slog.Logger

	uploads  chan struct{} // one token for each upload under way
	readers  chan struct{} // one token for each reader of events
	releases signal        // the list of releases changed

	ctx  context.Context // of the asks, which outlive the requests that began them
	end  context.CancelFunc
	asks sync.WaitGroup
}

const (
	maxUploads = 2
	maxReaders = 64
)

// New makes the API. Without trust it lists every well-formed package and says
// that it was not verified here; without l nobody watches through the panel.
func New(s *shelf.Store, h *hub.Hub, trust *verify.Trust, l *live.Live, log *slog.Logger) *API {
	a := &API{
		store: s, hub: h, trust: trust, live: l, log: log,
		uploads: make(chan struct{}, maxUploads),
		readers: make(chan struct{}, maxReaders),
	}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// Close gives up the asks that devices have not answered and waits until their
// audit lines are written.
func (a *API) Close() {
	a.end()
	a.asks.Wait()
}

// Register adds the routes to mux.
func (a *API) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/devices", a.listDevices)
	mux.HandleFunc("GET /api/devices/{id}", a.getDevice)
	mux.HandleFunc("GET /api/devices/{id}/history", a.getHistory)
	mux.HandleFunc("POST /api/devices/{id}/stage", a.postStage)
	mux.HandleFunc("POST /api/devices/{id}/activate", a.postActivate)
	mux.HandleFunc("POST /api/devices/{id}/greenlight", a.postGreenlight)
	mux.HandleFunc("POST /api/devices/{id}/revert", a.postRevert)
	mux.HandleFunc("POST /api/devices/{id}/whep/{stream}", a.postWHEP)
	mux.HandleFunc("DELETE /api/devices/{id}/whep/{stream}/{session}", a.deleteWHEP)
	mux.HandleFunc("GET /api/releases", a.listReleases)
	mux.HandleFunc("POST /api/releases", a.postRelease)
	mux.HandleFunc("GET /api/audit", a.listAudit)
	mux.HandleFunc("GET /api/events", a.events)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, problem{http.StatusNotFound, "no-such-route", "nothing answers " + r.Method + " " + r.URL.Path})
	})
}

// signal wakes everyone who waits.
type signal struct {
	mu   sync.Mutex
	wake chan struct{} // closed by fire; nil until somebody waits
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

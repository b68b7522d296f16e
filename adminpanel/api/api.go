package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/neighbour"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/settings"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/view"
)

// Config is what the API speaks for. OIDC, Orders, Live and Enrolments may be nil: their routes
// answer 501 then.
type Config struct {
	Store      store.Store
	Beside     func(packages bool) backup.Files // beside the store, for backups
	Fleet      *fleet.Fleet
	Hub        *hub.Hub
	Panels     *neighbour.Panels // nil: this one is alone
	Drive      *drive.Driver
	Auth       *auth.Auth
	OIDC       *auth.OIDC
	Audit      *audit.Log
	Settings   *settings.Settings
	Releases   *release.Releases
	Orders     *order.Orders
	Live       *live.Live
	Enrolments Enrolments
	Data       string // directory of this panel's own, for files that are under way; "": the system's
	Log        *slog.Logger
}

// Enrolments are the one-time tokens by which devices join.
type Enrolments interface {
	Add(ctx context.Context, who audit.Who, e view.Enrolment) (view.Enrolment, error) // with Text and Line
	List(ctx context.Context) ([]view.Enrolment, error)
	Remove(ctx context.Context, who audit.Who, id string) error
}

// API is the handler of everything below /api/v1/ and of /openapi.json.
type API struct {
	cfg                  Config
	log                  *slog.Logger
	mux                  *http.ServeMux
	huma                 huma.API
	handler              http.Handler
	replays              *replays
	bodyTime, renewEvery time.Duration
	feed                 *feed
	readers              *readers
	backups              chan struct{} // holds the right to make one

	ctx  context.Context // ends what outlives its request, and readers of events
	end  context.CancelFunc
	work sync.WaitGroup
}

// New makes the API. Close ends what it began.
func New(cfg Config) (*API, error) {
	if cfg.Store == nil || cfg.Fleet == nil || cfg.Hub == nil || cfg.Drive == nil || cfg.Auth == nil ||
		cfg.Audit == nil || cfg.Settings == nil || cfg.Releases == nil || cfg.Log == nil {
		return nil, errors.New("api: a part of the panel that it speaks for is missing")
	}
	if cfg.Panels == nil {
		cfg.Panels = neighbour.New(neighbour.Config{Hub: cfg.Hub})
	}
	if cfg.Beside == nil {
		cfg.Beside = func(bool) backup.Files { return nil }
	}
	a := &API{cfg: cfg, log: cfg.Log, mux: http.NewServeMux(), replays: newReplays(), bodyTime: bodyTime, renewEvery: renewEvery, feed: newFeed(cfg), readers: newReaders(), backups: make(chan struct{}, 1)}
	a.ctx, a.end = context.WithCancel(context.Background())
	a.huma = newHuma(a.mux)
	a.handler = cfg.Auth.Guard(http.HandlerFunc(a.admit), a.refuse)
	a.register()
	a.work.Go(func() { a.feed.run(a.ctx) })
	return a, nil
}

// register adds all routes.
func (a *API) register() {
	a.registerMe()
	a.registerDevices()
	a.registerVerbs()
	a.registerVersions()
	a.registerWHEP()
	a.registerEvents()
	a.registerSetup()
	a.registerSessions()
	a.registerOIDC()
	a.registerAccess()
	a.registerTokens()
	a.registerEnrolments()
	a.registerSettings()
	a.registerReleases()
	a.registerUploads()
	a.registerOrders()
	a.registerRollouts()
	a.registerAudit()
	a.registerBackup()
}

// Leave ends readers of events and answers who waits for a device with what is known, so that
// a server can be shut down whose requests they are.
func (a *API) Leave() { a.end() }

// Close ends what was begun by New, and what [API.Leave] does.
func (a *API) Close() {
	a.end()
	a.work.Wait()
}

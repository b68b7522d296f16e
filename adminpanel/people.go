package adminpanel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/ui"
)

// people is everything at the address for people and their programs.
func (p *Panel) people() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", p.api)
	mux.Handle("GET /openapi.json", p.api)
	p.health(mux)
	mux.Handle("GET /metrics", p.auth.Guard(p.allowed(auth.LookFleet, p.metrics.handler()), refusePage))
	mux.Handle("/", p.auth.Guard(pages(), refusePage))
	return p.metrics.count(p.auth, p.headed(mux))
}

// beside is what is at the address for those who watch over the panel.
func (p *Panel) beside() http.Handler {
	mux := http.NewServeMux()
	p.health(mux)
	mux.Handle("GET /metrics", p.metrics.handler())
	return mux
}

// headed tells browsers how to treat what we send.
func (p *Panel) headed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		if !p.plain {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

func pages() http.Handler {
	files := ui.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", ui.Policy)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "pages are for reading", http.StatusMethodNotAllowed)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// allowed lets through who may do an action.
func (p *Panel) allowed(what auth.Action, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := p.auth.Authenticate(r)
		if err == nil && !caller.May(what) {
			err = auth.ErrForbidden
		}
		if err != nil {
			refusePage(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refusePage(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusInternalServerError
	if refusal, ok := errors.AsType[*auth.Error](err); ok {
		status = refusal.Status
	}
	http.Error(w, err.Error(), status)
}

// health answers whether the panel lives, and whether it can do its work.
func (p *Panel) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := p.ready(r.Context()); err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
}

// storeTime is how long the store may take for an answer.
const storeTime = 2 * time.Second

func (p *Panel) ready(ctx context.Context) error {
	select {
	case <-p.fleet.Loaded():
	default:
		return errors.New("the devices are still being read from the store")
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if _, err := p.store.Get(ctx, schema.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
		p.log.Warn("the store does not answer", "cause", err)
		return errors.New("the store does not answer")
	}
	return nil
}

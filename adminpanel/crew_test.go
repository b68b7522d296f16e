package adminpanel_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

// crew enrols simulated devices and has them call. Its devices are those of a fleet that
// is still to come to the panel: linked waits for them.
func (w *world) crew(cfg simulate.Config) *simulate.Fleet {
	w.Helper()
	var made view.Enrolment
	w.ask("POST", "/api/v1/enrolments", view.EnrolmentRequest{Uses: cfg.Devices, Until: time.Now().Add(time.Hour)}).is(http.StatusCreated, &made)
	cfg.Panel, cfg.Tokens, cfg.Log = w.link, []wire.Token{must(wire.ParseToken(made.Text))}, slog.New(slog.DiscardHandler)
	f, err := simulate.NewFleet(cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := f.Run(ctx); !errors.Is(err, context.Canceled) {
			w.Errorf("the devices: %v", err)
		}
	})
	w.Cleanup(func() { cancel(); owned.Wait() })
	return f
}

// linked waits until so many devices are.
func (w *world) linked(n int) {
	w.Helper()
	w.eventually("all devices are linked", func() bool {
		var h view.Hub
		w.ask("GET", "/api/v1/hub", nil).is(http.StatusOK, &h)
		return h.Linked == n
	})
}

// runs makes a rollout and starts it.
func (w *world) runs(plan view.Plan) (r view.Rollout) {
	w.Helper()
	w.ask("POST", "/api/v1/rollouts", plan).is(http.StatusCreated, &r)
	return w.verb(r.ID, "start")
}

// verb has a rollout do something, with what its page would send.
func (w *world) verb(id, verb string) (r view.Rollout) {
	w.Helper()
	w.ask("POST", "/api/v1/rollouts/"+id+"/"+verb, view.RolloutVerb{}, "If-Match", "*").is(http.StatusOK, &r)
	return r
}

// rolled waits for what the panel shows of a rollout.
func (w *world) rolled(id, what string, wanted func(view.Rollout) bool) (r view.Rollout) {
	w.Helper()
	w.eventually("rollout "+id+" is "+what, func() bool {
		r = view.Rollout{}
		w.ask("GET", "/api/v1/rollouts/"+id, nil).is(http.StatusOK, &r)
		return wanted(r)
	})
	return r
}

// as opens a page in somebody's name, by the cookies of a session.
func (w *world) as(browser context.Context, who []*http.Cookie, path string) page {
	w.Helper()
	p := blankPage(w.T, browser)
	p.run(w.T, network.Enable())
	for _, c := range who {
		p.run(w.T, network.SetCookie(c.Name, c.Value).WithURL(w.url).WithPath("/").WithHTTPOnly(true))
	}
	p.run(w.T, chromedp.Navigate(w.url+path))
	return p
}

// signed makes an account, and a session of it.
func (w *world) signed(name, role string) []*http.Cookie {
	w.Helper()
	w.ask("POST", "/api/v1/accounts", view.AccountRequest{Name: name, Password: annPassword, Grants: []view.Grant{{Role: role}}}).is(http.StatusCreated, nil)
	other := *w
	other.ann = nil // who signs in gives up the session of before
	return other.ask("POST", "/api/v1/sessions", view.Login{Name: name, Password: annPassword}).is(http.StatusCreated, nil).cookies
}

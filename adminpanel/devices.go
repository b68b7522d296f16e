package adminpanel

import (
	"context"
	"errors"
	"net/http"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/agent/wire"
)

// tellAgain is how often devices whose link never ends hear that it is time for another
// certificate.
const tellAgain = 12 * time.Hour

// devices is everything at the address for devices, which the panel knows by their
// certificates.
func (p *Panel) devices() http.Handler {
	mux := http.NewServeMux()
	p.desk.Register(mux)
	mux.Handle("POST "+wire.Path, p.hub)
	if p.live != nil {
		mux.HandleFunc("POST "+wire.LegPath+"/{id}", p.takeLeg)
	}
	mux.Handle("GET "+wire.ReachPath, p.desk.Devices(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	mux.Handle("GET /v1/releases/{id}", p.desk.Devices(http.HandlerFunc(p.serveRelease)))
	return mux
}

// takeLeg takes pictures that come on a device's link.
func (p *Panel) takeLeg(w http.ResponseWriter, r *http.Request) {
	device, ok := p.desk.Identify(r)
	if !ok {
		http.Error(w, "a leg is for enrolled devices", http.StatusUnauthorized)
		return
	}
	p.live.ServeLeg(w, r, device)
}

// serveRelease gives a package to a device, whole or by ranges.
func (p *Panel) serveRelease(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	defer rc.SetWriteDeadline(time.Time{}) // the connection serves other requests after this one
	err := p.releases.Serve(impatient{w, rc}, r, r.PathValue("id"))
	switch {
	case errors.Is(err, release.ErrUnknown), errors.Is(err, release.ErrWithdrawn):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		p.log.Error("a release cannot be served", "release", r.PathValue("id"), "cause", err)
		http.Error(w, "the panel cannot read it; its log says why", http.StatusInternalServerError)
	}
}

// stallTime is how long a download may make no progress.
const stallTime = 30 * time.Second

// impatient gives up a download that makes no progress.
type impatient struct {
	http.ResponseWriter

	rc *http.ResponseController
}

func (i impatient) Write(b []byte) (int, error) {
	if err := i.rc.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	return i.ResponseWriter.Write(b)
}

// hear brings the fleet what the hub's devices say.
func (p *Panel) hear(ctx context.Context) {
	watch := p.hub.Watch()
	defer watch.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.Changed():
		}
		for _, id := range watch.Take() {
			if d, ok := p.hub.Device(id); ok {
				p.fleet.Heard(id, fleet.Link{Online: d.Online, Seen: d.Seen, Status: d.Status})
			}
		}
	}
}

// heed ends the links of devices that were revoked or replaced, at this panel or at another
// one, and takes those that have left out of the rollouts.
func (p *Panel) heed(ctx context.Context) {
	watch := p.fleet.Watch()
	defer watch.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.Changed():
		}
		changed := watch.Take()
		p.hub.Recheck(changed...)
		for _, id := range changed {
			if _, ok := p.fleet.Table().Get(id); !ok {
				p.drive.Left(id)
			}
		}
	}
}

// belong tells the fleet which devices are in a rollout.
func (p *Panel) belong(ctx context.Context) {
	select {
	case <-p.fleet.Loaded():
	case <-ctx.Done():
		return
	}
	drive.Members(ctx, p.store, p.fleet.InRollout, func(err error) {
		p.log.Warn("it is not known which devices are in rollouts; trying again", "cause", err)
	})
}

// vouch tells linked devices when there is another authority, and now and then whether
// it is time for another certificate.
func (p *Panel) vouch(ctx context.Context) {
	tick := time.NewTicker(tellAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.rotated:
		case <-tick.C:
		}
		p.hub.Announce()
	}
}

func (p *Panel) devicesByState() map[string]int {
	states := map[string]int{}
	for _, d := range p.fleet.Table().Select(fleet.Selector{}, time.Now()) {
		states[d.State]++
	}
	return states
}

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// eventPause bounds what a page has to draw: changes within it are one.
	eventPause = 100 * time.Millisecond
	// beatEvery tells a page that the panel lives though nothing changes.
	beatEvery = 10 * time.Second
	// eventTimeout is how long a reader may leave an event unread.
	eventTimeout = 15 * time.Second
)

// events sends everything once and then what changes. A reader that lost the
// connection gets everything again, so there is nothing to catch up.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	select {
	case a.readers <- struct{}{}:
		defer func() { <-a.readers }()
	default:
		fail(w, problem{http.StatusServiceUnavailable, "too-many-readers", "too many pages are open on this panel"})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := eventWriter{w, http.NewResponseController(w)}
	if err := a.stream(r, out); err != nil && r.Context().Err() == nil {
		a.log.Debug("a reader of events left", "cause", err)
	}
}

func (a *API) stream(r *http.Request, out eventWriter) error {
	watch := a.hub.Watch()
	defer watch.Close()
	releases := a.releases.wait()
	if err := a.snapshot(out); err != nil {
		return err
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-watch.Changed():
			err = a.sendDevices(out, watch.Take())
		case <-releases:
			releases = a.releases.wait()
			err = a.sendReleases(out)
		case <-beat.C:
			err = out.send("beat", struct{}{})
		}
		if err != nil {
			return err
		}
		pause(r, eventPause)
	}
}

func pause(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func (a *API) snapshot(out eventWriter) error {
	devices, err := a.devices()
	if err != nil {
		return err
	}
	releases, err := a.releaseList()
	if err != nil {
		return err
	}
	return out.send("snapshot", map[string]any{"devices": devices, "releases": releases})
}

func (a *API) sendDevices(out eventWriter, ids []string) error {
	for _, id := range ids {
		d, err := a.device(id)
		if err != nil {
			return err
		}
		if err := out.send("device", d); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) sendReleases(out eventWriter) error {
	list, err := a.releaseList()
	if err != nil {
		return err
	}
	return out.send("releases", list)
}

type eventWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (e eventWriter) send(event string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := e.rc.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", event, text)
	if err == nil {
		err = e.rc.Flush()
	}
	return errors.Join(err, e.rc.SetWriteDeadline(time.Time{}))
}

package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"slipstream/adminpanel/view"
)

func (a *API) registerReleases() {
	add(a, "GET /releases", "All releases, the newest first", a.getReleases)
	add(a, "GET /releases/{id}", "One release", a.getRelease)
	raw(a, "POST /releases", "Add a package in one body, for small clients", a.postRelease,
		query("name", "of the file, for people"), takes("application/octet-stream"), gives(http.StatusCreated, "the release"))
	add(a, "DELETE /releases/{id}", "Withdraw a release: it is not offered any more", a.deleteRelease)
}

// ReleaseID is the parameter of routes about one.
type ReleaseID struct {
	ID string `path:"id" pattern:"^[0-9a-f]{32}$"`
}

func (a *API) getReleases(ctx context.Context, _ *nothing) (*answer[view.Releases], error) {
	list, err := a.cfg.Releases.List(ctx)
	if err != nil {
		return nil, err
	}
	running := a.running()
	for i := range list {
		list[i].Running = running[list[i].Version]
	}
	return say(view.Releases{Releases: list}, nil)
}

// running counts devices by the version that viewers see.
func (a *API) running() map[string]int {
	counts := map[string]int{}
	for _, row := range a.cfg.Fleet.Table().Versions(everything, time.Now()).Versions {
		counts[row.Version] = row.Running
	}
	return counts
}

// releaseFor is a release with what the fleet makes of it.
func (a *API) releaseFor(rel view.Release) view.Release {
	rel.Running = a.running()[rel.Version]
	return rel
}

func (a *API) sayRelease(rel view.Release, err error) (*answer[view.Release], error) {
	return say(a.releaseFor(rel), err)
}

func (a *API) getRelease(ctx context.Context, in *ReleaseID) (*answer[view.Release], error) {
	return a.sayRelease(a.cfg.Releases.Get(ctx, in.ID))
}

// postRelease streams the body to disk. Its size must be known: room is looked for first.
func (a *API) postRelease(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength < 0 {
		return newProblem(http.StatusLengthRequired, "no-length", "say by Content-Length how large the package is, or upload it in pieces (POST /api/v1/uploads)")
	}
	body := &counting{Reader: r.Body}
	rel, added, err := a.cfg.Releases.Add(r.Context(), whoOf(r.Context()), r.URL.Query().Get("name"), r.ContentLength, body)
	if err != nil {
		return body.blame(err)
	}
	code := http.StatusOK
	if added {
		code = http.StatusCreated
	}
	return reply(w, code, a.releaseFor(rel))
}

func (a *API) deleteRelease(ctx context.Context, in *ReleaseID) (*answer[view.Release], error) {
	return a.sayRelease(a.cfg.Releases.Withdraw(ctx, whoOf(ctx), in.ID))
}

// counting remembers how reading went: an error of the sender's is not one of the panel's.
type counting struct {
	io.Reader
	err error
}

func (c *counting) Read(buf []byte) (int, error) {
	n, err := c.Reader.Read(buf)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// blame is the sender's fault if reading failed, or else the error given.
func (c *counting) blame(err error) error {
	if c.err != nil {
		return bodyError(c.err)
	}
	return err
}

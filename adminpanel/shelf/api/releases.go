package api

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"slipstream/adminpanel/shelf"
	"slipstream/verify"
)

// stallTimeout is how long an upload or a download may make no progress.
const stallTimeout = 30 * time.Second

func (a *API) listReleases(w http.ResponseWriter, _ *http.Request) {
	list, err := a.releaseList()
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"releases": list})
}

func (a *API) releaseList() ([]shelf.Release, error) {
	list, err := a.store.Releases()
	if list == nil {
		list = []shelf.Release{}
	}
	return list, err
}

// postRelease takes the bytes of a package.
func (a *API) postRelease(w http.ResponseWriter, r *http.Request) {
	select {
	case a.uploads <- struct{}{}:
		defer func() { <-a.uploads }()
	default:
		fail(w, problem{http.StatusServiceUnavailable, "busy", "other uploads are under way; try again soon"})
		return
	}
	if r.ContentLength > shelf.MaxRelease {
		fail(w, tooLarge)
		return
	}
	release, added, err := a.store.AddRelease(patient{r.Body, http.NewResponseController(w)}, a.judge, r.RemoteAddr)
	if err != nil {
		fail(w, uploadProblem(err))
		return
	}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
		a.releases.fire()
		a.log.Info("release added", "version", release.Version, "digest", release.Digest, "verified", release.Verified)
	}
	reply(w, status, release)
}

// judge describes an upload. Keys, if the panel was given any, decide; without
// them the device alone does, and the release says so.
func (a *API) judge(r io.ReaderAt, size int64) (shelf.Release, error) {
	open := func() (*verify.Package, error) { return verify.Unverified(r, size) }
	if a.trust != nil {
		open = func() (*verify.Package, error) { return verify.Inspect(r, size, a.trust) }
	}
	p, err := open()
	if err == nil && a.trust != nil {
		err = p.CheckAll(a.ctx)
	}
	if err != nil {
		return shelf.Release{}, err
	}
	m := p.Manifest
	return shelf.Release{
		Digest: p.Digest, Product: m.Product, Hardware: m.Hardware, Version: m.Version,
		Counter: m.ReleaseCounter, Notes: m.Notes, Verified: a.trust != nil, Signer: p.Signer,
	}, nil
}

var tooLarge = problem{http.StatusRequestEntityTooLarge, "too-large", shelf.ErrTooLarge.Error()}

func uploadProblem(err error) error {
	switch code := verify.Code(err); {
	case code != "":
		return problem{http.StatusUnprocessableEntity, code, strings.TrimPrefix(err.Error(), "verify: ")}
	case errors.Is(err, shelf.ErrTooLarge):
		return tooLarge
	case errors.Is(err, syscall.ENOSPC):
		return problem{http.StatusInsufficientStorage, "disk-full", "the panel's disk is full"}
	default:
		return err
	}
}

// ServeRelease gives a package to a device, whole or by ranges. Who calls was asked
// before.
func (a *API) ServeRelease(w http.ResponseWriter, r *http.Request) {
	f, release, err := a.store.OpenRelease(r.PathValue("id"))
	if errors.Is(err, shelf.ErrNotFound) {
		err = problem{http.StatusNotFound, "unknown-release", "the panel has no such release"}
	}
	if err != nil {
		fail(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+release.SHA256+`"`)
	rc := http.NewResponseController(w)
	defer rc.SetWriteDeadline(time.Time{}) // the connection serves other requests after this one
	http.ServeContent(impatient{w, rc}, r, "", release.Added, f)
}

// patient reads an upload as long as it makes progress.
type patient struct {
	r  io.Reader
	rc *http.ResponseController
}

func (p patient) Read(buf []byte) (int, error) {
	if err := p.rc.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return p.r.Read(buf)
}

// impatient gives up a download that makes no progress.
type impatient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (i impatient) Write(buf []byte) (int, error) {
	if err := i.rc.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return i.ResponseWriter.Write(buf)
}

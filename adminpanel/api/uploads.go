package api

import (
	"context"
	"net/http"
	"strconv"

	"slipstream/adminpanel/view"
)

func (a *API) registerUploads() {
	add(a, "POST /uploads", "Begin an upload that may be interrupted", a.postUpload, status(http.StatusCreated))
	add(a, "GET /uploads/{id}", "How far an upload is", a.getUpload)
	raw(a, "PATCH /uploads/{id}", "Append bytes at the offset that the upload has reached", a.patchUpload,
		offsetHeader, takes("application/offset+octet-stream"), gives(http.StatusOK, "how far it is now"))
	add(a, "POST /uploads/{id}/finish", "Have the package judged and listed", a.finishUpload)
	add(a, "DELETE /uploads/{id}", "Drop an upload", a.deleteUpload)
}

// UploadID is the parameter of routes about one.
type UploadID struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) postUpload(ctx context.Context, in *struct{ Body view.UploadRequest }) (*answer[view.Upload], error) {
	return say(a.cfg.Releases.Begin(ctx, whoOf(ctx), in.Body.Name, in.Body.Size))
}

func (a *API) getUpload(ctx context.Context, in *UploadID) (*answer[view.Upload], error) {
	return say(a.cfg.Releases.Upload(ctx, in.ID))
}

// patchUpload keeps what has arrived when the line breaks; GET says where to go on.
func (a *API) patchUpload(w http.ResponseWriter, r *http.Request) error {
	text := r.Header.Get("Upload-Offset")
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 {
		return badInput("header.Upload-Offset", "it must say at which byte the body goes on")
	}
	body := &counting{Reader: r.Body}
	now, err := a.cfg.Releases.Append(r.Context(), r.PathValue("id"), offset, body)
	if err != nil {
		return body.blame(err)
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(now.Offset, 10))
	return reply(w, http.StatusOK, now)
}

func (a *API) finishUpload(ctx context.Context, in *struct {
	UploadID
	Body *struct{}
}) (*answer[view.Release], error) {
	rel, _, err := a.cfg.Releases.Finish(ctx, whoOf(ctx), in.ID)
	return a.sayRelease(rel, err)
}

func (a *API) deleteUpload(ctx context.Context, in *UploadID) (*nothing, error) {
	return nil, a.cfg.Releases.Drop(ctx, whoOf(ctx), in.ID)
}

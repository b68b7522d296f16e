package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"slipstream/adminpanel/view"
)

const (
	pieceSize = 4 << 20
	// uploadTries is how often in a row nothing of an upload may arrive.
	uploadTries = 10
	// finishWait is how long the panel may take to verify a package.
	finishWait = 10 * time.Minute
)

// Releases are all of them, newest first.
func (c *Client) Releases(ctx context.Context) (list view.Releases, err error) {
	return list, c.get(ctx, "releases", nil, &list)
}

// Release is one of them.
func (c *Client) Release(ctx context.Context, id string) (r view.Release, err error) {
	return r, c.get(ctx, path("releases", id), nil, &r)
}

// Withdraw takes a release out of what is offered.
func (c *Client) Withdraw(ctx context.Context, id string) error {
	return c.delete(ctx, path("releases", id), 0)
}

// Order signs the fleet's word that devices may run a release.
func (c *Client) Order(ctx context.Context, id string, req view.OrderRequest) (r view.Release, err error) {
	return r, c.post(ctx, path("releases", id, "order"), req, &r)
}

// OrderFile is that word as a file, for a device without a link.
func (c *Client) OrderFile(ctx context.Context, id string) (file []byte, err error) {
	return file, c.get(ctx, path("releases", id, "order"), nil, &file)
}

// OrderPackage writes the whole package with that word in it, for a USB stick. It is
// bounded by ctx alone.
func (c *Client) OrderPackage(ctx context.Context, id string, w io.Writer) error {
	return c.download(ctx, call{method: http.MethodGet, path: path("releases", id, "order"), query: query("with", "package")}, w)
}

// ReleaseID is the id that the panel gives to a package's bytes: the first half of their
// SHA-256.
func ReleaseID(r io.ReaderAt, size int64) (string, error) {
	sum := sha256.New()
	if n, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil || n != size {
		return "", fmt.Errorf("read the package: %d of %d bytes, %w", n, size, err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:sha256.Size/2]), nil
}

// Package is what is uploaded.
type Package struct {
	Name   string // of the file, for people
	Size   int64
	Reader io.ReaderAt
}

// Transfer is how an upload is done. All of it may be zero.
type Transfer struct {
	Upload   string                  // id of one to go on with; one that is gone is begun anew
	Begun    func(upload string)     // tells the id by which to go on, should this end early
	Progress func(done, total int64) // is called as bytes arrive
}

// AddRelease uploads a package in pieces and has it judged. When the panel goes away it waits
// for it and goes on where it stopped.
func (c *Client) AddRelease(ctx context.Context, p Package, t Transfer) (r view.Release, err error) {
	up, err := c.begin(ctx, p, t)
	if err != nil {
		return r, err
	}
	if err := c.pieces(ctx, p, t, up); err != nil {
		return r, err
	}
	return r, c.do(ctx, call{method: http.MethodPost, path: path("uploads", up.ID, "finish"), body: struct{}{}, wait: finishWait, out: &r})
}

func (c *Client) begin(ctx context.Context, p Package, t Transfer) (up view.Upload, err error) {
	if t.Upload != "" {
		up, err = c.upload(ctx, t.Upload)
		if err == nil && up.Size == p.Size {
			return up, nil
		}
	}
	if err = c.post(ctx, "uploads", view.UploadRequest{Size: p.Size, Name: p.Name}, &up); err == nil && t.Begun != nil {
		t.Begun(up.ID)
	}
	return up, err
}

func (c *Client) upload(ctx context.Context, id string) (up view.Upload, err error) {
	return up, c.get(ctx, path("uploads", id), nil, &up)
}

// DropUpload forgets an upload.
func (c *Client) DropUpload(ctx context.Context, id string) error {
	return c.delete(ctx, path("uploads", id), 0)
}

// pieces sends what is missing. Where it stands after an error says the panel.
func (c *Client) pieces(ctx context.Context, p Package, t Transfer, up view.Upload) error {
	buf := make([]byte, min(pieceSize, p.Size))
	for failed := 0; up.Offset < p.Size; {
		if t.Progress != nil {
			t.Progress(up.Offset, p.Size)
		}
		piece := buf[:min(int64(len(buf)), p.Size-up.Offset)]
		if n, err := p.Reader.ReadAt(piece, up.Offset); n < len(piece) {
			return fmt.Errorf("read the package: it has become shorter: %w", err)
		}
		next, err := c.piece(ctx, up, piece)
		if err == nil && next.Offset > up.Offset && next.Offset <= p.Size {
			up, failed = next, 0
			continue
		}
		if failed++; failed > uploadTries || lasting(ctx, err) {
			return orElse(err, errStuck)
		}
		if err := pause(ctx, min(250*time.Millisecond<<failed, 10*time.Second)); err != nil {
			return err
		}
		if now, err := c.upload(ctx, up.ID); err == nil && now.Offset <= p.Size {
			up = now
		} else if lasting(ctx, err) {
			return orElse(err, errStuck)
		}
	}
	if t.Progress != nil {
		t.Progress(p.Size, p.Size)
	}
	return nil
}

func (c *Client) piece(ctx context.Context, up view.Upload, piece []byte) (next view.Upload, err error) {
	header := http.Header{"Upload-Offset": {strconv.FormatInt(up.Offset, 10)}}
	return next, c.once(ctx, call{method: http.MethodPatch, path: path("uploads", up.ID), raw: piece,
		kind: "application/offset+octet-stream", header: header, wait: time.Minute, out: &next}, "")
}

var errStuck = errors.New("the panel takes nothing more of the upload: try again later")

// lasting tells whether going on makes no sense. That somebody else has added to the upload,
// or that the panel is somewhere else in it, passes.
func lasting(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	p, ok := errors.AsType[*Problem](err)
	return ok && refused(p) && p.Status != http.StatusConflict
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

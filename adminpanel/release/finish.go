package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/verify"
)

// Finish judges an upload that is whole and lists it. A package that is refused (its error has a
// [verify.Code]) is dropped. The same bytes again are the release that is there already; added
// says which it was. What was withdrawn is offered again.
func (r *Releases) Finish(ctx context.Context, who audit.Who, id string) (rel view.Release, added bool, err error) {
	u, _, err := r.getUpload(ctx, id)
	if err != nil {
		return view.Release{}, false, err
	}
	f, size, err := r.lock(id)
	if err != nil {
		return view.Release{}, false, err
	}
	defer f.Close()
	if size != u.Size {
		return view.Release{}, false, fmt.Errorf("%w: %d of %d bytes have arrived", ErrNotWhole, size, u.Size)
	}
	rec, err := r.judge(ctx, f, size)
	if verify.Code(err) != "" {
		return view.Release{}, false, r.refused(ctx, who, u, err)
	}
	if err != nil {
		return view.Release{}, false, err
	}
	rec.UploadedBy, rec.UploadedAt = who.Actor, time.Now().UTC().Truncate(time.Millisecond)
	if err := r.keep(f, rec.ID); err != nil {
		return view.Release{}, false, err
	}
	return r.list(ctx, who, rec, u)
}

// Add is an upload in one, for small clients, told in one line: as the release or its refusal.
// The size must be known beforehand.
func (r *Releases) Add(ctx context.Context, who audit.Who, name string, size int64, body io.Reader) (view.Release, bool, error) {
	u, err := r.begin(ctx, who, name, size, untold)
	if err != nil {
		return view.Release{}, false, err
	}
	var rel view.Release
	var added bool
	if _, err = r.Append(ctx, u.ID, 0, body); err == nil {
		rel, added, err = r.Finish(ctx, who, u.ID)
	}
	if err != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
		defer cancel()
		err = errors.Join(err, r.drop(last, u.ID))
	}
	return rel, added, err
}

// lastWrite is for tidying up after whoever has gone.
const lastWrite = 5 * time.Second

// judge reads all of a file and describes it, or refuses it.
func (r *Releases) judge(ctx context.Context, f *os.File, size int64) (record, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
		return record{}, fmt.Errorf("read the upload: %w", err)
	}
	var trust *verify.Trust
	if r.cfg.Trust != nil {
		trust = r.cfg.Trust()
	}
	p, err := inspect(f, size, trust)
	if err == nil {
		err = p.CheckAll(ctx)
	}
	if err != nil {
		return record{}, err
	}
	rec := record{Release: describe(p, size, trust != nil), SHA256: hex.EncodeToString(sum.Sum(nil))}
	rec.ID = rec.SHA256[:len(rec.SHA256)/2]
	return rec, nil
}

func inspect(f io.ReaderAt, size int64, trust *verify.Trust) (*verify.Package, error) {
	if trust == nil {
		return verify.Unverified(f, size)
	}
	return verify.Inspect(f, size, trust)
}

func describe(p *verify.Package, size int64, verified bool) view.Release {
	m := p.Manifest
	rel := view.Release{
		Name: m.Product + "-" + m.Version, Version: m.Version, Digest: p.Digest, Size: size, Classes: []string{}, Product: m.Product, Hardware: m.Hardware,
		Counter: m.ReleaseCounter, Epoch: m.SecurityEpoch, Signers: slices.Clone(p.Signers), Verified: verified, Contents: []view.Content{}, Notes: m.Notes,
	}
	if rel.Signers == nil {
		rel.Signers = []string{}
	}
	for _, entry := range p.Logged {
		rel.Logged = append(rel.Logged, view.LogEntry(entry))
	}
	for _, image := range m.Images {
		rel.Contents = append(rel.Contents, view.Content{Class: image.Class, Kind: image.Kind, Size: image.Size})
		if !slices.Contains(rel.Classes, image.Class) {
			rel.Classes = append(rel.Classes, image.Class)
		}
	}
	if m.App != nil {
		rel.Greenlight = m.App.Greenlight
	}
	return rel
}

// refused notes that somebody brought a package that is none, and drops it.
func (r *Releases) refused(ctx context.Context, who audit.Who, u upload, reason error) error {
	line := who.Line("release.refuse", "upload "+u.ID)
	line.Detail = verify.Code(reason) + ": " + strings.TrimPrefix(reason.Error(), "verify: ") + " (" + u.Name + ")"
	return errors.Join(reason, r.drop(ctx, u.ID, line))
}

// keep gives an upload that is flushed its name. The record comes after.
func (r *Releases) keep(f *os.File, id string) error {
	err := f.Sync()
	if err == nil {
		err = os.Rename(f.Name(), r.path(id))
	}
	if err == nil {
		err = syncDir(r.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("keep release %s: %w", id, err)
	}
	return nil
}

// list writes the record, unless it is there, and ends the upload with it.
func (r *Releases) list(ctx context.Context, who audit.Who, rec record, u upload) (view.Release, bool, error) {
	done := []store.Op{{Key: prefixUpload + u.ID, Delete: true}}
	for range maxTries {
		old, rev, err := r.get(ctx, rec.ID)
		line := who.Line("release.add", "release "+rec.ID)
		line.Detail = rec.Product + " " + rec.Version
		line.After = audit.Value(map[string]any{"digest": rec.Digest, "sha256": rec.SHA256, "size": rec.Size, "verified": rec.Verified})
		switch {
		case errors.Is(err, ErrUnknown):
		case err != nil:
			return view.Release{}, false, err
		case old.SHA256 != rec.SHA256:
			return view.Release{}, false, fmt.Errorf("release %s is another package whose name begins the same", rec.ID)
		case !old.Withdrawn:
			_, err := r.cfg.Store.Commit(ctx, nil, done)
			return old.Release, false, err
		default: // again, judged by the keys of now
			rec.Order, line.Action = old.Order, "release.restore"
		}
		err = r.write(ctx, rec, rev, done, line)
		if !errors.Is(err, store.ErrConflict) {
			return rec.Release, err == nil, err
		}
	}
	return view.Release{}, false, fmt.Errorf("release %s: %w", rec.ID, store.ErrConflict)
}

package release

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const prefixUpload = "up/"

// upload is what the store holds of one; how far it is says its file.
type upload struct {
	ID    string    `json:"id"`
	Name  string    `json:"name,omitempty"` // of the file, for people
	Size  int64     `json:"size"`
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

var uploadForm = regexp.MustCompile(`^[A-Z2-7]{26}$`)

const maxName = 200

// Begin makes room for a package of a size.
func (r *Releases) Begin(ctx context.Context, who audit.Who, name string, size int64) (view.Upload, error) {
	return r.begin(ctx, who, name, size, func(u upload) []view.AuditLine {
		line := who.Line("upload.begin", "upload "+u.ID)
		line.Detail = fmt.Sprintf("%s, %d bytes", u.Name, u.Size)
		return []view.AuditLine{line}
	})
}

// untold is for an upload that ends in the call that begins it: its end is told.
func untold(upload) []view.AuditLine { return nil }

func (r *Releases) begin(ctx context.Context, who audit.Who, name string, size int64, tell func(upload) []view.AuditLine) (view.Upload, error) {
	switch {
	case size <= 0:
		return view.Upload{}, errors.New("an upload must say how many bytes it will have")
	case size > r.cfg.MaxSize:
		return view.Upload{}, fmt.Errorf("%w: %d bytes, %d at most", ErrTooLarge, size, r.cfg.MaxSize)
	}
	page, err := r.cfg.Store.Scan(ctx, prefixUpload, store.PrefixEnd(prefixUpload), 0)
	if err != nil {
		return view.Upload{}, err
	}
	promised, err := r.promised(page.Items)
	switch {
	case err != nil:
		return view.Upload{}, err
	case len(page.Items) >= r.cfg.Uploads:
		return view.Upload{}, ErrTooMany
	}
	if err := r.room(promised + size); err != nil {
		return view.Upload{}, err
	}
	u := upload{ID: rand.Text(), Name: cutName(name), Size: size, By: who.Actor, Until: time.Now().Add(r.cfg.Keep).UTC()}
	f, err := os.OpenFile(r.part(u.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return view.Upload{}, fmt.Errorf("begin an upload: %w", err)
	}
	if err := errors.Join(f.Close(), syncDir(r.incoming())); err != nil {
		return view.Upload{}, fmt.Errorf("begin an upload: %w", err)
	}
	op, err := u.op()
	if err != nil {
		return view.Upload{}, err
	}
	return u.view(0), r.commit(ctx, []store.Cond{{Key: op.Key}}, op, tell(u))
}

func cutName(name string) string {
	name = strings.ToValidUTF8(filepath.Base(name), "?")
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}

// promised is how many bytes the uploads under way may still bring.
func (r *Releases) promised(items []store.Item) (n int64, err error) {
	for _, item := range items {
		var u upload
		if err := json.Unmarshal(item.Value, &u); err != nil {
			return 0, fmt.Errorf("read the record of an upload: %w", err)
		}
		n += u.Size
		if info, err := os.Stat(r.part(u.ID)); err == nil {
			n -= info.Size()
		}
	}
	return n, nil
}

func (r *Releases) room(size int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(r.cfg.Dir, &fs); err != nil {
		return fmt.Errorf("look for room on the disk: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); uint64(size) > free { //nolint:gosec // neither is negative
		return fmt.Errorf("%w: %d bytes are needed and %d are free", ErrDiskFull, size, free)
	}
	return nil
}

func (r *Releases) part(id string) string { return filepath.Join(r.incoming(), id) }

func (u upload) view(offset int64) view.Upload {
	return view.Upload{ID: u.ID, Size: u.Size, Offset: offset, Until: u.Until}
}

func (u upload) op() (store.Op, error) {
	value, err := json.Marshal(u)
	return store.Op{Key: prefixUpload + u.ID, Value: value}, err
}

// prolong keeps an upload that somebody goes on with.
func (r *Releases) prolong(ctx context.Context, u upload, rev int64) error {
	u.Until = time.Now().Add(r.cfg.Keep).UTC()
	op, err := u.op()
	if err != nil {
		return err
	}
	_, err = r.cfg.Store.Commit(ctx, []store.Cond{{Key: op.Key, Rev: rev}}, []store.Op{op})
	if errors.Is(err, store.ErrConflict) {
		return nil // somebody else has prolonged it, or has dropped it, which the next call says
	}
	return err
}

func (r *Releases) getUpload(ctx context.Context, id string) (upload, int64, error) {
	var u upload
	if !uploadForm.MatchString(id) {
		return u, 0, ErrNoUpload
	}
	item, err := r.cfg.Store.Get(ctx, prefixUpload+id)
	if errors.Is(err, store.ErrNotFound) {
		return u, 0, ErrNoUpload
	}
	if err != nil {
		return u, 0, err
	}
	if err := json.Unmarshal(item.Value, &u); err != nil {
		return u, 0, fmt.Errorf("read the record of upload %s: %w", id, err)
	}
	if time.Now().After(u.Until) {
		return u, 0, ErrNoUpload
	}
	return u, item.Rev, nil
}

// Upload says how far an upload is.
func (r *Releases) Upload(ctx context.Context, id string) (view.Upload, error) {
	u, _, err := r.getUpload(ctx, id)
	if err != nil {
		return view.Upload{}, err
	}
	info, err := os.Stat(r.part(id))
	if missing(err) {
		return u.view(0), nil
	}
	if err != nil {
		return view.Upload{}, err
	}
	return u.view(info.Size()), nil
}

// Append adds bytes at the offset that the upload has reached. What has arrived before an error is
// kept: the upload says where to go on.
func (r *Releases) Append(ctx context.Context, id string, offset int64, body io.Reader) (view.Upload, error) {
	u, rev, err := r.getUpload(ctx, id)
	if err != nil {
		return view.Upload{}, err
	}
	f, size, err := r.lock(id)
	if err != nil {
		return view.Upload{}, err
	}
	defer f.Close()
	if size != offset {
		return u.view(size), fmt.Errorf("%w: at byte %d, not %d", ErrOffset, size, offset)
	}
	n, err := io.Copy(io.NewOffsetWriter(f, size), io.LimitReader(body, u.Size-size+1))
	if size += n; size > u.Size {
		return u.view(offset), errors.Join(fmt.Errorf("%w: it was to have %d bytes", ErrTooLarge, u.Size), f.Truncate(offset))
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		return u.view(size), appendError(err)
	}
	return u.view(size), r.prolong(ctx, u, rev)
}

func appendError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return ErrDiskFull
	}
	return fmt.Errorf("receive the upload: %w", err)
}

// lock opens an upload's file for one at a time.
func (r *Releases) lock(id string) (f *os.File, size int64, err error) {
	if f, err = os.OpenFile(r.part(id), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, 0, fmt.Errorf("open an upload: %w", err)
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, 0, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Drop forgets an upload that somebody wants no more.
func (r *Releases) Drop(ctx context.Context, who audit.Who, id string) error {
	u, _, err := r.getUpload(ctx, id)
	if err != nil {
		return err
	}
	line := who.Line("upload.drop", "upload "+id)
	line.Detail = u.Name
	return r.drop(ctx, id, line)
}

// drop forgets an upload; without a line nobody has asked for that.
func (r *Releases) drop(ctx context.Context, id string, lines ...view.AuditLine) error {
	if err := r.commit(ctx, nil, store.Op{Key: prefixUpload + id, Delete: true}, lines); err != nil {
		return err
	}
	if err := os.Remove(r.part(id)); err != nil && !missing(err) {
		return fmt.Errorf("drop an upload: %w", err)
	}
	return nil
}

// commit changes an upload, and tells it if there is anything to tell.
func (r *Releases) commit(ctx context.Context, ifs []store.Cond, op store.Op, lines []view.AuditLine) (err error) {
	if len(lines) > 0 {
		_, err = r.cfg.Audit.Commit(ctx, ifs, []store.Op{op}, lines...)
	} else {
		_, err = r.cfg.Store.Commit(ctx, ifs, []store.Op{op})
	}
	return err
}

// Sweep drops uploads that nobody goes on with, and files that belong to none.
func (r *Releases) Sweep(ctx context.Context, now time.Time) error {
	known := map[string]bool{}
	var problems []error
	_, err := store.All(ctx, r.cfg.Store, prefixUpload, func(item store.Item) error {
		var u upload
		if err := json.Unmarshal(item.Value, &u); err != nil {
			return fmt.Errorf("read the record of an upload: %w", err)
		}
		known[u.ID] = true
		if now.After(u.Until) {
			problems = append(problems, r.drop(ctx, u.ID))
		}
		return nil
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.incoming())
	if err != nil {
		return err
	}
	for _, e := range entries {
		// A file is made before its record: one that is young may get one yet.
		info, err := e.Info()
		if err != nil || known[e.Name()] || !uploadForm.MatchString(e.Name()) || now.Sub(info.ModTime()) < r.cfg.Keep {
			continue
		}
		problems = append(problems, os.Remove(r.part(e.Name())))
	}
	return errors.Join(problems...)
}

// Run sweeps each hour until ctx ends.
func (r *Releases) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := r.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("old uploads stay", "cause", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

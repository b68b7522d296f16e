package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/verify"
)

const prefix = "rel/"

// Errors that callers tell apart. One with a [verify.Code] is the refusal of a package.
var (
	ErrUnknown   = error(unknown{}) // is a store.ErrNotFound
	ErrWithdrawn = errors.New("this release was withdrawn")
	ErrNoUpload  = errors.New("there is no such upload: it was finished, dropped, or nobody went on with it for too long")
	ErrOffset    = errors.New("the upload goes on elsewhere")
	ErrBusy      = errors.New("somebody is at this upload just now")
	ErrTooMany   = errors.New("too many uploads are under way; finish or drop one, or try later")
	ErrTooLarge  = errors.New("the package is too large")
	ErrNotWhole  = errors.New("the upload is not whole yet")
	ErrDiskFull  = errors.New("the panel's disk has no room for it")
)

type unknown struct{}

func (unknown) Error() string { return "the panel has no such release" }

// Is lets callers who know nothing of releases take it as they take other absences.
func (unknown) Is(target error) bool { return target == store.ErrNotFound }

// MaxSize bounds a package: one image of 4 GiB, its chunk index and its head.
const MaxSize = 4<<30 + 16<<20

// Config is what releases are kept with.
type Config struct {
	Store store.Store
	Audit *audit.Log
	Dir   string // of the files, made if missing
	// Trust, if set, returns whose signature a package must have. Without one packages
	// are listed as not verified: devices judge for themselves.
	Trust func() *verify.Trust
	// Keep is how long an upload is kept that nobody goes on with; 0: a day.
	Keep    time.Duration
	MaxSize int64 // 0: [MaxSize]
	Uploads int   // under way at a time; 0: 16
	Log     *slog.Logger
}

// Releases is safe for concurrent use, also by several panels on one store and directory.
type Releases struct {
	cfg Config
}

// Open makes the directory if it is missing.
func Open(cfg Config) (*Releases, error) {
	if cfg.Keep == 0 {
		cfg.Keep = 24 * time.Hour
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = MaxSize
	}
	if cfg.Uploads == 0 {
		cfg.Uploads = 16
	}
	r := &Releases{cfg}
	if err := os.MkdirAll(r.incoming(), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of releases: %w", err)
	}
	return r, nil
}

// Verifies tells whether packages are judged by somebody's keys.
func (r *Releases) Verifies() bool { return r.cfg.Trust != nil && r.cfg.Trust() != nil }

func (r *Releases) incoming() string { return filepath.Join(r.cfg.Dir, "incoming") }

func (r *Releases) path(id string) string { return filepath.Join(r.cfg.Dir, id+".slip") }

// idForm is that of releases' ids.
var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// record is what the store holds of a release.
type record struct {
	view.Release

	SHA256 string `json:"sha256"` // of the whole file
}

func (r *Releases) get(ctx context.Context, id string) (record, int64, error) {
	var rec record
	if !idForm.MatchString(id) {
		return rec, 0, ErrUnknown
	}
	item, err := r.cfg.Store.Get(ctx, prefix+id)
	if errors.Is(err, store.ErrNotFound) {
		return rec, 0, ErrUnknown
	}
	if err != nil {
		return rec, 0, err
	}
	if err := json.Unmarshal(item.Value, &rec); err != nil {
		return rec, 0, fmt.Errorf("read the record of release %s: %w", id, err)
	}
	return rec, item.Rev, nil
}

// Get returns a release, also one that was withdrawn.
func (r *Releases) Get(ctx context.Context, id string) (view.Release, error) {
	rec, _, err := r.get(ctx, id)
	return rec.Release, err
}

// List returns all releases, the newest upload first.
func (r *Releases) List(ctx context.Context) ([]view.Release, error) {
	list := []view.Release{}
	_, err := store.All(ctx, r.cfg.Store, prefix, func(item store.Item) error {
		var rec record
		if err := json.Unmarshal(item.Value, &rec); err != nil {
			return fmt.Errorf("read the record of release %s: %w", strings.TrimPrefix(item.Key, prefix), err)
		}
		list = append(list, rec.Release)
		return nil
	})
	slices.SortFunc(list, func(a, b view.Release) int { return b.UploadedAt.Compare(a.UploadedAt) })
	return list, err
}

// File opens a release's package, if it is offered.
func (r *Releases) File(ctx context.Context, id string) (*os.File, view.Release, error) {
	rec, _, err := r.get(ctx, id)
	if err != nil {
		return nil, view.Release{}, err
	}
	if rec.Withdrawn {
		return nil, view.Release{}, ErrWithdrawn
	}
	f, err := os.Open(r.path(id))
	if err != nil {
		return nil, view.Release{}, fmt.Errorf("open release %s: %w", id, err)
	}
	return f, rec.Release, nil
}

// Files are the packages that a store offers, in a directory of releases. One that is missing
// there is an error.
func Files(ctx context.Context, s store.Store, dir string) (paths []string, err error) {
	r := &Releases{Config{Store: s, Dir: dir}}
	list, err := r.List(ctx)
	for _, rel := range list {
		if rel.Withdrawn {
			continue
		}
		if _, err := os.Lstat(r.path(rel.ID)); err != nil {
			return nil, fmt.Errorf("the package of %s %s: %w", rel.Product, rel.Version, err)
		}
		paths = append(paths, r.path(rel.ID))
	}
	return paths, err
}

// Serve answers a request with a release's package or a range of it. An error is returned before
// anything was answered.
func (r *Releases) Serve(w http.ResponseWriter, req *http.Request, id string) error {
	f, rec, err := r.File(req.Context(), id)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+rec.ID+`"`)
	http.ServeContent(w, req, "", rec.UploadedAt, f)
	return nil
}

// Withdraw takes a release out of what is offered. Doing it again changes nothing.
func (r *Releases) Withdraw(ctx context.Context, who audit.Who, id string) (view.Release, error) {
	return r.change(ctx, id, func(rec *record) *view.AuditLine {
		if rec.Withdrawn {
			return nil
		}
		rec.Withdrawn, rec.WithdrawnBy = true, who.Actor
		line := who.Line("release.withdraw", "release "+id)
		line.Detail = rec.Product + " " + rec.Version
		line.Before, line.After = audit.Value("offered"), audit.Value("withdrawn")
		return &line
	})
}

// SetOrder notes the newest fleet order for a release, together with the changes that make
// it; the line tells of it. A [store.ErrConflict] is the caller's to try again.
func (r *Releases) SetOrder(ctx context.Context, id string, order view.OrderInfo, ifs []store.Cond, ops []store.Op, line view.AuditLine) (view.Release, int64, error) {
	rec, rev, err := r.get(ctx, id)
	if err != nil {
		return view.Release{}, 0, err
	}
	rec.Order = &order
	value, err := json.Marshal(rec)
	if err != nil {
		return view.Release{}, 0, err
	}
	key := prefix + id
	now, err := r.cfg.Audit.Commit(ctx, append(ifs, store.Cond{Key: key, Rev: rev}), append(ops, store.Op{Key: key, Value: value}), line)
	return rec.Release, now, err
}

// maxTries is how often others may change a record in between.
const maxTries = 20

// change writes what how makes of a record, unless that returns no line.
func (r *Releases) change(ctx context.Context, id string, how func(*record) *view.AuditLine) (view.Release, error) {
	for range maxTries {
		rec, rev, err := r.get(ctx, id)
		if err != nil {
			return view.Release{}, err
		}
		line := how(&rec)
		if line == nil {
			return rec.Release, nil
		}
		err = r.write(ctx, rec, rev, nil, *line)
		if !errors.Is(err, store.ErrConflict) {
			return rec.Release, err
		}
	}
	return view.Release{}, fmt.Errorf("release %s: %w", id, store.ErrConflict)
}

func (r *Releases) write(ctx context.Context, rec record, rev int64, more []store.Op, line view.AuditLine) error {
	value, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	key := prefix + rec.ID
	_, err = r.cfg.Audit.Commit(ctx, []store.Cond{{Key: key, Rev: rev}}, append(more, store.Op{Key: key, Value: value}), line)
	return err
}

// missing says whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

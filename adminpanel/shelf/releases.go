package shelf

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// MaxRelease bounds an uploaded package: one image of 4 GiB, its chunk index
// and its head.
const MaxRelease = 4<<30 + 16<<20

// ErrTooLarge is returned for an upload of more than [MaxRelease] bytes.
var ErrTooLarge = fmt.Errorf("the package is larger than %d bytes", int64(MaxRelease))

// Release is a package that the panel offers.
type Release struct {
	ID       string    `json:"id"`
	SHA256   string    `json:"sha256"` // of the whole file
	Size     int64     `json:"size"`
	Digest   string    `json:"digest"` // the package digest
	Product  string    `json:"product"`
	Hardware []string  `json:"hardware"`
	Version  string    `json:"version"`
	Counter  int64     `json:"counter"`
	Notes    string    `json:"notes,omitempty"`
	Verified bool      `json:"verified"`         // by the panel's own trusted keys
	Signer   string    `json:"signer,omitempty"` // the key's id, if verified
	Added    time.Time `json:"added"`
}

// Judge reads an upload that is whole on disk and describes it, or refuses it.
type Judge func(r io.ReaderAt, size int64) (Release, error)

// AddRelease writes an upload to disk, has it judged, and lists it. The same
// bytes again are the release that is there already; added tells which it was.
func (s *Store) AddRelease(upload io.Reader, judge Judge, actor string) (r Release, added bool, err error) {
	f, err := os.CreateTemp(s.incoming(), "upload-")
	if err != nil {
		return Release{}, false, fmt.Errorf("store: keep an upload: %w", err)
	}
	defer os.Remove(f.Name()) // fails, as it should, once the file was renamed
	defer f.Close()
	sum, size, err := receive(f, upload)
	if err != nil {
		return Release{}, false, err
	}
	id := sum[:len(sum)/2]
	if known, err := s.Release(id); err == nil && known.SHA256 == sum {
		return known, false, nil
	}
	if r, err = judge(f, size); err != nil {
		return Release{}, false, err
	}
	r.ID, r.SHA256, r.Size, r.Added = id, sum, size, time.Now().UTC()
	if err := s.keep(f, r); err != nil {
		return Release{}, false, err
	}
	return r, true, s.list(r, actor)
}

// receive copies an upload of bounded size and returns its SHA-256 in hex.
func receive(f *os.File, upload io.Reader) (string, int64, error) {
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(upload, MaxRelease+1))
	if err != nil {
		return "", 0, fmt.Errorf("store: receive the upload: %w", err)
	}
	if size > MaxRelease {
		return "", 0, ErrTooLarge
	}
	return hex.EncodeToString(sum.Sum(nil)), size, nil
}

// keep gives the upload its name. The record comes after: a power cut between
// the two leaves a file that nobody lists and that the next upload replaces.
func (s *Store) keep(f *os.File, r Release) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("store: keep release %s: %w", r.Version, err)
	}
	if err := os.Rename(f.Name(), s.path(r.ID)); err != nil {
		return fmt.Errorf("store: keep release %s: %w", r.Version, err)
	}
	if err := syncDir(s.releases()); err != nil {
		return fmt.Errorf("store: keep release %s: %w", r.Version, err)
	}
	return nil
}

func (s *Store) list(r Release, actor string) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		if err := put(tx, releaseBucket, []byte(r.ID), r); err != nil {
			return err
		}
		return appendAudit(tx, AuditLine{
			Time: r.Added, Actor: actor, Action: "add release", Release: r.ID, Detail: r.Product + " " + r.Version,
		})
	})
	if err != nil {
		return fmt.Errorf("store: list release %s: %w", r.Version, err)
	}
	return nil
}

// Releases lists the releases, the highest release counter first.
func (s *Store) Releases() ([]Release, error) {
	list, err := all[Release](s.db, releaseBucket)
	slices.SortStableFunc(list, func(a, b Release) int {
		return cmp.Or(cmp.Compare(a.Product, b.Product), cmp.Compare(b.Counter, a.Counter), b.Added.Compare(a.Added))
	})
	return list, err
}

// Release returns one release.
func (s *Store) Release(id string) (r Release, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		text := tx.Bucket(releaseBucket).Get([]byte(id))
		if text == nil {
			return ErrNotFound
		}
		return json.Unmarshal(text, &r)
	})
	return r, err
}

var releaseForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// OpenRelease opens a release's file for reading.
func (s *Store) OpenRelease(id string) (*os.File, Release, error) {
	if !releaseForm.MatchString(id) {
		return nil, Release{}, ErrNotFound
	}
	r, err := s.Release(id)
	if err != nil {
		return nil, Release{}, err
	}
	f, err := os.Open(s.path(id))
	if err != nil {
		return nil, Release{}, fmt.Errorf("store: open release %s: %w", r.Version, err)
	}
	return f, r, nil
}

func (s *Store) path(id string) string { return filepath.Join(s.releases(), id+".slip") }

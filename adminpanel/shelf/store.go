package shelf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrNotFound is returned for a name that the store does not hold.
var ErrNotFound = errors.New("not found")

// lockTimeout is how long Open waits for another panel to let go of the data.
const lockTimeout = 2 * time.Second

var (
	deviceBucket  = []byte("device")
	releaseBucket = []byte("release")
	auditBucket   = []byte("audit")
)

// Store is safe for concurrent use.
type Store struct {
	Tokens   *Tokens
	Enrolled Enrolled

	db  *bolt.DB
	dir string
}

// Open opens the data of a panel, making what is missing. Only one panel at a
// time can have it open.
func Open(dir string) (*Store, error) {
	tokens, err := OpenTokens(dir)
	if err != nil {
		return nil, err
	}
	enrolled, err := OpenEnrolled(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{Tokens: tokens, Enrolled: enrolled, dir: dir}
	for _, sub := range []string{s.releases(), s.incoming()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("store: make the panel's data: %w", err)
		}
	}
	s.db, err = bolt.Open(filepath.Join(dir, "panel.db"), 0o600, &bolt.Options{Timeout: lockTimeout})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("store: another panel is running on %s", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open the panel's data: %w", err)
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

func (s *Store) prepare() error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{deviceBucket, releaseBucket, auditBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store: prepare the panel's data: %w", err)
	}
	return s.clearIncoming()
}

// clearIncoming drops uploads that an earlier panel did not finish.
func (s *Store) clearIncoming() error {
	left, err := filepath.Glob(filepath.Join(s.incoming(), "*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("store: clear unfinished uploads: %w", err)
		}
	}
	return nil
}

// Close lets another panel open the data.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) releases() string { return filepath.Join(s.dir, "releases") }
func (s *Store) incoming() string { return filepath.Join(s.dir, "incoming") }

// deviceForm is narrow because the name is also a file's and a part of URLs.
var deviceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

const maxDevice = 64

// CheckDevice refuses what cannot be the name of a device.
func CheckDevice(id string) error {
	if len(id) > maxDevice || !deviceForm.MatchString(id) {
		return fmt.Errorf("%q cannot name a device: letters, digits, . _ and - are allowed, at most %d of them", id, maxDevice)
	}
	return nil
}

func put(tx *bolt.Tx, bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put(key, text)
}

// all decodes a whole bucket in the order of its keys.
func all[T any](db *bolt.DB, bucket []byte) ([]T, error) {
	var list []T
	err := db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(key, text []byte) error {
			var v T
			if err := json.Unmarshal(text, &v); err != nil {
				return fmt.Errorf("store: read %s %q: %w", bucket, key, err)
			}
			list = append(list, v)
			return nil
		})
	})
	return list, err
}

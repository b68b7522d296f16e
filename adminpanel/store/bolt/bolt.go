package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"slipstream/adminpanel/store"
)

var (
	bucketData = []byte("data") // key: revision of its last change, 8 bytes, and the value
	bucketMeta = []byte("meta")
	keyRev     = []byte("revision")
)

const (
	openTimeout = 2 * time.Second
	maxBatch    = 256 // commits in one transaction
	fileMode    = 0o600
)

// Store implements [store.Store].
type Store struct {
	db    *bbolt.DB
	queue chan *commit
	ring  *ring
	leads leads

	ctx  context.Context // ends with the store
	end  context.CancelFunc
	work sync.WaitGroup
}

type commit struct {
	ifs  []store.Cond
	ops  []store.Op
	rev  int64
	err  error
	done chan struct{}
}

// InUseError means that another process has the file open.
type InUseError struct{ Path string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("another panel has %s open: stop it first, or give this one a data directory of its own", e.Path)
}

// Open opens or makes the file. Only one process can have it open.
func Open(path string) (*Store, error) {
	db, err := bbolt.Open(path, fileMode, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, &InUseError{path}
	}
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	s := &Store{db: db, queue: make(chan *commit, maxBatch)}
	rev, err := s.prepare()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the store %s: %w", path, err), db.Close())
	}
	s.ring = newRing(rev)
	s.leads.held = map[string]chan struct{}{}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.work.Go(s.commits)
	return s, nil
}

func (s *Store) prepare() (rev int64, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketData); err != nil {
			return err
		}
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		rev = revisionOf(meta.Get(keyRev))
		return nil
	})
	return rev, err
}

func revisionOf(stored []byte) int64 {
	if len(stored) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(stored)) //nolint:gosec // it was an int64
}

func withRevision(rev int64, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(rev)), value...) //nolint:gosec // not negative
}

// Close waits for commits that are under way.
func (s *Store) Close() error {
	s.end()
	s.work.Wait()
	return s.db.Close()
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (store.Item, error) {
	if err := s.usable(ctx); err != nil {
		return store.Item{}, err
	}
	var item store.Item
	err := s.db.View(func(tx *bbolt.Tx) error {
		stored := tx.Bucket(bucketData).Get([]byte(key))
		if stored == nil {
			return fmt.Errorf("%w: %s", store.ErrNotFound, key)
		}
		item = itemOf([]byte(key), stored)
		return nil
	})
	return item, err
}

// itemOf copies: bbolt's slices live as long as the transaction.
func itemOf(key, stored []byte) store.Item {
	return store.Item{Key: string(key), Rev: revisionOf(stored), Value: bytes.Clone(stored[8:])}
}

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, from, to string, limit int) (store.Page, error) {
	if err := s.usable(ctx); err != nil {
		return store.Page{}, err
	}
	if limit <= 0 || limit > store.MaxScan {
		limit = store.MaxScan
	}
	var page store.Page
	err := s.db.View(func(tx *bbolt.Tx) error {
		page.Rev = revisionOf(tx.Bucket(bucketMeta).Get(keyRev))
		c := tx.Bucket(bucketData).Cursor()
		for k, v := c.Seek([]byte(from)); k != nil && (to == "" || string(k) < to); k, v = c.Next() {
			if len(page.Items) == limit {
				page.Next = string(k)
				return nil
			}
			page.Items = append(page.Items, itemOf(k, v))
		}
		return nil
	})
	return page, err
}

func (s *Store) usable(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return store.ErrClosed
	}
	return ctx.Err()
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op) (int64, error) {
	if err := store.Check(ifs, ops); err != nil {
		return 0, err
	}
	c := &commit{ifs: ifs, ops: ops, done: make(chan struct{})}
	select {
	case s.queue <- c:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.ctx.Done():
		return 0, store.ErrClosed
	}
	select {
	case <-c.done:
		return c.rev, c.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.ctx.Done():
		// The last batch may have held it still.
		s.work.Wait()
		select {
		case <-c.done:
			return c.rev, c.err
		default:
			return 0, store.ErrClosed
		}
	}
}

// commits takes what is queued to the disk, all of it that is there at a time.
func (s *Store) commits() {
	for {
		var batch []*commit
		select {
		case c := <-s.queue:
			batch = append(batch, c)
		case <-s.ctx.Done():
			return
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case c := <-s.queue:
				batch = append(batch, c)
			default:
				more = false
			}
		}
		s.flush(batch)
	}
}

func (s *Store) flush(batch []*commit) {
	var events []store.Event
	var rev int64
	err := s.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		rev = revisionOf(meta.Get(keyRev))
		before := rev
		for _, c := range batch {
			if c.err = holds(tx, c.ifs); c.err != nil {
				continue
			}
			if len(c.ops) > 0 {
				rev++
				if err := apply(tx, rev, c.ops); err != nil {
					return err
				}
				events = appendEvents(events, rev, c.ops)
			}
			c.rev = rev
		}
		if rev == before {
			return errNothing
		}
		return meta.Put(keyRev, withRevision(rev, nil))
	})
	if err != nil && !errors.Is(err, errNothing) {
		for _, c := range batch {
			c.rev, c.err = 0, fmt.Errorf("write the store: %w", err)
		}
		events = nil
	}
	s.ring.add(events, rev)
	for _, c := range batch {
		close(c.done)
	}
}

// errNothing keeps a transaction without changes from being flushed.
var errNothing = errors.New("nothing to write")

func holds(tx *bbolt.Tx, ifs []store.Cond) error {
	data := tx.Bucket(bucketData)
	for _, c := range ifs {
		if revisionOf(data.Get([]byte(c.Key))) != c.Rev {
			return fmt.Errorf("%w: %s", store.ErrConflict, c.Key)
		}
	}
	return nil
}

func apply(tx *bbolt.Tx, rev int64, ops []store.Op) error {
	data := tx.Bucket(bucketData)
	for _, op := range ops {
		var err error
		if op.Delete {
			err = data.Delete([]byte(op.Key))
		} else {
			err = data.Put([]byte(op.Key), withRevision(rev, op.Value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func appendEvents(events []store.Event, rev int64, ops []store.Op) []store.Event {
	for _, op := range ops {
		e := store.Event{Key: op.Key, Rev: rev, Deleted: op.Delete}
		if !op.Delete {
			e.Value = bytes.Clone(op.Value)
		}
		events = append(events, e)
	}
	return events
}

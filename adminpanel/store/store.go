package store

import (
	"context"
	"errors"
	"fmt"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("there is no such key")
	ErrConflict = errors.New("something has changed meanwhile")
	ErrTooLarge = errors.New("too large for the store")
	ErrClosed   = errors.New("the store is closed")
)

// Limits. They are those of the stricter of the implementations, and hold for all.
const (
	MaxOps   = 100     // in one commit, and as many conditions
	MaxKey   = 512     // bytes
	MaxValue = 1 << 20 // bytes, and of a commit in all
	MaxScan  = 5000    // items in one page
)

// Store is safe for concurrent use. All methods give up when their context ends; of a
// commit it is then not known whether it happened.
type Store interface {
	// Get returns a key's value, or [ErrNotFound].
	Get(ctx context.Context, key string) (Item, error)
	// Scan returns items with from <= key < to in the order of their bytes, as they are
	// at one revision; to "" is the end. A limit of 0 is [MaxScan].
	Scan(ctx context.Context, from, to string, limit int) (Page, error)
	// Commit makes all changes if all conditions hold, else returns [ErrConflict].
	// Without changes it only looks.
	Commit(ctx context.Context, ifs []Cond, ops []Op) (rev int64, err error)
	// Watch sends each change after a revision to keys with a prefix. The channel is
	// closed when ctx ends, and when changes were missed: then scan again.
	Watch(ctx context.Context, prefix string, after int64) (<-chan Event, error)
	// Lead waits until the caller leads under a name.
	Lead(ctx context.Context, name string) (Term, error)
	// Close ends everything that was begun by the store's methods.
	Close() error
}

// Item is a key and its value.
type Item struct {
	Key   string
	Value []byte
	Rev   int64 // of its last change
}

// Page is part of a scan.
type Page struct {
	Items []Item
	Next  string // where to go on; "" when there is no more
	Rev   int64  // at which all of it was so
}

// Cond holds if the key's revision is this one; 0: if there is no such key.
type Cond struct {
	Key string
	Rev int64
}

// Op sets a key or deletes it. A key may be in a commit once.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Event is a change.
type Event struct {
	Key     string
	Value   []byte
	Rev     int64
	Deleted bool
}

// Term is the time of a leader.
type Term interface {
	// Cond goes into every commit that only the leader may make.
	Cond() Cond
	// Lost is closed when the term has ended, sooner or later after it has.
	Lost() <-chan struct{}
	// Resign ends it.
	Resign(ctx context.Context) error
}

// Check refuses a commit that is outside of the limits. Implementations call it.
func Check(ifs []Cond, ops []Op) error {
	if len(ops) > MaxOps || len(ifs) > MaxOps {
		return fmt.Errorf("%w: %d changes and %d conditions in a commit, %d at most", ErrTooLarge, len(ops), len(ifs), MaxOps)
	}
	size := 0
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if err := CheckKey(op.Key); err != nil {
			return err
		}
		if seen[op.Key] {
			return fmt.Errorf("key %q is twice in a commit", op.Key)
		}
		seen[op.Key] = true
		size += len(op.Key) + len(op.Value)
	}
	if size > MaxValue {
		return fmt.Errorf("%w: a commit of %d bytes, %d at most", ErrTooLarge, size, MaxValue)
	}
	for _, c := range ifs {
		if err := CheckKey(c.Key); err != nil {
			return err
		}
	}
	return nil
}

// CheckKey refuses keys that are empty or too long.
func CheckKey(key string) error {
	switch {
	case key == "":
		return errors.New("a key is empty")
	case len(key) > MaxKey:
		return fmt.Errorf("%w: a key of %d bytes, %d at most", ErrTooLarge, len(key), MaxKey)
	}
	return nil
}

// PrefixEnd is the first key after all that have a prefix: the end of their scan.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// All scans everything with a prefix, page by page. The revision is that of the first
// page: a watch after it misses nothing, and may tell again what later pages held.
func All(ctx context.Context, s Store, prefix string, each func(Item) error) (rev int64, err error) {
	from, end := prefix, PrefixEnd(prefix)
	for first := true; first || from != ""; first = false {
		page, err := s.Scan(ctx, from, end, 0)
		if err != nil {
			return 0, err
		}
		if first {
			rev = page.Rev
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return 0, err
			}
		}
		from = page.Next
	}
	return rev, nil
}

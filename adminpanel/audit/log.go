package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

const (
	prefix  = "a/"
	keyHead = "meta/audit"
	// maxTries is how often other panels may be faster in one commit.
	maxTries = 50
)

// MaxOps is how many changes may go with one line: the line and the head take their place.
const MaxOps = store.MaxOps - 2

// Head is the end of the chain: its last line's number and hash.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Log appends to the chain in a store. It is safe for concurrent use, also by several
// panels.
type Log struct {
	store store.Store
	now   func() time.Time

	mu   sync.Mutex // one commit of this panel at a time: two would be in each other's way
	head Head
	rev  int64 // of the head's key
	read bool  // head and rev were read
}

// New makes a log; nothing is read yet.
func New(s store.Store) *Log { return &Log{store: s, now: time.Now} }

// Entry is what goes into a commit so that lines are appended by it.
type Entry struct {
	Conds []store.Cond
	Ops   []store.Op
	head  Head
}

// Commit makes changes and appends the lines that tell of them, both or neither. It tries
// again when another panel has appended meanwhile; [store.ErrConflict] means that one of
// the caller's conditions does not hold. A line's Seq and Hash are made here, and At if it is zero.
func (l *Log) Commit(ctx context.Context, ifs []store.Cond, ops []store.Op, lines ...view.AuditLine) (rev int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range maxTries {
		if err := l.load(ctx); err != nil {
			return 0, err
		}
		e, err := l.entry(lines)
		if err != nil {
			return 0, err
		}
		rev, err = l.store.Commit(ctx, append(e.Conds, ifs...), append(e.Ops, ops...))
		if err == nil {
			l.head, l.rev = e.head, rev
			return rev, nil
		}
		before := l.rev
		l.read = false // whether it happened is not known
		if !errors.Is(err, store.ErrConflict) {
			return 0, err
		}
		if err := l.load(ctx); err != nil {
			return 0, err
		}
		if l.rev == before && len(ifs) > 0 {
			return 0, err // it was not the chain that has changed
		}
	}
	return 0, fmt.Errorf("append to the audit log: %w: other panels were faster %d times", store.ErrConflict, maxTries)
}

// Append adds lines that tell of no change in the store.
func (l *Log) Append(ctx context.Context, lines ...view.AuditLine) error {
	_, err := l.Commit(ctx, nil, nil, lines...)
	return err
}

// Compose returns what appends lines, for a caller who makes the commit itself. On a
// conflict it composes anew.
func (l *Log) Compose(ctx context.Context, lines ...view.AuditLine) (Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read = false
	if err := l.load(ctx); err != nil {
		return Entry{}, err
	}
	l.read = false
	return l.entry(lines)
}

// Head reads the end of the chain; its Seq is 0 when there is no line.
func (l *Log) Head(ctx context.Context) (Head, error) {
	h, _, err := readHead(ctx, l.store)
	return h, err
}

func (l *Log) load(ctx context.Context) (err error) {
	if l.read {
		return nil
	}
	l.head, l.rev, err = readHead(ctx, l.store)
	l.read = err == nil
	return err
}

func readHead(ctx context.Context, s store.Store) (Head, int64, error) {
	item, err := s.Get(ctx, keyHead)
	if errors.Is(err, store.ErrNotFound) {
		return Head{Hash: first}, 0, nil
	}
	if err != nil {
		return Head{}, 0, fmt.Errorf("read the audit log's end: %w", err)
	}
	var h Head
	if err := json.Unmarshal(item.Value, &h); err != nil || h.Seq < 1 || len(h.Hash) != hashLen {
		return Head{}, 0, fmt.Errorf("%w: %s does not say where it ends", ErrBroken, keyHead)
	}
	return h, item.Rev, nil
}

// entry needs the lock.
func (l *Log) entry(lines []view.AuditLine) (Entry, error) {
	e := Entry{Conds: []store.Cond{{Key: keyHead, Rev: l.rev}}, head: l.head}
	for _, line := range lines {
		if line.At.IsZero() {
			line.At = l.now()
		}
		line.Seq = e.head.Seq + 1
		text, hash, err := encode(line, e.head.Hash)
		if err != nil {
			return Entry{}, err
		}
		e.head = Head{Seq: line.Seq, Hash: hash}
		e.Conds = append(e.Conds, store.Cond{Key: key(line.Seq)})
		e.Ops = append(e.Ops, store.Op{Key: key(line.Seq), Value: text})
	}
	text, err := json.Marshal(e.head)
	if err != nil {
		return Entry{}, err
	}
	e.Ops = append(e.Ops, store.Op{Key: keyHead, Value: text})
	return e, nil
}

func key(seq int64) string { return fmt.Sprintf("%s%020d", prefix, seq) }

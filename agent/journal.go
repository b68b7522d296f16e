package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"slipstream/agent/control"
)

// maxHistory bounds the past updates that are kept.
const maxHistory = 1000

var (
	stateBucket   = []byte("state")
	historyBucket = []byte("history")
	stateKey      = []byte("state")
)

// journal is what survives of the agent besides the active record: intents,
// counters and history. It may be lost at any moment without changing what is
// permanent.
type journal struct {
	db   *bbolt.DB
	last []byte // the state as it is on disk

	mu   sync.Mutex
	owed []control.Record // of the history, oldest first, for which the disk had no room yet
}

// openJournal opens dir/journal.db and returns the state in it. A broken one is
// moved aside and started anew, because a camera that does not start is worse
// than one without its history; fresh says that there was none or that it is lost.
func openJournal(dir string, log *slog.Logger) (j *journal, s State, fresh bool, err error) {
	path := filepath.Join(dir, "journal.db")
	j, s, err = loadJournal(path)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, s, false, errors.New("another agent uses the state directory")
	}
	if err != nil {
		log.Error("journal lost; it is kept aside and started anew", "reason", err)
		if err := os.Rename(path, path+".broken"); err != nil {
			return nil, s, false, fmt.Errorf("move the broken journal aside: %w", err)
		}
		if j, s, err = loadJournal(path); err != nil {
			return nil, s, false, err
		}
	}
	if err := syncDir(dir); err != nil {
		j.close()
		return nil, s, false, err
	}
	return j, s, j.last == nil, nil
}

// loadJournal reads all of it first: bbolt panics when it meets a broken page,
// and a file cut short is a fault of memory.
func loadJournal(path string) (j *journal, s State, err error) {
	var db *bbolt.DB
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("open journal: %v", r)
		}
		if err != nil && db != nil {
			db.Close()
		}
	}()
	if db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second}); err != nil {
		return nil, s, fmt.Errorf("open journal: %w", err)
	}
	j = &journal{db: db}
	if err = db.View(checkJournal); err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			var err error
			s, err = j.prepare(tx)
			return err
		})
	}
	if err != nil {
		return nil, s, fmt.Errorf("read journal: %w", err)
	}
	return j, s, nil
}

// checkJournal touches every page, and then lets bbolt judge them.
func checkJournal(tx *bbolt.Tx) error {
	err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(_, v []byte) error {
			if v != nil && !json.Valid(v) {
				return errors.New("an entry is not JSON")
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for broken := range tx.Check() { // to the end, or its goroutine would stay
		if err == nil {
			err = broken
		}
	}
	return err
}

// prepare makes the buckets and reads the state.
func (j *journal) prepare(tx *bbolt.Tx) (s State, err error) {
	state, err := tx.CreateBucketIfNotExists(stateBucket)
	if err != nil {
		return s, err
	}
	if _, err = tx.CreateBucketIfNotExists(historyBucket); err != nil {
		return s, err
	}
	if raw := state.Get(stateKey); raw != nil {
		j.last = bytes.Clone(raw)
		err = json.Unmarshal(raw, &s)
	}
	return s, err
}

// commit writes the state and new lines of the history in one transaction. It
// writes nothing when nothing of it has changed: a watchdog's pings must not
// wear out the flash. Lines that it could not write it writes the next time.
func (j *journal) commit(s State, news []control.Record) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.owed = append(j.owed, news...)
	j.owed = j.owed[max(0, len(j.owed)-maxHistory):]
	if bytes.Equal(raw, j.last) && len(j.owed) == 0 {
		return nil
	}
	err = j.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(stateBucket).Put(stateKey, raw); err != nil {
			return err
		}
		for _, r := range j.owed {
			if err := appendHistory(tx.Bucket(historyBucket), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.last, j.owed = raw, nil
	return nil
}

func appendHistory(b *bbolt.Bucket, r control.Record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	if err := b.Put(historyKey(n), raw); err != nil {
		return err
	}
	if n <= maxHistory {
		return nil
	}
	return b.Delete(historyKey(n - maxHistory))
}

func historyKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// history returns at most most past updates, newest first.
func (j *journal) history(most int) ([]control.Record, error) {
	out, tx, err := j.look()
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	out = out[:min(len(out), most)]
	c := tx.Bucket(historyBucket).Cursor()
	for k, raw := c.Last(); k != nil && len(out) < most; k, raw = c.Prev() {
		var r control.Record
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

// look returns the lines that are not on the disk yet, newest first, and what is there, at
// one moment.
func (j *journal) look() (owed []control.Record, tx *bbolt.Tx, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owed = slices.Clone(j.owed)
	slices.Reverse(owed)
	tx, err = j.db.Begin(false)
	return owed, tx, err
}

func (j *journal) close() error { return j.db.Close() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/schema"
)

const (
	format = "slipstream-panel-backup"
	// version 1 has no files.
	version = 2
	keyMark = "meta/backup"
	// tries is how often a backup begins anew because changes came faster than they were
	// written down.
	tries = 5
	// maxChanges bounds what is remembered of changes during the scan.
	maxChanges = 200_000
)

// skipped are not worth keeping, and schema's mark must not be.
var skipped = []string{"lead/", "hub/", "far/", "s/", "up/", keyMark, schema.KeyRestoring}

func skip(key string) bool {
	for _, prefix := range skipped {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

type header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Schema  int       `json:"schema"`
	At      time.Time `json:"at"`
}

// line is a key, a deletion, a piece of a file, or the end.
type line struct {
	Key     string `json:"key,omitempty"`
	File    string `json:"file,omitempty"`
	Value   []byte `json:"value,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`

	End    bool   `json:"end,omitempty"`
	Lines  int64  `json:"lines,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Info is what a backup holds.
type Info struct {
	Schema int
	At     time.Time
	Lines  int64 // keys, and changes during the scan
	Files  int64 // beside the store
	SHA256 string

	parts int64 // lines of files
}

var errFell = errors.New("changes came faster than they could be read")

// ToFile writes a backup, which appears under its name when it is whole. A file that is
// there is not replaced.
func ToFile(ctx context.Context, s store.Store, files Files, path string) (Info, error) {
	return appear(path, func(f *os.File) (Info, error) { return writeAnew(ctx, s, files, f) })
}

// Receive is [ToFile] of a backup that comes from elsewhere, and that is checked whole.
func Receive(path string, fetch func(io.Writer) error) (Info, error) {
	return appear(path, func(f *os.File) (Info, error) {
		if err := fetch(f); err != nil {
			return Info{}, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return Info{}, err
		}
		return Check(f)
	})
}

// Spool writes a backup into a file without a name below a directory, to be read from its
// beginning by somebody who may be slow: the store does not wait for them. The file is gone
// when it is closed.
func Spool(ctx context.Context, s store.Store, files Files, dir string) (*os.File, Info, error) {
	f, err := os.CreateTemp(dir, ".backup-*") // with mode 0600
	if err != nil {
		return nil, Info{}, fmt.Errorf("write a backup: %w", err)
	}
	err = os.Remove(f.Name())
	var info Info
	if err == nil {
		info, err = writeAnew(ctx, s, files, f)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, Info{}, fmt.Errorf("write a backup: %w", errors.Join(err, f.Close()))
	}
	return f, info, nil
}

// appear has a file made that has its name when it is whole and on the disk.
func appear(path string, write func(*os.File) (Info, error)) (Info, error) {
	if _, err := os.Lstat(path); err == nil {
		return Info{}, fmt.Errorf("%s is there already: choose another name", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // with mode 0600
	if err != nil {
		return Info{}, fmt.Errorf("write a backup: %w", err)
	}
	defer os.Remove(f.Name()) // the name that it has until then
	info, err := write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Info{}, fmt.Errorf("write a backup: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it replaces nothing
		return Info{}, fmt.Errorf("write a backup: %w", err)
	}
	return info, syncDir(filepath.Dir(path))
}

// writeAnew is [Write] into a file, and again from its beginning as long as changes were
// faster.
func writeAnew(ctx context.Context, s store.Store, files Files, f *os.File) (info Info, err error) {
	for range tries {
		if info, err = Write(ctx, s, files, f); !errors.Is(err, errFell) {
			return info, err
		}
		if _, again := f.Seek(0, io.SeekStart); again != nil {
			return info, errors.Join(again, err)
		}
		if again := f.Truncate(0); again != nil {
			return info, errors.Join(again, err)
		}
	}
	return info, err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Write writes a backup of a store that others may be changing, and of the files beside it;
// files nil are none.
func Write(ctx context.Context, s store.Store, files Files, w io.Writer) (Info, error) {
	if _, err := s.Get(ctx, schema.KeyRestoring); !errors.Is(err, store.ErrNotFound) {
		return Info{}, errors.Join(schema.ErrRestoring, err)
	}
	state, _, err := schema.Read(ctx, s)
	if err != nil {
		return Info{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began, err := s.Scan(ctx, "", "", 1)
	if err != nil {
		return Info{}, err
	}
	events, err := s.Watch(ctx, "", began.Rev)
	if err != nil {
		return Info{}, err
	}
	changes := gather(events)
	out := newWriter(w)
	info := Info{Schema: state.Version, At: time.Now().UTC()}
	out.put(header{format, version, info.Schema, info.At})
	if _, err := store.All(ctx, s, "", func(item store.Item) error { out.change(item.Key, item.Value, false); return out.err }); err != nil {
		return Info{}, err
	}
	mark, err := s.Commit(ctx, nil, []store.Op{{Key: keyMark, Value: []byte(info.At.Format(time.RFC3339))}})
	if err != nil {
		return Info{}, err
	}
	meanwhile, err := changes.until(ctx, mark)
	if err != nil {
		return Info{}, err
	}
	for _, e := range meanwhile {
		out.change(e.Key, e.Value, e.Deleted)
	}
	if err := out.besides(ctx, files); err != nil {
		return Info{}, err
	}
	info.Lines, info.Files, info.parts, info.SHA256 = out.lines, out.files, out.parts, out.end()
	return info, out.flush()
}

// gatherer remembers changes until somebody asks for them.
type gatherer struct {
	events []store.Event
	asked  chan int64 // revision after which none is wanted
	done   chan error
}

func gather(events <-chan store.Event) *gatherer {
	g := &gatherer{asked: make(chan int64, 1), done: make(chan error, 1)}
	go func() { g.done <- g.run(events) }()
	return g
}

func (g *gatherer) run(events <-chan store.Event) error {
	last := int64(-1)
	for {
		if n := len(g.events); last >= 0 && n > 0 && g.events[n-1].Rev >= last {
			return nil
		}
		select {
		case e, ok := <-events:
			if !ok || len(g.events) == maxChanges {
				return errFell
			}
			g.events = append(g.events, e)
		case last = <-g.asked:
		}
	}
}

// until returns the changes up to a revision, which is that of one of them.
func (g *gatherer) until(ctx context.Context, rev int64) ([]store.Event, error) {
	g.asked <- rev
	if err := <-g.done; err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	n := len(g.events)
	for n > 0 && g.events[n-1].Rev > rev {
		n--
	}
	return g.events[:n], nil
}

// writer counts and hashes lines.
type writer struct {
	to    *bufio.Writer
	sum   hash.Hash
	lines int64
	files int64
	parts int64
	err   error
}

func newWriter(w io.Writer) *writer { return &writer{to: bufio.NewWriter(w), sum: sha256.New()} }

func (w *writer) put(v any) {
	text, err := json.Marshal(v)
	if err == nil && w.err == nil {
		text = append(text, '\n')
		w.sum.Write(text)
		_, err = w.to.Write(text)
	}
	w.err = errors.Join(w.err, err)
}

func (w *writer) change(key string, value []byte, deleted bool) {
	if skip(key) {
		return
	}
	if deleted {
		value = nil
	}
	w.put(line{Key: key, Value: value, Deleted: deleted})
	w.lines++
}

func (w *writer) end() string {
	sum := hex.EncodeToString(w.sum.Sum(nil))
	w.put(line{End: true, Lines: w.lines + w.parts, SHA256: sum})
	return sum
}

func (w *writer) flush() error { return errors.Join(w.err, w.to.Flush()) }

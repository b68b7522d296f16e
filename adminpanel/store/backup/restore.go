package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/schema"
)

// Errors that callers tell apart.
var (
	ErrDamaged  = errors.New("this is no whole backup of a panel")
	ErrNotEmpty = errors.New("the store is not empty: a backup is restored into a new one only")
)

const (
	maxLine = 2 << 20 // a value of the store in base64, and its key
	// batchOps and batchSize keep a commit within the store's limits.
	batchOps  = store.MaxOps
	batchSize = store.MaxValue
)

// Check reads a whole backup and says what it holds, or that it is damaged.
func Check(r io.Reader) (Info, error) { return read(r, func(line) error { return nil }) }

// Restore fills an empty store from a file, which is checked whole before, and puts the files of
// the backup where they belong. No panel may be at work on the store.
func Restore(ctx context.Context, s store.Store, place Place, path string) (_ Info, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, fmt.Errorf("restore a backup: %w", err)
	}
	defer f.Close()
	files := placer{place: place}
	info, err := read(f, func(l line) error {
		if l.File == "" {
			return nil
		}
		return files.free(l.File)
	})
	if err != nil {
		return Info{}, fmt.Errorf("restore %s: %w", path, err)
	}
	if info.Schema > schema.Current {
		return Info{}, fmt.Errorf("restore %s: %w (version %d)", path, schema.ErrNewer, info.Schema)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Info{}, err
	}
	rev, err := begin(ctx, s)
	if err != nil {
		return Info{}, err
	}
	defer func() { err = errors.Join(err, files.close()) }() // of one that could not be written
	b := batch{ctx: ctx, store: s, files: &files, mark: store.Cond{Key: schema.KeyRestoring, Rev: rev}}
	again, err := read(f, b.add)
	if err == nil && again != info {
		err = fmt.Errorf("%w: it has changed while it was read", ErrDamaged)
	}
	if err == nil {
		err = errors.Join(b.flush(), files.close())
	}
	if err == nil {
		_, err = s.Commit(ctx, []store.Cond{b.mark}, []store.Op{{Key: schema.KeyRestoring, Delete: true}})
	}
	if err != nil {
		return Info{}, fmt.Errorf("restore %s: %w", path, err)
	}
	return info, nil
}

// begin marks an empty store as one that is being filled.
func begin(ctx context.Context, s store.Store) (rev int64, err error) {
	if _, err := s.Get(ctx, schema.KeyRestoring); !errors.Is(err, store.ErrNotFound) {
		return 0, errors.Join(schema.ErrRestoring, err)
	}
	page, err := s.Scan(ctx, "", "", 100)
	if err != nil {
		return 0, err
	}
	for _, item := range page.Items {
		if !strings.HasPrefix(item.Key, "lead/") {
			return 0, fmt.Errorf("%w (it has %s)", ErrNotEmpty, item.Key)
		}
	}
	return s.Commit(ctx, []store.Cond{{Key: schema.KeyRestoring}, {Key: schema.Key}}, []store.Op{{Key: schema.KeyRestoring, Value: []byte(time.Now().UTC().Format(time.RFC3339))}})
}

// batch gathers lines until a commit is full.
type batch struct {
	ctx   context.Context //nolint:containedctx // it is that of one call
	store store.Store
	mark  store.Cond
	files *placer
	ops   []store.Op
	seen  map[string]bool
	size  int
}

func (b *batch) add(l line) error {
	if l.File != "" {
		return b.files.add(l)
	}
	size := len(l.Key) + len(l.Value)
	if len(b.ops) == batchOps || b.size+size > batchSize || b.seen[l.Key] {
		if err := b.flush(); err != nil {
			return err
		}
	}
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	b.seen[l.Key] = true
	b.size += size
	b.ops = append(b.ops, store.Op{Key: l.Key, Value: l.Value, Delete: l.Deleted})
	return nil
}

func (b *batch) flush() error {
	if len(b.ops) == 0 {
		return nil
	}
	_, err := b.store.Commit(b.ctx, []store.Cond{b.mark}, b.ops)
	b.ops, b.seen, b.size = nil, nil, 0
	return err
}

// read reads a backup line by line.
func read(r io.Reader, each func(line) error) (Info, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	if !lines.Scan() {
		return Info{}, errors.Join(fmt.Errorf("%w: it is empty", ErrDamaged), lines.Err())
	}
	var h header
	if err := strict(lines.Bytes(), &h); err != nil || h.Format != format {
		return Info{}, fmt.Errorf("%w: its first line is not that of one", ErrDamaged)
	}
	if h.Version < 1 || h.Version > version {
		return Info{}, fmt.Errorf("this backup is of version %d, and this panel reads those up to %d", h.Version, version)
	}
	info := Info{Schema: h.Schema, At: h.At}
	sum := sha256.New()
	hashLine(sum, lines.Bytes())
	open := "" // the file whose pieces come
	for lines.Scan() {
		var l line
		if err := strict(lines.Bytes(), &l); err != nil {
			return info, fmt.Errorf("%w: line %d: %w", ErrDamaged, info.number(), err)
		}
		if l.End {
			info.SHA256 = hex.EncodeToString(sum.Sum(nil))
			return info, atEnd(lines, l, info)
		}
		if err := l.check(); err != nil {
			return info, fmt.Errorf("%w: line %d: %w", ErrDamaged, info.number(), err)
		}
		hashLine(sum, lines.Bytes())
		info.count(l, &open)
		if err := each(l); err != nil {
			return info, err
		}
	}
	if err := lines.Err(); err != nil {
		return info, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return info, fmt.Errorf("%w: its end is missing", ErrDamaged)
}

// number is that of the line which is read.
func (i *Info) number() int64 { return i.Lines + i.parts + 2 }

func (i *Info) count(l line, open *string) {
	switch {
	case l.File == "":
		i.Lines++
		return
	case l.File != *open:
		i.Files++
	}
	i.parts++
	*open = l.File
}

func (l line) check() error {
	if l.File != "" {
		if l.Key != "" || l.Deleted || !nameForm.MatchString(l.File) {
			return fmt.Errorf("it names the file %q", l.File)
		}
		return nil
	}
	if err := store.CheckKey(l.Key); err != nil || skip(l.Key) {
		return fmt.Errorf("it has the key %q", l.Key)
	}
	return nil
}

func atEnd(lines *bufio.Scanner, l line, info Info) error {
	switch {
	case l.Lines != info.Lines+info.parts || l.SHA256 != info.SHA256:
		return fmt.Errorf("%w: its hash is not that of what it holds", ErrDamaged)
	case lines.Scan():
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return lines.Err()
}

func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if same, err := json.Marshal(v); err != nil || !bytes.Equal(same, text) {
		return errors.New("it is not spelt as lines are")
	}
	return nil
}

func hashLine(sum hash.Hash, text []byte) {
	sum.Write(text)
	sum.Write([]byte("\n"))
}

package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
)

// ErrBroken is wrapped by all that [Verify] finds wrong.
var ErrBroken = errors.New("the audit log is broken")

// BrokenError names the first line that is not as it was written.
type BrokenError struct {
	Seq    int64
	Reason string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("%v: line %d: %s", ErrBroken, e.Seq, e.Reason)
}

// Unwrap makes it an [ErrBroken].
func (e *BrokenError) Unwrap() error { return ErrBroken }

// Query says which lines are wanted. The newest come first.
type Query struct {
	Before int64  // only lines with a smaller number; 0: from the newest on
	Object string // only lines about it; "": about all
	Limit  int    // at most so many, of at most 500
}

// maxPage and maxLook bound one answer, and what is read for it.
const (
	maxPage = 500
	maxLook = 20_000
)

// Lines returns lines, the newest first, and the number with which to ask for more: 0 if
// there are none. It may return few, and even none, although there are more.
func (l *Log) Lines(ctx context.Context, q Query) (lines []view.AuditLine, before int64, err error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, 0, err
	}
	if q.Limit <= 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	end := head.Seq + 1
	if q.Before > 0 {
		end = min(end, q.Before)
	}
	lines = []view.AuditLine{}
	for looked := int64(0); end > 1 && looked < maxLook; looked += maxPage {
		from := max(1, end-maxPage)
		page, err := l.store.Scan(ctx, key(from), key(end), maxPage)
		if err != nil {
			return nil, 0, fmt.Errorf("read the audit log: %w", err)
		}
		for _, item := range slices.Backward(page.Items) {
			line, err := decode(item.Value)
			if err != nil {
				return nil, 0, fmt.Errorf("%w: %s: %w", ErrBroken, item.Key, err)
			}
			if q.Object != "" && line.Object != q.Object {
				continue
			}
			if lines = append(lines, line); len(lines) == q.Limit {
				return lines, more(line.Seq), nil
			}
		}
		end = from
	}
	return lines, more(end), nil
}

// more is the number before which there may be lines: 0 before the first.
func more(before int64) int64 {
	if before <= 1 {
		return 0
	}
	return before
}

// Export writes the lines as they are, one each line, oldest first.
func (l *Log) Export(ctx context.Context, w io.Writer) error {
	b := bufio.NewWriter(w)
	_, err := store.All(ctx, l.store, prefix, func(item store.Item) error {
		_, err := b.Write(append(item.Value, '\n'))
		return err
	})
	if err = errors.Join(err, b.Flush()); err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	return nil
}

// chain checks line after line.
type chain struct {
	last   Head
	anchor Head // must be met, if its Seq is not 0
}

func newChain(anchor Head) *chain { return &chain{last: Head{Hash: first}, anchor: anchor} }

func (c *chain) add(text []byte) error {
	seq := c.last.Seq + 1
	line, err := decode(text)
	switch {
	case err != nil:
		return &BrokenError{seq, err.Error()}
	case line.Seq != seq:
		return &BrokenError{seq, fmt.Sprintf("in its place stands line %d", line.Seq)}
	}
	body := append(bytes.Clone(text[:len(text)-endLen]), '}')
	if hashed(c.last.Hash, body) != line.Hash {
		return &BrokenError{seq, "its hash is not that of what it says after the line before"}
	}
	if seq == c.anchor.Seq && line.Hash != c.anchor.Hash {
		return &BrokenError{seq, "it is not the line whose hash was kept elsewhere"}
	}
	c.last = Head{Seq: seq, Hash: line.Hash}
	return nil
}

func (c *chain) end() error {
	if c.last.Seq < c.anchor.Seq {
		return &BrokenError{c.last.Seq + 1, fmt.Sprintf("it is missing, with all up to line %d", c.anchor.Seq)}
	}
	return nil
}

// Verify checks the whole chain of a store and returns its end. The error is a
// [*BrokenError], or that of reading.
func Verify(ctx context.Context, s store.Store) (Head, error) { return VerifyFrom(ctx, s, Head{}) }

// VerifyFrom is [Verify] with an end that an earlier one returned: the chain must still
// go through it.
func VerifyFrom(ctx context.Context, s store.Store, anchor Head) (Head, error) {
	// The head first: the log may grow while it is read.
	head, _, err := readHead(ctx, s)
	if err != nil {
		return Head{}, err
	}
	c := newChain(anchor)
	_, err = store.All(ctx, s, prefix, func(item store.Item) error {
		if want := key(c.last.Seq + 1); item.Key != want {
			return &BrokenError{c.last.Seq + 1, fmt.Sprintf("it is missing; next comes %s", item.Key)}
		}
		if err := c.add(item.Value); err != nil {
			return err
		}
		if c.last.Seq == head.Seq && c.last.Hash != head.Hash {
			return &BrokenError{head.Seq, "it is not the last line that was written"}
		}
		return nil
	})
	if err == nil && c.last.Seq < head.Seq {
		err = &BrokenError{c.last.Seq + 1, fmt.Sprintf("it is missing, with all up to line %d", head.Seq)}
	}
	if err == nil && head.Seq == 0 && c.last.Seq > 0 {
		// Either somebody has begun the log just now, or its end was removed.
		if now, _, again := readHead(ctx, s); again != nil || now.Seq == 0 {
			err = errors.Join(again, &BrokenError{1, "nothing says where the log ends"})
		}
	}
	if err == nil {
		err = c.end()
	}
	return c.last, err
}

// VerifyExport checks what [Log.Export] has written.
func VerifyExport(r io.Reader, anchor Head) (Head, error) {
	c := newChain(anchor)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine+1)
	for lines.Scan() {
		if err := c.add(lines.Bytes()); err != nil {
			return c.last, err
		}
	}
	if err := lines.Err(); err != nil {
		return c.last, fmt.Errorf("read the exported audit log: %w", err)
	}
	return c.last, c.end()
}

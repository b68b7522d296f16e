package slots

import (
	"context"
	"errors"
	"io"
)

// reading is the image of a slot, to be read in pieces.
type reading interface {
	io.ReaderAt
	io.Closer
}

// openReading opens what a slot holds, or is going to.
func (s *Set) openReading(name, kind string) (reading, error) {
	if kind == KindTree {
		root, err := s.openTree(name)
		if err != nil {
			return nil, err
		}
		t, err := openTreeImage(root)
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		return t, nil
	}
	r, err := s.openImageReader(name)
	if err != nil {
		return nil, err
	}
	w, err := newWindow(r)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return w, nil
}

// installed is a slot whose chunks may be anywhere.
type installed struct {
	reading
	index *index
}

func (s installed) find(chunk Chunk, _ int64) (int64, bool) { return s.index.find(chunk) }

// openInUse opens the slot in use. If its index is lost, it is cut anew, which
// costs reading it once. That it cannot be read at all only costs fetching.
func (w *writing) openInUse(ctx context.Context) store {
	st, err := w.readState(w.options.InUse)
	if err != nil || st.State != StateStaged {
		return nil
	}
	r, err := w.openReading(w.options.InUse, st.Kind)
	if err != nil {
		return nil
	}
	index := w.readIndex(w.options.InUse)
	if index == nil {
		index, err = cutIndex(ctx, io.NewSectionReader(r, 0, st.Size))
	}
	if err != nil {
		r.Close()
		return nil
	}
	return installed{r, index}
}

// earlier is the target as it was found: a chunk is where it belongs, or was
// replaced by now.
type earlier struct {
	reading
	index *index // of the version before
	upTo  int64  // of an interrupted stage of this one
}

func (s earlier) find(chunk Chunk, off int64) (int64, bool) {
	return off, off+int64(chunk.Length) <= s.upTo || s.index.has(chunk, off)
}

func (w *writing) openEarlier() store {
	index := w.readIndex(w.name)
	if index == nil && w.resumed == 0 {
		return nil
	}
	r, err := w.openReading(w.name, w.content.Kind)
	if err != nil {
		return nil
	}
	return earlier{r, index, w.resumed}
}

// earlierTree is a tree being replaced. Where its chunks are depends on how much
// of it has been.
type earlierTree struct {
	guess
	index *index
	upTo  int64
}

func (s earlierTree) find(chunk Chunk, off int64) (int64, bool) {
	_, ok := s.index.find(chunk)
	return off, ok || off+int64(chunk.Length) <= s.upTo
}

func closeStore(s store) {
	if s != nil {
		s.Close()
	}
}

package slots

import (
	"io"
	"os"
	"sort"
)

// treeImage reads a directory as the image that it was made from: the headers
// are made again, the rest is in the files.
type treeImage struct {
	root    *os.Root
	entries []entry
	starts  []int64 // places of their headers
	size    int64   // without the end

	file *os.File // the one read last
	path string
}

func openTreeImage(root *os.Root) (*treeImage, error) {
	entries, err := list(root)
	t := &treeImage{root: root, entries: entries, starts: make([]int64, 0, len(entries))}
	for _, e := range entries {
		t.starts = append(t.starts, t.size)
		t.size += e.imageSize()
	}
	return t, err
}

// imageSize is what an entry takes of the image.
func (e entry) imageSize() int64 { return block + (e.size+block-1)&^(block-1) }

func (t *treeImage) ReadAt(p []byte, off int64) (int, error) {
	i := max(0, sort.Search(len(t.starts), func(i int) bool { return t.starts[i] > off })-1)
	if len(t.starts) > 0 {
		off -= t.starts[i]
	}
	return t.readFrom(i, off, p)
}

// readFrom reads from a place on that is skip bytes behind the start of an entry.
func (t *treeImage) readFrom(i int, skip int64, p []byte) (int, error) {
	read := 0
	for read < len(p) && i < len(t.entries) {
		if size := t.entries[i].imageSize(); skip >= size {
			i, skip = i+1, skip-size
			continue
		}
		n, err := t.readEntry(t.entries[i], skip, p[read:])
		if err != nil {
			return read, err
		}
		read, skip = read+n, skip+int64(n)
	}
	end := p[read:]
	if skip+int64(len(end)) > 2*block && len(end) > 0 {
		return read, io.EOF
	}
	clear(end)
	return len(p), nil
}

// readEntry reads from one part of an entry: its header, content, or padding.
func (t *treeImage) readEntry(e entry, skip int64, p []byte) (int, error) {
	if skip < block {
		header, err := e.encode()
		if err != nil {
			return 0, err
		}
		return copy(p, header[skip:]), nil
	}
	skip -= block
	if left := e.size - skip; left > 0 {
		return t.readFile(e, p[:min(left, int64(len(p)))], skip)
	}
	padding := p[:min(e.imageSize()-block-skip, int64(len(p)))]
	clear(padding)
	return len(padding), nil
}

func (t *treeImage) readFile(e entry, p []byte, off int64) (int, error) {
	if t.file == nil || t.path != e.path {
		t.release()
		f, err := t.root.Open(e.path)
		if err != nil {
			return 0, err
		}
		t.file, t.path = f, e.path
	}
	n, err := t.file.ReadAt(p, off)
	if n < len(p) {
		return n, err
	}
	return n, nil
}

func (t *treeImage) release() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

func (t *treeImage) Close() error {
	t.release()
	return t.root.Close()
}

// guess reads a tree that is being written as the image that is being read: up
// to where the extractor is, it is the new one; behind that it is what was there
// before, and that may be the same.
type guess struct {
	*treeImage
	x *extractor
}

func (g guess) ReadAt(p []byte, off int64) (int, error) {
	skip := off - g.x.start
	if g.x.now.path == "" { // the header is not read yet
		return g.readFrom(g.x.at, skip, p)
	}
	e, read := g.x.now, 0
	for read < len(p) && skip < e.imageSize() {
		n, err := g.readEntry(e, skip, p[read:])
		if err != nil {
			return read, err
		}
		read, skip = read+n, skip+int64(n)
	}
	n, err := g.readFrom(g.x.at, skip-e.imageSize(), p[read:])
	return read + n, err
}

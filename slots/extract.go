package slots

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// copyBuffer is how much of a file is in memory, in bytes.
const copyBuffer = 256 << 10

// extractor writes a tree image as files. What is right already stays as it is,
// and what is not part of the tree goes.
type extractor struct {
	in      io.Reader
	size    int64
	left    int64 // bytes of the image not read yet
	out     disk  // the slot
	dirs    map[string]bool
	folded  map[string]bool // paths without regard to case
	last    string          // path of the entry before
	entries int
	buf     []byte

	start int64 // place of the entry being read
	now   entry // that entry; without a path: its header is not read yet

	old    []entry // what was there
	at     int     // the first of them not judged yet
	read   *os.Root
	unsafe bool            // what was there may not be on storage yet
	gone   map[string]bool // directories that were there and are removed
}

func newExtractor(size int64, out disk, read *os.Root, old []entry) *extractor {
	return &extractor{
		size: size, left: size, out: out, buf: make([]byte, copyBuffer), old: old, read: read,
		dirs: map[string]bool{".": true}, folded: make(map[string]bool), gone: make(map[string]bool),
	}
}

// extract reads the image and writes its tree, every file synced.
func (x *extractor) extract() error {
	for {
		more, err := x.entry()
		if err != nil {
			return err
		}
		if !more {
			return x.removeBefore("")
		}
	}
}

// entry writes the next entry; false means that the image has ended as it must.
func (x *extractor) entry() (bool, error) {
	x.start, x.now = x.size-x.left, entry{}
	raw := make([]byte, block)
	if err := x.take(raw); err != nil {
		return false, err
	}
	if isZero(raw) {
		return false, x.end()
	}
	e, err := decodeEntry(raw)
	if err == nil {
		err = x.place(e)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrContent, err)
	}
	return true, x.create(e)
}

// place judges an entry by what came before it.
func (x *extractor) place(e entry) error {
	x.entries++
	switch {
	case x.entries > MaxEntries:
		return fmt.Errorf("more than %d files", MaxEntries)
	case e.path <= x.last:
		return fmt.Errorf("%q does not come after %q", e.path, x.last)
	case !x.dirs[path.Dir(e.path)]:
		return fmt.Errorf("%q is not in a directory of the tree", e.path)
	case x.folded[strings.ToLower(e.path)]:
		return fmt.Errorf("%q differs from another path in the case of its letters only", e.path)
	case e.size > x.left:
		return fmt.Errorf("%q has %d bytes, more than the image", e.path, e.size)
	}
	x.last = e.path
	x.folded[strings.ToLower(e.path)] = true
	return nil
}

func (x *extractor) create(e entry) error {
	if err := x.removeBefore(e.path); err != nil {
		return err
	}
	old := x.reach(e.path)
	x.now = e
	switch {
	case e.kind == tar.TypeReg:
		if err := x.createFile(e, old); err != nil {
			return fmt.Errorf("write %q: %w", e.path, err)
		}
		return nil
	case e.kind == tar.TypeDir:
		x.dirs[e.path] = true
	}
	if old == e {
		return nil
	}
	if err := x.remove(old); err != nil {
		return err
	}
	if e.kind == tar.TypeSymlink {
		return x.out.Symlink(e.link, inRoot(e.path))
	}
	return x.out.Mkdir(inRoot(e.path))
}

// createFile writes a file's content and checks that what fills its last record
// up is zero.
func (x *extractor) createFile(e, old entry) (err error) {
	f, err := x.openKeeper(e, old)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	for rest := e.size; rest > 0; {
		// What came before an error is written: it need not come again.
		n, err := x.in.Read(x.buf[:min(rest, copyBuffer)])
		if err == nil {
			err = f.write(x.buf[:n])
		}
		if err != nil {
			return err
		}
		rest, x.left = rest-int64(n), x.left-int64(n)
	}
	padding := x.buf[:-e.size&(block-1)]
	if err := x.take(padding); err != nil {
		return err
	}
	if !isZero(padding) {
		return fmt.Errorf("%w: its padding is not zero", ErrContent)
	}
	return f.finish()
}

// end expects one more zero record and then nothing.
func (x *extractor) end() error {
	raw := make([]byte, block)
	if err := x.take(raw); err != nil {
		return err
	}
	if !isZero(raw) || x.left != 0 {
		return fmt.Errorf("%w: something follows its end", ErrContent)
	}
	return nil
}

func (x *extractor) take(p []byte) error {
	if int64(len(p)) > x.left {
		return fmt.Errorf("%w: it ends in the middle", ErrContent)
	}
	x.left -= int64(len(p))
	_, err := io.ReadFull(x.in, p)
	return err
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

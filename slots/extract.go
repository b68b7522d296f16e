package slots

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
)

// copyBuffer is how much of a file is in memory, in bytes.
const copyBuffer = 256 << 10

// extractor writes a tree image as files.
type extractor struct {
	in      io.Reader
	left    int64 // bytes of the image not read yet
	out     disk
	dirs    map[string]bool // directories made so far
	last    string          // path of the entry before
	entries int
	buf     []byte
}

// extract reads an image of exactly size bytes and writes its tree below out,
// every file synced.
func extract(in io.Reader, size int64, out disk) error {
	x := &extractor{in: in, left: size, out: out, dirs: map[string]bool{".": true}, buf: make([]byte, copyBuffer)}
	for {
		more, err := x.entry()
		if err != nil || !more {
			return err
		}
	}
}

// entry writes the next entry; false means that the image has ended as it must.
func (x *extractor) entry() (bool, error) {
	raw := make([]byte, block)
	if err := x.read(raw); err != nil {
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
	case e.size > x.left:
		return fmt.Errorf("%q has %d bytes, more than the image", e.path, e.size)
	}
	x.last = e.path
	return nil
}

func (x *extractor) create(e entry) error {
	switch e.kind {
	case tar.TypeDir:
		x.dirs[e.path] = true
		return x.out.Mkdir(e.path)
	case tar.TypeSymlink:
		return x.out.Symlink(e.link, e.path)
	}
	f, err := x.out.Create(e.path, e.mode())
	if err != nil {
		return err
	}
	err = x.copy(f, e.size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", e.path, err)
	}
	return nil
}

// copy writes a file's content and checks that what fills its last record up is
// zero.
func (x *extractor) copy(f diskFile, size int64) error {
	for rest := size; rest > 0; {
		part := x.buf[:min(rest, copyBuffer)]
		if err := x.read(part); err != nil {
			return err
		}
		if _, err := f.Write(part); err != nil {
			return err
		}
		rest -= int64(len(part))
	}
	padding := x.buf[:-size&(block-1)]
	if err := x.read(padding); err != nil {
		return err
	}
	if !isZero(padding) {
		return fmt.Errorf("%w: its padding is not zero", ErrContent)
	}
	return nil
}

// end expects one more zero record and then nothing.
func (x *extractor) end() error {
	raw := make([]byte, block)
	if err := x.read(raw); err != nil {
		return err
	}
	if !isZero(raw) || x.left != 0 {
		return fmt.Errorf("%w: something follows its end", ErrContent)
	}
	return nil
}

func (x *extractor) read(p []byte) error {
	if int64(len(p)) > x.left {
		return fmt.Errorf("%w: it ends in the middle", ErrContent)
	}
	x.left -= int64(len(p))
	_, err := io.ReadFull(x.in, p)
	return err
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
